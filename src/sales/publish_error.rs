//! The errors of creating, changing and publishing a coupon.

use crate::domain::QuotaReached;
use crate::mysql::DbError;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the saler has a coupon with this name already")]
    NameTaken,
    #[error("the saler has as many open coupons, or units, as one may")]
    Quota(QuotaReached),
    #[error("no such coupon")]
    NoSuchCoupon,
    /// More units than the new amount are claimed. Nothing has changed.
    #[error("the amount is below the number of claimed units")]
    BelowClaimed,
    /// Nothing is archived before an operator has raised the format of the data. Nothing has changed.
    #[error("the format of the data is too old for archiving")]
    OldFormat,
    /// A dependency is down, or the shard is being loaded. Nothing has changed.
    #[error("MySQL or Redis is unavailable")]
    Unavailable(#[source] Option<DbError>),
    /// MySQL or Redis got the change and did not answer. The change may have happened. If MySQL has it, the repair
    /// publishes it.
    #[error("MySQL or Redis did not answer, the outcome is unknown")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<DbError> for PublishError {
    fn from(error: DbError) -> Self {
        if error.nothing_happened() { Self::Unavailable(Some(error)) } else { Self::Unknown(error.into()) }
    }
}

impl PublishError {
    /// Whether the row of the coupon is to blame. Publishing fails until the row is corrected.
    pub(super) fn blames_row(&self) -> bool {
        match self {
            Self::BelowClaimed => true,
            Self::Unavailable(error) => error.as_ref().is_some_and(DbError::is_unreadable_row),
            Self::NameTaken | Self::Quota(_) | Self::NoSuchCoupon | Self::OldFormat | Self::Unknown(_) => false,
        }
    }
}
