//! The guards of the protocol. Each can be taken out, to see what it is for.

use crate::bounds::{Bounds, CRASH, FREEZE, FREEZE_AND_BOTH, FREEZE_AND_GIVEN_UP, GIVEN_UP, LOSS, OLDER, RESTART};
use crate::protocol::{HEALS, NO_OVERSELL, NO_PHANTOM, NOTHING_LOST, STABLE_ANSWER};

/// Each guard, what must break for it to matter, and the property that then does not hold.
pub const NEEDED: [(Guard, Bounds, &str); 24] = [
    (Guard::EntryWithClaim, GIVEN_UP, NOTHING_LOST),
    (Guard::HolderLookedAt, GIVEN_UP, STABLE_ANSWER),
    (Guard::LiveComparedByClaims, FREEZE, NOTHING_LOST),
    (Guard::ProcessComparedByClaims, OLDER, NO_OVERSELL),
    (Guard::LateReplyNotTaken, FREEZE, NOTHING_LOST),
    (Guard::UnknownIsSaid, GIVEN_UP, NO_PHANTOM),
    (Guard::PendingVouchedFor, LOSS, NOTHING_LOST),
    (Guard::DeletedAfterCommit, CRASH, NOTHING_LOST),
    (Guard::DeletedById, CRASH, NOTHING_LOST),
    (Guard::EpochComparedByLedger, FREEZE_AND_GIVEN_UP, NOTHING_LOST),
    (Guard::OutboxSwept, GIVEN_UP, HEALS),
    (Guard::SweptHaveAnEpoch, FREEZE_AND_GIVEN_UP, NOTHING_LOST),
    (Guard::SweptAwaited, LOSS, NOTHING_LOST),
    (Guard::OwnAwaited, LOSS, NOTHING_LOST),
    (Guard::OthersAwaited, LOSS, NOTHING_LOST),
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
    /// The script looks at the holder first.
    HolderLookedAt,
    /// The script compares `live`.
    LiveComparedByClaims,
    /// A claim goes only to the process that its loading names.
    ProcessComparedByClaims,
    /// A reply read after its deadline counts for nothing.
    LateReplyNotTaken,
    /// Who gives up says so, and not that nothing happened.
    UnknownIsSaid,
    /// What an `already-claimed` answer vouches for is handed to the ledger while it is in the outbox.
    PendingVouchedFor,
    /// Entries are deleted once MySQL has their claims.
    DeletedAfterCommit,
    /// Entries are deleted by id, not up to the highest.
    DeletedById,
    /// Entries are deleted only under the loading they are of.
    LiveComparedByDeletion,
    /// A batch of another epoch is late.
    EpochComparedByLedger,
    /// Late claims wait until the rebuild is over.
    LateWaitForLive,
    /// The outbox is swept.
    OutboxSwept,
    /// Swept claims are of the epoch they were read in.
    SweptHaveAnEpoch,
    /// A rebuild waits for what was swept, too.
    SweptAwaited,
    /// A rebuild waits for its own attempts and claims.
    OwnAwaited,
    /// A rebuild waits for the other instances' acknowledgements.
    OthersAwaited,
    /// An instance acknowledges only when no attempt is in flight.
    InFlightAwaited,
    /// Raising the epoch waits for transactions that have read it.
    EpochHeldByTransactions,
    /// The epoch is raised.
    EpochRaised,
    /// The outbox is drained before the epoch is raised: what is late by then is in MySQL.
    DrainedBeforeRaising,
    /// The outbox is drained before Redis is loaded.
    DrainedBeforeLoading,
    /// What MySQL has is loaded.
    ClaimsLoaded,
    /// What Redis has is forgotten where it is not a subset of MySQL.
    RestForgotten,
    /// Redis is a subset only where `live` is what the row recorded.
    FoundCompared,
    /// A contradiction met while draining lets Redis forget.
    ContradictionForgets,
    /// The rebuild's writes to MySQL check the token.
    TokenCheckedInMySql,
    /// The rebuild's writes to Redis check the token.
    TokenCheckedInRedis,
    /// A gate opens only for the process that was loaded.
    ProcessComparedByRecovery,
}
