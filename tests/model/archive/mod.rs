//! A coupon that is archived and comes back.
//!
//! MySQL decides, and Redis follows by revision, as for every change of a coupon. To archive, an instance writes a
//! tombstone into the hash of the coupon, and deletes the holders. To come back, an instance marks the tombstone as
//! loading, loads the holders, and writes the amount last. Two instances do this at the same time, for the same or for
//! different revisions, and die between any two steps. Redis is lost and loaded again. Answers for a coupon without an
//! amount come from MySQL.

mod protocol;
mod state;
mod steps;

use protocol::{ArchiveProtocol, Bounds, Guard, HEALS, NOT_TWICE, SOLD_AGAIN, STABLE};

const CHANGES: Bounds = Bounds { name: "archived, back, archived, back", changes: 4, crashes: 0, rebuilds: 0 };
const DEATHS: Bounds =
    Bounds { name: "archived and back, an instance dies twice", changes: 2, crashes: 2, rebuilds: 0 };
const LOSSES: Bounds = Bounds { name: "archived and back, Redis is lost twice", changes: 2, crashes: 0, rebuilds: 2 };

/// The guards, and the property that fails without them.
const NEEDED: [(Guard, Bounds, &str); 7] = [
    (Guard::ClaimsStored, DEATHS, STABLE),
    (Guard::ClosingRefusesNobody, DEATHS, STABLE),
    (Guard::DeletionCompares, CHANGES, NOT_TWICE),
    (Guard::LoadingCompares, CHANGES, NOT_TWICE),
    (Guard::ClaimsReadAfterMark, CHANGES, NOT_TWICE),
    (Guard::AmountLast, DEATHS, NOT_TWICE),
    (Guard::NewRevision, CHANGES, HEALS),
];

#[test]
fn a_coupon_is_archived_and_comes_back_whole() {
    for bounds in [CHANGES, DEATHS, LOSSES] {
        crate::search(bounds.name, ArchiveProtocol { bounds, without: None }, SOLD_AGAIN);
    }
}

#[test]
fn without_any_one_of_its_guards_archiving_breaks() {
    for (guard, bounds, property) in NEEDED {
        crate::require_violation(guard, bounds.name, ArchiveProtocol { bounds, without: Some(guard) }, property);
    }
}
