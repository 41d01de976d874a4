//! The shard of a change: found or chosen, and known to answer, before MySQL is changed.

use std::sync::Arc;

use super::PublishError;
use crate::claim::{Doubt, Shard, Shards};
use crate::domain::CouponId;
use crate::mysql::shards::{OpenCoupons, open_coupons};
use crate::mysql::{Db, coupons};
use crate::redis::{Live, Published};

/// Proof that the Redis of a shard has just answered, with the expected `live`. Holds no connection, because MySQL may
/// take long.
pub struct Reached {
    pub(super) shard: Arc<Shard>,
    pub(super) live: Arc<Live>,
}

impl Reached {
    /// Checks that the Redis of a shard answers before MySQL is changed. So nothing changes while Redis is down.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn new(shard: Arc<Shard>) -> Result<Self, PublishError> {
        let live = live_of(&shard)?;
        match shard.pool.get().await {
            Ok(_) => Ok(Self { shard, live }),
            Err(_) => Err(PublishError::Unavailable(None)),
        }
    }

    /// Does the same for the shard of a coupon. Returns `None` if MySQL does not have the coupon.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn shard_of(db: &Db, shards: &Shards, coupon: CouponId) -> Result<Option<Self>, PublishError> {
        let shard = match &shards.all()[..] {
            [only] => Arc::clone(only),
            _ => match coupons::find_shard(db, coupon).await? {
                // This process will know the shard within a second.
                Some(id) => shards.get(id).ok_or(PublishError::Unavailable(None))?,
                None => return Ok(None),
            },
        };
        Self::new(shard).await.map(Some)
    }

    /// Chooses the shard of a new coupon: among those that answer, the one with the fewest open coupons.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`].
    pub async fn choose(db: &Db, shards: &Shards) -> Result<Self, PublishError> {
        if let [only] = &shards.all()[..] {
            return Self::new(Arc::clone(only)).await;
        }
        let mut open = open_coupons(db).await?;
        open.retain(|open| open.is_known);
        open.sort_by_key(|open| open.coupons);
        for OpenCoupons { shard, .. } in open {
            let Some(shard) = shards.get(shard) else { continue };
            if let Ok(reached) = Self::new(shard).await {
                return Ok(reached);
            }
        }
        Err(PublishError::Unavailable(None))
    }

    /// The error for a refusal by Redis. Tells recovery if Redis lacks the coupon or the loading.
    pub(super) fn refused(&self, coupon: CouponId, published: Published) -> PublishError {
        let claiming = &self.shard.claiming;
        match published {
            // MySQL says that Redis has all claims of the coupon, or its tombstone.
            Published::Missing | Published::Archived => claiming.missing.request_rebuild(coupon, self.live.epoch),
            Published::NotLoaded => claiming.gate.doubt(Doubt::NotLoaded),
            Published::Done
            | Published::Older { .. }
            | Published::BelowClaimed
            | Published::Unstored
            | Published::TooLate => {}
        }
        PublishError::Unavailable(None)
    }
}

/// The loading of an open shard.
pub(super) fn live_of(shard: &Shard) -> Result<Arc<Live>, PublishError> {
    shard.claiming.gate.live().map_err(|_| PublishError::Unavailable(None))
}
