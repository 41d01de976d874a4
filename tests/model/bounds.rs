//! The bounds of the searches. A search is exhaustive within its bounds. Several small searches reach further than a
//! single large one with all faults.

use crate::state::Faults;

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub users: usize,
    pub units: u8,
    /// All attempts together.
    pub attempts: u8,
    pub faults: Faults,
    pub older: Older,
}

/// Whether the search saves the data of Redis at some moment as an older file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    Kept,
    NotKept,
}

const NONE: Faults = Faults { crashes: 0, restarts: 0, losses: 0, freezes: 0, given_up: 0, hung_up: 0 };
const CALM: Bounds =
    Bounds { name: "nothing breaks", users: 2, units: 1, attempts: 3, faults: NONE, older: Older::NotKept };

pub const GIVEN_UP: Bounds = Bounds { name: "a handler stops waiting", faults: Faults { given_up: 1, ..NONE }, ..CALM };
pub const CRASH: Bounds = Bounds {
    name: "an instance dies, MySQL hangs up; two units",
    units: 2,
    faults: Faults { crashes: 1, hung_up: 1, ..NONE },
    ..CALM
};
pub const THREE_USERS: Bounds = Bounds {
    name: "an instance dies; three users, two units",
    users: 3,
    units: 2,
    faults: Faults { crashes: 1, ..NONE },
    ..CALM
};
pub const RESTART: Bounds =
    Bounds { name: "Redis restarts, an instance dies", faults: Faults { restarts: 1, crashes: 1, ..NONE }, ..CALM };
pub const LOSS: Bounds = Bounds {
    name: "Redis comes back empty or is flushed, a handler stops waiting",
    faults: Faults { losses: 1, given_up: 1, ..NONE },
    ..CALM
};
pub const OLDER: Bounds = Bounds {
    name: "Redis comes back empty, flushed or older, a handler stops waiting",
    attempts: 2,
    faults: Faults { losses: 1, given_up: 1, ..NONE },
    older: Older::Kept,
    ..CALM
};
pub const LOSS_AND_CRASH: Bounds = Bounds {
    name: "Redis comes back empty or is flushed, an instance dies; two units",
    units: 2,
    attempts: 2,
    faults: Faults { losses: 1, crashes: 1, ..NONE },
    ..CALM
};
pub const FREEZE: Bounds = Bounds {
    name: "an instance freezes, Redis comes back empty or is flushed",
    attempts: 2,
    faults: Faults { freezes: 1, losses: 1, ..NONE },
    ..CALM
};
pub const FREEZE_AND_GIVEN_UP: Bounds = Bounds {
    name: "the same, and a handler stops waiting",
    faults: Faults { freezes: 1, losses: 1, given_up: 1, ..NONE },
    ..FREEZE
};
pub const FREEZE_AND_RESTART: Bounds = Bounds {
    name: "an instance freezes, Redis restarts",
    faults: Faults { freezes: 1, restarts: 1, ..NONE },
    ..FREEZE
};
pub const FREEZE_AND_BOTH: Bounds = Bounds {
    name: "an instance freezes, Redis restarts and comes back empty or is flushed; one attempt",
    attempts: 1,
    faults: Faults { freezes: 1, restarts: 1, losses: 1, ..NONE },
    ..FREEZE
};
/// `make test-long` searches it with two attempts.
pub const FREEZE_AND_BOTH_AND_TWO: Bounds = Bounds { name: "the same; two attempts", attempts: 2, ..FREEZE_AND_BOTH };

/// The searches of every run, about 1,900,000 states.
pub const SEARCHED: [Bounds; 12] = [
    CALM,
    GIVEN_UP,
    CRASH,
    THREE_USERS,
    RESTART,
    LOSS,
    OLDER,
    LOSS_AND_CRASH,
    FREEZE,
    FREEZE_AND_GIVEN_UP,
    FREEZE_AND_RESTART,
    FREEZE_AND_BOTH,
];

/// The additional searches of `make test-long`.
pub const SEARCHED_LONG: [Bounds; 1] = [FREEZE_AND_BOTH_AND_TWO];
