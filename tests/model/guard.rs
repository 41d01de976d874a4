//! The guards of the protocol. A search can remove any of them, to show its purpose.

use crate::bounds::{Bounds, CRASH, FREEZE, FREEZE_AND_BOTH, FREEZE_AND_GIVEN_UP, GIVEN_UP, LOSS, OLDER, RESTART};
use crate::protocol::{HEALS, NO_OVERSELL, NO_PHANTOM, NOTHING_LOST, STABLE_ANSWER};

/// The guards, the bounds in which they matter, and the property that fails without them.
pub const NEEDED: [(Guard, Bounds, &str); 24] = [
    (Guard::EntryWithClaim, GIVEN_UP, NOTHING_LOST),
    (Guard::HolderCheckedFirst, GIVEN_UP, STABLE_ANSWER),
    (Guard::LiveComparedByClaims, FREEZE, NOTHING_LOST),
    (Guard::ProcessComparedByClaims, OLDER, NO_OVERSELL),
    (Guard::LateReplyIgnored, FREEZE, NOTHING_LOST),
    (Guard::UnknownOutcomeReported, GIVEN_UP, NO_PHANTOM),
    (Guard::PendingClaimHandedOver, LOSS, NOTHING_LOST),
    (Guard::DeletedAfterCommit, CRASH, NOTHING_LOST),
    (Guard::DeletedById, CRASH, NOTHING_LOST),
    (Guard::EpochComparedByLedger, FREEZE_AND_GIVEN_UP, NOTHING_LOST),
    (Guard::OutboxSwept, GIVEN_UP, HEALS),
    (Guard::SweptKeepEpoch, FREEZE_AND_GIVEN_UP, NOTHING_LOST),
    (Guard::SweptAwaited, LOSS, NOTHING_LOST),
    (Guard::OwnClaimsAwaited, LOSS, NOTHING_LOST),
    (Guard::OtherInstancesAwaited, LOSS, NOTHING_LOST),
    (Guard::InFlightAwaited, LOSS, NOTHING_LOST),
    (Guard::EpochHeldByTransactions, FREEZE_AND_GIVEN_UP, NOTHING_LOST),
    (Guard::EpochRaised, LOSS, NOTHING_LOST),
    (Guard::DrainedBeforeRaising, FREEZE_AND_BOTH, NOTHING_LOST),
    (Guard::DrainedBeforeLoading, RESTART, NOTHING_LOST),
    (Guard::ClaimsLoaded, RESTART, NO_OVERSELL),
    (Guard::TokenCheckedInMySql, FREEZE_AND_BOTH, NOTHING_LOST),
    (Guard::TokenCheckedInRedis, FREEZE, NO_OVERSELL),
    (Guard::ProcessComparedByRecovery, RESTART, HEALS),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The script writes the outbox entry in the same step as the claim.
    EntryWithClaim,
    /// The script looks for a claim of the user first.
    HolderCheckedFirst,
    /// The script compares `live`.
    LiveComparedByClaims,
    /// A claim is sent only to the Redis process of its loading.
    ProcessComparedByClaims,
    /// A reply read after its deadline is ignored.
    LateReplyIgnored,
    /// A handler that stops waiting reports an unknown outcome, not that nothing happened.
    UnknownOutcomeReported,
    /// An `already-claimed` claim goes to the ledger while its entry is in the outbox.
    PendingClaimHandedOver,
    /// Entries are deleted after MySQL has committed their claims.
    DeletedAfterCommit,
    /// Entries are deleted by id, not up to the highest id.
    DeletedById,
    /// Entries are deleted only under the loading of their claims.
    LiveComparedByDeletion,
    /// A batch of another epoch is late.
    EpochComparedByLedger,
    /// Late claims wait until the rebuild is over.
    LateWaitForLive,
    /// The outbox is swept.
    OutboxSwept,
    /// Swept claims keep the epoch of the read.
    SweptKeepEpoch,
    /// A rebuild also waits for swept claims.
    SweptAwaited,
    /// A rebuild waits for attempts and claims of its own instance.
    OwnClaimsAwaited,
    /// A rebuild waits for the other instances' acknowledgements.
    OtherInstancesAwaited,
    /// An instance acknowledges only when no attempt is in flight.
    InFlightAwaited,
    /// Raising the epoch waits for transactions that have read it.
    EpochHeldByTransactions,
    /// The epoch is raised.
    EpochRaised,
    /// The outbox is drained before the epoch is raised. Claims that are late by then are in MySQL.
    DrainedBeforeRaising,
    /// The outbox is drained before Redis is loaded.
    DrainedBeforeLoading,
    /// The claims in MySQL are loaded.
    ClaimsLoaded,
    /// The data in Redis is deleted unless it is a subset of MySQL.
    RestForgotten,
    /// Redis counts as a subset only if `live` is the value recorded in the row.
    FoundCompared,
    /// A contradiction during draining makes the rebuild delete the data in Redis.
    ContradictionForgets,
    /// The rebuild's writes to MySQL check the token.
    TokenCheckedInMySql,
    /// The rebuild's writes to Redis check the token.
    TokenCheckedInRedis,
    /// A gate opens only for the Redis process that was loaded.
    ProcessComparedByRecovery,
}
