//! The path of a claim: refusals from memory, the gate, the script in Redis, the ledger.
//!
//! [`Claiming`] has the whole path on one page. The [`Gate`] lets attempts in while a shard is open. [`Refusals`]
//! answers hopeless attempts from memory. The [`Ledger`] and its [`Persister`] take granted claims to MySQL.

mod archived;
mod capacity;
mod claim_metrics;
mod claiming;
mod condition_checks;
mod directory;
mod gate;
mod ledger;
mod missing;
mod outcome;
mod persister;
mod rebuild_progress;
mod refusals;
mod shard;
mod storing;
mod unfinished;
mod waiters;

pub use archived::{ARCHIVED_CLAIMS_MAX, ArchivedCoupons, ArchivedFacts, ArchivedFigures};
pub use claim_metrics::ClaimFigures;
pub use claiming::{Claiming, Wish};
pub use condition_checks::{Applicant, ConditionChecks, WINNERS_MAX};
pub use directory::{CouponUnknown, Directory, KnownCoupons};
pub use gate::{ClosedReason, Denied, Doubt, Gate, LEASE, Pass};
pub use ledger::{Batches, Handed, Ledger, LedgerState, NoSlot, Slot};
pub use missing::{Missing, MissingCoupons};
pub use outcome::ClaimOutcome;
pub use persister::{Persister, PersisterSettings};
pub use rebuild_progress::RebuildProgress;
pub use refusals::{KNOWN_COUPONS_MAX, KNOWN_HOLDERS_MAX, Refusals};
pub use shard::{Links, Shard, ShardLink, Shards};
pub use unfinished::Unfinished;
pub use waiters::{COMMIT_WAIT, Place, Teller, Told, Waiter, Waiters};
