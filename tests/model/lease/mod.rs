//! The lease: an old primary goes on after a replica was promoted, and an instance is cut off together with it.
//!
//! A majority (of the sentinels, or of the primaries of a cluster) names one server. It promotes a replica, and the old
//! primary stays writable. Replication is asynchronous, so the promoted replica may lack the last claims. Each of two
//! instances may be cut off from MySQL, from the majority and from the new primary.
//!
//! Time is a number of ticks. [`time`] says what a tick is and what is assumed. An instance has a single connection,
//! because [`super::promoted`] covers its several connections. No instance dies or freezes, and no server loses its
//! memory, because other models cover them. A promotion between the question and the token of a rebuild is left out. It
//! costs another rebuild.

mod action;
mod healing;
mod protocol;
mod state;
mod steps;
mod time;

use protocol::{Bounds, Guard, LeaseProtocol, MOVED_AND_SOLD, NOTHING_LOST, REBUILT_WHERE_NAMED, SETTLES};

/// An instance is cut off from MySQL, the majority and the new primary.
const CUT_OFF: Bounds = Bounds {
    name: "an instance is cut off with the old primary",
    units: 1,
    attempts: 1,
    cuts: 3,
    late: 0,
    cuts_both: false,
    demotes: false,
    rebuilds: 1,
};
/// Enough for most guards.
const CUT_TWICE: Bounds = Bounds { name: "the same with two cuts", cuts: 2, ..CUT_OFF };
const LATE: Bounds = Bounds { name: "two cuts, and a reply is delayed", late: 1, ..CUT_TWICE };
const TWO_REBUILDS: Bounds =
    Bounds { name: "a cut and two rebuilds, no attempt", attempts: 0, cuts: 1, rebuilds: 2, ..CUT_OFF };
const DEMOTED: Bounds = Bounds { name: "the old primary comes back as a replica", cuts: 1, demotes: true, ..CUT_OFF };
const TWO_ATTEMPTS: Bounds = Bounds { name: "two cuts and two attempts", attempts: 2, ..CUT_TWICE };
const BOTH: Bounds = Bounds { name: "both instances are cut off from some places", cuts_both: true, ..CUT_OFF };
const LATE_AND_CUT: Bounds = Bounds { name: "three cuts, and a reply is delayed", late: 1, ..CUT_OFF };

const SEARCHED: [Bounds; 3] = [CUT_OFF, TWO_REBUILDS, DEMOTED];
/// The additional searches of `make test-long`.
const SEARCHED_LONG: [Bounds; 4] = [LATE, TWO_ATTEMPTS, BOTH, LATE_AND_CUT];

/// The guards, and the property that fails without them. The epoch prevents an oversell, so no guard of the lease does.
const NEEDED: [(Guard, Bounds, &str); 10] = [
    (Guard::LeaseCompared, CUT_TWICE, NOTHING_LOST),
    (Guard::CountedFromSending, LATE, NOTHING_LOST),
    (Guard::RowReadAfterBeat, CUT_TWICE, NOTHING_LOST),
    (Guard::ShorterThanDeath, CUT_TWICE, NOTHING_LOST),
    (Guard::MajorityAsked, CUT_TWICE, NOTHING_LOST),
    (Guard::LateRepliesDropped, CUT_TWICE, NOTHING_LOST),
    (Guard::SilenceAwaited, CUT_TWICE, NOTHING_LOST),
    (Guard::OtherGivenUp, CUT_TWICE, SETTLES),
    (Guard::NamedRebuilt, TWO_REBUILDS, REBUILT_WHERE_NAMED),
    (Guard::AskedBeforeRebuild, TWO_REBUILDS, SETTLES),
];

#[test]
fn an_instance_that_is_cut_off_with_the_old_primary_stops_in_time() {
    let search = |bounds: Bounds| crate::search(bounds.name, LeaseProtocol { bounds, without: None }, MOVED_AND_SOLD);
    SEARCHED.into_iter().for_each(search);
    if std::env::var_os("COUPONRUSH_TEST_LONG").is_some() {
        SEARCHED_LONG.into_iter().for_each(search);
    }
}

#[test]
fn without_any_one_of_its_guards_the_lease_protects_nothing() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, LeaseProtocol { bounds, without: Some(guard) }, property);
    }
}
