//! A replica is promoted behind one address, and connections to the old primary survive.
//!
//! The model has two servers with asynchronous replication, one shard, one coupon, and two or three instances. An
//! instance has an address, a link for comparisons and beats, and a connection for attempts. A connection stays at the
//! server that it was made to. The old primary becomes a replica and refuses writes, or it stays a writable primary.
//! The addresses of the instances move to the new primary at different moments, or never.
//!
//! No instance dies here, and every instance reaches MySQL. The first model covers deaths, freezes, lost replies and a
//! single server that loses memory. Its steps of a rebuild are finer. Comparing reports for ten seconds has no
//! counterpart, because the model has no time: the reports of all instances are compared at any moment.

mod action;
mod healing;
mod protocol;
mod state;
mod steps;

use protocol::{
    Bounds, FailoverProtocol, Guard, MOVED_AND_SOLD, NO_NEEDLESS_REBUILD, NO_OVERSELL, NOTHING_LOST, SETTLES,
};

const PROMOTED: Bounds = Bounds {
    name: "a replica is promoted; two attempts",
    instances: 2,
    units: 1,
    attempts: 2,
    promotions: 1,
    demotions: 0,
    cuts: 0,
    rebuilds: 4,
};
const CUT: Bounds = Bounds { name: "a replica is promoted, a connection breaks", attempts: 1, cuts: 1, ..PROMOTED };
const TWICE: Bounds = Bounds {
    name: "a replica is promoted, then the old primary; no attempt",
    attempts: 0,
    promotions: 2,
    rebuilds: 2,
    ..PROMOTED
};
const THREE: Bounds = Bounds {
    name: "a replica is promoted, a connection breaks; three instances",
    instances: 3,
    attempts: 0,
    rebuilds: 2,
    ..CUT
};
const CUT_AND_TWO: Bounds = Bounds { name: "the same with two attempts", attempts: 2, ..CUT };

const SEARCHED: [Bounds; 2] = [PROMOTED, CUT];
/// The additional searches of `make test-long`.
const SEARCHED_LONG: [Bounds; 2] = [TWICE, THREE];

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 8] = [
    (Guard::ProcessComparedByClaims, CUT_AND_TWO, NO_OVERSELL),
    (Guard::DroppedWhenReadonly, PROMOTED, SETTLES),
    (Guard::OtherProcessDropped, CUT, SETTLES),
    (Guard::ComparedOnOwnConnection, CUT, NO_NEEDLESS_REBUILD),
    (Guard::ChosenRebuilt, CUT, SETTLES),
    (Guard::TieDecidedOnce, CUT, SETTLES),
    (Guard::OthersAwaited, CUT, NOTHING_LOST),
    (Guard::RowCompared, CUT, SETTLES),
];

#[test]
fn a_promoted_replica_costs_no_answered_claim_and_the_shard_settles() {
    let search =
        |bounds: Bounds| crate::search(bounds.name, FailoverProtocol { bounds, without: None }, MOVED_AND_SOLD);
    SEARCHED.into_iter().for_each(search);
    if std::env::var_os("COUPONRUSH_TEST_LONG").is_some() {
        SEARCHED_LONG.into_iter().for_each(search);
    }
}

#[test]
fn without_any_one_of_its_guards_a_promotion_breaks_the_protocol() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, FailoverProtocol { bounds, without: Some(guard) }, property);
    }
}
