//! The outcomes of an attempt.

use crate::domain::{Claim, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// A unit was granted. The claim will reach MySQL.
    Claimed(Claim),
    /// The user already holds this claim.
    Already(Claim),
    /// No unit was granted, for this reason.
    Refused(Refusal),
    /// Shed under load. No state has changed.
    Overloaded,
    /// Redis is down or being rebuilt. No state has changed.
    Unavailable,
    /// No reply in time: the claim may have been granted. The outcome is final within a second. A retry reveals it.
    Unknown,
}
