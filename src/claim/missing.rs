//! Coupons with a known id that Redis lacks.
//!
//! MySQL decides what a missing coupon means, so that the coupon harms only itself. A coupon that MySQL lacks, too, was
//! deleted. A readable coupon was lost by Redis, and the shard is rebuilt. A rebuild leaves an unreadable coupon out, so
//! that coupon is closed until its row is corrected. While MySQL is away, the coupon is closed, and the others are sold.

use std::sync::Arc;
use std::time::Duration;

use super::{Doubt, Gate};
use crate::domain::{CouponId, Epoch};
use crate::mysql::{Db, coupons};

/// Timeout of a look-up in MySQL. The customer of an attempt waits meanwhile.
const LOOK_UP_WAIT: Duration = Duration::from_millis(150);
/// How long the result of a look-up is used. So a famous coupon costs MySQL a query a second.
const LOOKED_UP_AGE: Duration = Duration::from_secs(1);
/// How long a requested rebuild is remembered. Until then, the same coupon requests no second rebuild.
const REQUESTED_AGE: Duration = Duration::from_secs(600);
/// Maximum coupons in each cache. The least used are dropped.
const COUPONS_MAX: u64 = 10_000;

/// What MySQL says about a coupon that Redis lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoredState {
    Readable,
    Unreadable,
    Deleted,
    /// MySQL did not answer in time.
    Unknown,
}

/// The meaning of a missing coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Neither Redis nor MySQL has the coupon.
    Deleted,
    /// The coupon is not sold at the moment. Nothing has happened.
    Closed,
}

pub struct MissingCoupons {
    db: Db,
    gate: Arc<Gate>,
    /// Concurrent look-ups of a coupon share a query.
    looked_up: moka::future::Cache<CouponId, StoredState>,
    /// The epoch in which a coupon requested a rebuild.
    requested: moka::sync::Cache<CouponId, Epoch>,
}

impl MissingCoupons {
    pub fn new(db: Db, gate: Arc<Gate>) -> Self {
        let looked_up = moka::future::Cache::builder().max_capacity(COUPONS_MAX).time_to_live(LOOKED_UP_AGE).build();
        let requested = moka::sync::Cache::builder().max_capacity(COUPONS_MAX).time_to_live(REQUESTED_AGE).build();
        Self { db, gate, looked_up, requested }
    }

    /// Looks a coupon up in MySQL that Redis lacks in the loading `epoch`. Requests a rebuild if the coupon was lost.
    pub async fn look_up(&self, coupon: CouponId, epoch: Epoch) -> Missing {
        let state = self.looked_up.get_with(coupon, async {
            match tokio::time::timeout(LOOK_UP_WAIT, coupons::find(&self.db, coupon)).await {
                Ok(Ok(Some(_))) => StoredState::Readable,
                Ok(Ok(None)) => StoredState::Deleted,
                Ok(Err(error)) if error.is_unreadable_row() => StoredState::Unreadable,
                Ok(Err(_)) | Err(_) => StoredState::Unknown,
            }
        });
        match state.await {
            StoredState::Deleted => Missing::Deleted,
            StoredState::Readable => {
                self.request_rebuild(coupon, epoch);
                Missing::Closed
            }
            StoredState::Unreadable | StoredState::Unknown => Missing::Closed,
        }
    }

    /// Requests a rebuild for a coupon that MySQL has and Redis lacks in the loading `epoch`. A coupon that a rebuild has
    /// not brought requests no further one for ten minutes.
    pub fn request_rebuild(&self, coupon: CouponId, epoch: Epoch) {
        let requested = self.requested.entry(coupon).or_insert(epoch);
        if *requested.value() == epoch {
            self.gate.doubt(Doubt::Lost(epoch));
        } else {
            log::debug!("coupon {coupon} is closed: the rebuild after epoch {} has not brought it", requested.value());
        }
    }
}
