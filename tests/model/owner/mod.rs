//! Two databases on one Redis: two installations, or a database and its copy.
//!
//! The model has one Redis, two databases, and one or two processes of each. It contains the key `owner`, the beats with
//! their numbers, the watch before the first opening, rebuilds, and the commands `adopt` and `new-installation`. Claims
//! have no counterpart. A process that is open over data of another database, or drains it, violates the property.
//!
//! The model has no time. Instead, a watch ends only when every other living process has beaten twice in both stores. A
//! process that is frozen or cut off during a whole watch is therefore not seen, in the model as in the program.

mod action;
mod healing;
mod people;
mod protocol;
mod state;
mod steps;

use protocol::{Begin, Bounds, DECIDES, Guard, NOT_REFUSED, OWNED, Other, OwnerProtocol, SETTLED};
use state::Spent;

const NONE: Spent = Spent {
    starts: 0,
    crashes: 0,
    leaves: 0,
    losses: 0,
    restarts: 0,
    old_rebuilds: 0,
    adoptions: 0,
    freezes: 0,
    new_ids: 0,
};
const FOREIGN: Bounds = Bounds {
    name: "another installation starts",
    begin: Begin::Owned,
    other: Other::New,
    processes: &[0, 1],
    most: Spent { starts: 2, crashes: 1, ..NONE },
};
const FOREIGN_AFTER_LOSS: Bounds = Bounds {
    name: "another installation starts, Redis loses its memory",
    most: Spent { starts: 1, crashes: 1, losses: 1, ..NONE },
    ..FOREIGN
};
const FROZEN_AFTER_LOSS: Bounds = Bounds {
    name: "another installation starts, Redis loses its memory, the owner freezes",
    most: Spent { starts: 1, crashes: 1, losses: 1, freezes: 1, ..NONE },
    ..FOREIGN
};
const FOREIGN_ELSEWHERE: Bounds = Bounds {
    name: "an installation with another Redis starts here, Redis loses its memory",
    other: Other::LoadedElsewhere,
    ..FOREIGN_AFTER_LOSS
};
const UNOWNED: Bounds = Bounds {
    name: "an old program has loaded Redis and loads it again, two installations start",
    begin: Begin::Unowned,
    most: Spent { starts: 2, old_rebuilds: 1, ..NONE },
    ..FOREIGN
};
const BOTH_NEW: Bounds =
    Bounds { name: "two new installations start", begin: Begin::Empty, most: Spent { starts: 3, ..NONE }, ..FOREIGN };
const COPY: Bounds =
    Bounds { name: "a copied database starts", other: Other::Copy, most: Spent { starts: 1, ..NONE }, ..FOREIGN };
const COPY_AFTER_LOSS: Bounds = Bounds {
    name: "a copied database starts, Redis loses its memory",
    most: Spent { starts: 1, losses: 1, ..NONE },
    ..COPY
};
const COPY_AFTER_RESTART: Bounds =
    Bounds { name: "a copied database starts, Redis restarts", most: Spent { starts: 1, restarts: 1, ..NONE }, ..COPY };
const SECOND: Bounds = Bounds {
    name: "a second process of the same database starts, one stops",
    processes: &[0, 0],
    most: Spent { starts: 1, leaves: 1, ..NONE },
    ..FOREIGN
};
const ADOPTED: Bounds = Bounds {
    name: "an operator adopts the Redis of a living installation",
    other: Other::LoadedElsewhere,
    most: Spent { starts: 1, adoptions: 1, ..NONE },
    ..FOREIGN
};
const NEW_ID: Bounds = Bounds {
    name: "a copied database gets an id of its own, an old program has loaded Redis",
    begin: Begin::Unowned,
    other: Other::Copy,
    most: Spent { starts: 2, new_ids: 1, ..NONE },
    ..FOREIGN
};

const SEARCHED: [Bounds; 10] = [
    FOREIGN,
    FOREIGN_AFTER_LOSS,
    FOREIGN_ELSEWHERE,
    UNOWNED,
    BOTH_NEW,
    COPY,
    COPY_AFTER_LOSS,
    COPY_AFTER_RESTART,
    SECOND,
    ADOPTED,
];

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 19] = [
    (Guard::OwnerCompared, FOREIGN, DECIDES),
    (Guard::OwnerComparedByScript, FROZEN_AFTER_LOSS, OWNED),
    (Guard::RowNamesUnowned, UNOWNED, OWNED),
    (Guard::PrefixEmpty, UNOWNED, OWNED),
    (Guard::NewWaits, FOREIGN_AFTER_LOSS, NOT_REFUSED),
    (Guard::WaitingExits, BOTH_NEW, DECIDES),
    (Guard::Watches, COPY, OWNED),
    (Guard::OtherIdsIgnored, FOREIGN, NOT_REFUSED),
    (Guard::FullAfterLoss, COPY_AFTER_LOSS, OWNED),
    (Guard::BeatsBeforeTaking, COPY_AFTER_LOSS, OWNED),
    (Guard::StandingProvesNothing, SECOND, NOT_REFUSED),
    (Guard::LackingTwice, SECOND, NOT_REFUSED),
    (Guard::AdvanceAfterLacking, SECOND, NOT_REFUSED),
    (Guard::LongerWhileLacking, COPY, OWNED),
    (Guard::NumberTakenByMySql, SECOND, NOT_REFUSED),
    (Guard::RedisReadFirst, SECOND, NOT_REFUSED),
    (Guard::NewIdForgets, NEW_ID, OWNED),
    (Guard::AdoptionForgets, ADOPTED, OWNED),
    (Guard::AdoptionKeepsEpoch, ADOPTED, OWNED),
];

#[test]
fn no_installation_touches_the_data_of_another_one_and_the_owner_opens() {
    for bounds in SEARCHED {
        crate::search(bounds.name, OwnerProtocol { bounds, without: None }, SETTLED);
    }
}

#[test]
fn without_any_one_of_its_guards_two_installations_meet() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, OwnerProtocol { bounds, without: Some(guard) }, property);
    }
}
