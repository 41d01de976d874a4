//! The slot of the shard moves from one node of a cluster to another, key by key.
//!
//! A node with a moving slot runs a command only if all its keys are still there. An operator ends the move, also before
//! all keys were moved, or cancels it. Keys at the node without the slot are then lost. Every instance hears of a move
//! before the move ends, because the majority is asked every second.
//!
//! Claims wait in the memory of the instances, and no instance dies, so the outbox has no counterpart. Neither have
//! several servers that claim the same slot, because [`super::lease`] covers them. An instance that starts after a cancelled
//! move, and before the shard is loaded again, is left out.

mod protocol;
mod state;
mod steps;

use protocol::{Bounds, Guard, MOVED_AND_SOLD, ONE_UNIT, SlotProtocol};

const ONCE: Bounds = Bounds { name: "the slot moves", units: 2, attempts: 3, moves: 1, restarts: 1, rebuilds: 2 };
const AND_BACK: Bounds = Bounds { name: "the slot moves twice", moves: 2, restarts: 0, rebuilds: 3, ..ONCE };

const SEARCHED: [Bounds; 2] = [ONCE, AND_BACK];

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 3] = [
    (Guard::ClosedWhileMoving, ONCE, ONE_UNIT),
    (Guard::MoveRemembered, ONCE, ONE_UNIT),
    (Guard::LoadedFromNothing, ONCE, ONE_UNIT),
];

#[test]
fn a_slot_that_moves_costs_no_claim() {
    for bounds in SEARCHED {
        crate::search(bounds.name, SlotProtocol { bounds, without: None }, MOVED_AND_SOLD);
    }
}

#[test]
fn without_any_one_of_its_guards_a_moved_slot_sells_twice() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, SlotProtocol { bounds, without: Some(guard) }, property);
    }
}
