//! How much happens in one search. Each search is exhaustive within its bounds; several small ones reach further than one
//! that allows everything at once.

use crate::state::Faults;

/// The most that happens in one exhaustive search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub users: usize,
    pub units: u8,
    /// Attempts in all.
    pub asks: u8,
    pub faults: Faults,
    pub older: Older,
}

/// Whether what Redis has at some moment is kept as an older file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    Kept,
    NotKept,
}

const NONE: Faults = Faults { crashes: 0, restarts: 0, losses: 0, freezes: 0, given_up: 0, hung_up: 0 };
const CALM: Bounds =
    Bounds { name: "nothing breaks", users: 2, units: 1, asks: 3, faults: NONE, older: Older::NotKept };

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
    asks: 2,
    faults: Faults { losses: 1, given_up: 1, ..NONE },
    older: Older::Kept,
    ..CALM
};
pub const LOSS_AND_CRASH: Bounds = Bounds {
    name: "Redis comes back empty or is flushed, an instance dies; two units",
    units: 2,
    asks: 2,
    faults: Faults { losses: 1, crashes: 1, ..NONE },
    ..CALM
};
pub const FREEZE: Bounds = Bounds {
    name: "an instance freezes, Redis comes back empty or is flushed",
    asks: 2,
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
    asks: 1,
    faults: Faults { freezes: 1, restarts: 1, losses: 1, ..NONE },
    ..FREEZE
};
/// In `make test-long` with more attempts.
pub const FREEZE_AND_BOTH_AND_TWO: Bounds = Bounds { name: "the same; two attempts", asks: 2, ..FREEZE_AND_BOTH };

/// Searched in every run: some 1,900,000 states.
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

/// Searched by `make test-long`.
pub const SEARCHED_LONG: [Bounds; 1] = [FREEZE_AND_BOTH_AND_TWO];
