//! The fence of the ledger, and a MySQL that goes back in time.
//!
//! Every process has a row in `ledgers`: its epoch, and the number of its last committed batch. A batch begins by
//! writing a higher number into that row, if the row has the epoch of the claims and a number that is not below the last
//! one known to be committed. The script that deletes outbox entries writes the number into the Redis hash `counters`.
//! MySQL has lost commits if Redis has a higher number than the row.
//!
//! The model has two instances and two users. Every user asks once and has a unit of his own, because the first model
//! covers seqs and refusals. An operator may repair MySQL after the alarm. MySQL goes back at most once, to the state of
//! any earlier moment.

mod action;
mod fence;
mod healing;
mod protocol;
mod recovery;
mod state;
mod steps;

use protocol::{
    Bounds, FenceProtocol, Guard, HEALS, NO_SECOND_EPOCH, NONE, NOTHING_LOST, REPAIRED, STORED_AFTER_ALL, TRUE_ALARM,
};

const BACK: Bounds = Bounds { name: "MySQL goes back", back: 1, ..NONE };
const BACK_AND_CRASH: Bounds =
    Bounds { name: "MySQL goes back, an instance dies; one claim", claims: 1, crashes: 1, ..BACK };
const BACK_AND_RESTART: Bounds = Bounds { name: "MySQL goes back, Redis restarts", restarts: 1, ..BACK };
const BACK_AND_FREEZE: Bounds = Bounds { name: "MySQL goes back, an instance freezes", freezes: 1, ..BACK };
const FREEZE_AND_RESTART: Bounds =
    Bounds { name: "an instance freezes, Redis restarts", freezes: 1, restarts: 1, ..NONE };
const BACK_AND_LOSS: Bounds =
    Bounds { name: "Redis comes back empty, and MySQL goes back later; one claim", claims: 1, losses: 1, ..BACK };
const CRASH_AND_RESTART: Bounds = Bounds { name: "an instance dies, Redis restarts", crashes: 1, restarts: 1, ..NONE };

const SEARCHED: [Bounds; 7] =
    [BACK, BACK_AND_CRASH, BACK_AND_RESTART, BACK_AND_FREEZE, FREEZE_AND_RESTART, CRASH_AND_RESTART, BACK_AND_LOSS];

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 13] = [
    (Guard::CounterCompared, BACK, NOTHING_LOST),
    (Guard::EpochCompared, FREEZE_AND_RESTART, NO_SECOND_EPOCH),
    (Guard::RowsRaised, FREEZE_AND_RESTART, NO_SECOND_EPOCH),
    (Guard::RaiseWaits, FREEZE_AND_RESTART, NO_SECOND_EPOCH),
    (Guard::JoinChangesShard, FREEZE_AND_RESTART, NO_SECOND_EPOCH),
    (Guard::CounterRaisedByScript, BACK, NOTHING_LOST),
    (Guard::ComparedEachSecond, BACK, HEALS),
    (Guard::CountersReadFirst, BACK, TRUE_ALARM),
    (Guard::ComparedBeforeRebuild, BACK_AND_RESTART, NOTHING_LOST),
    (Guard::EpochKept, BACK_AND_RESTART, HEALS),
    (Guard::CountersReset, CRASH_AND_RESTART, TRUE_ALARM),
    (Guard::EveryProcessTells, BACK, REPAIRED),
    (Guard::RepairWritesBack, BACK, REPAIRED),
];

#[test]
fn a_mysql_that_goes_back_in_time_is_noticed_and_repaired() {
    for bounds in SEARCHED {
        crate::search(bounds.name, FenceProtocol { bounds, without: None }, STORED_AFTER_ALL);
    }
}

#[test]
fn without_any_one_of_its_guards_the_fence_breaks() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, FenceProtocol { bounds, without: Some(guard) }, property);
    }
}
