//! Reads of lists from MySQL, for shards that are closed while others are open. MySQL may lack the claims of the last moments.

use std::time::Duration;

use super::few_reads::{FewReads, ReadCounts, ReadError, ReadLimits};
use crate::domain::{CouponId, HeldClaim, PageStart, ShardId, UserId};
use crate::mysql::coupons::StoredCoupon;
use crate::mysql::{Db, claim_rows, coupon_lists};

/// Timeout of a read. The caller waits meanwhile.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Reads at the same time. Other users of the pool keep most of its connections.
const READS_MAX: usize = 4;
/// Callers that wait for a read.
const READERS_MAX: usize = 2_000;
/// Claims of a user in a shard. Older claims are not listed.
const CLAIMS_OF_USER_MAX: usize = 100_000;

pub struct ClosedShards {
    db: Db,
    reads: FewReads,
}

impl ClosedShards {
    pub fn new(db: Db) -> Self {
        let limits = ReadLimits { turns: READS_MAX, places: READERS_MAX, wait: READ_WAIT };
        Self { db, reads: FewReads::new("closed shards: reading", limits) }
    }

    /// Up to `count` coupons of a saler in a shard from `start`, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn offered(
        &self,
        shard: ShardId,
        saler: UserId,
        start: PageStart,
        count: u64,
    ) -> Result<Vec<StoredCoupon>, ReadError> {
        self.reads.read(coupon_lists::of_saler(&self.db, shard, saler, start, count)).await
    }

    /// The stored claims of a user in a shard, at most 100,000.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn held(&self, shard: ShardId, user: UserId) -> Result<Vec<HeldClaim>, ReadError> {
        self.reads.read(claim_rows::of_holder_in_shard(&self.db, shard, user, CLAIMS_OF_USER_MAX)).await
    }

    /// The coupons with these ids that exist, in any order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn coupons(&self, ids: &[CouponId]) -> Result<Vec<StoredCoupon>, ReadError> {
        self.reads.read(coupon_lists::find_all(&self.db, ids)).await
    }

    /// The reads so far.
    pub fn counts(&self) -> ReadCounts {
        self.reads.counts()
    }
}
