//! Creates and changes activities: first in MySQL, then in the coupon's hash in Redis, then in etcd.
//!
//! A change locks the coupon's row, so concurrent changes are serialized. It raises the coupon's `revision` and sets
//! `activity_revision` to the same value. Once Redis has the new value, no instance can sell by the earlier activities.
//! A change interrupted between the stores leaves a lagging row. The repair of coupons then publishes the row to Redis,
//! and the etcd mirror puts the activity to etcd.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::{PublishError, Publishing, Reached};
use crate::base::now_ms;
use crate::claim::Shard;
use crate::domain::{Activity, ActivityId, Author, Conditions, Coupon, CouponId, Kind, Phase, Terms, User};
use crate::memory::Activities;
use crate::mysql::activities::StoredActivity;
use crate::mysql::{DbError, Transaction, activities as rows, coupons, new_ids};

/// Maximum activities of a coupon. A claim searches all of them.
pub const ACTIVITIES_OF_A_COUPON_MAX: usize = 1_000;
/// Current and coming activities of all salers who may not sell. Thousands of fake merchants must not fill memory and etcd.
const WITHHELD_SALES_MAX: u32 = 1_000;
/// How long their number may be used. The count reads thousands of rows, so a flood of changes must not repeat it. Changes of
/// that time may pass the limit.
const WITHHELD_SALES_AGE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Scheduling {
    pub(super) publishing: Publishing,
    pub(super) activities: Arc<Activities>,
    /// The number of current and coming activities of salers who may not sell.
    withheld_sales: Cache<(), u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("no such coupon")]
    NoSuchCoupon,
    #[error("no such activity")]
    NoSuchActivity,
    #[error("the coupon belongs to another saler")]
    NotYours,
    #[error("the total is above the coupon's amount")]
    TotalAboveAmount,
    /// Another activity of the coupon has an overlapping window.
    #[error("the window overlaps with activity {0}")]
    Overlaps(ActivityId),
    #[error("the coupon has the maximum number of activities")]
    TooMany,
    #[error("the saler has as many current and coming activities as one may")]
    TooManySales,
    /// All salers who may not sell have as many current and coming activities as they may have together.
    #[error("the salers who may not sell have too many activities")]
    TooManyWithheld,
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl From<DbError> for ScheduleError {
    fn from(error: DbError) -> Self {
        Self::Publish(error.into())
    }
}

impl Scheduling {
    pub fn new(publishing: Publishing, activities: Arc<Activities>) -> Self {
        let withheld_sales = Cache::builder().max_capacity(1).time_to_live(WITHHELD_SALES_AGE).build();
        Self { publishing, activities, withheld_sales }
    }

    /// Creates an activity of `coupon` for `user`, the coupon's saler or an admin, at the word of `by`. On return the activity is in force
    /// on every instance, and the coupon is scheduled.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub async fn create(
        &self,
        user: &User,
        by: Author<'_>,
        coupon: CouponId,
        terms: &Terms,
        conditions: &Conditions,
    ) -> Result<ActivityId, ScheduleError> {
        let reached = Reached::shard_of(&self.publishing.db, &self.publishing.shards, coupon)
            .await?
            .ok_or(ScheduleError::NoSuchCoupon)?;
        let mut tx = new_ids::begin(&self.publishing.db).await?;
        let made = self.create_within(&reached.shard, &mut tx, (user, by), coupon, (terms, conditions)).await;
        let (id, stored, changed) = finish(tx, made).await?;
        self.put_in_force(&reached, &stored, &changed).await?;
        Ok(id)
    }

    /// Changes an activity for the coupon's saler or an admin. `change` returns the new terms and conditions. On
    /// return every instance grants by the new terms. Other instances may refuse from memory by the old ones for 200 ms.
    ///
    /// # Errors
    /// [`ScheduleError`], or the error of `change`.
    pub async fn update<E: From<ScheduleError>>(
        &self,
        user: &User,
        by: Author<'_>,
        id: ActivityId,
        change: impl FnOnce(&Activity) -> Result<(Terms, Conditions), E>,
    ) -> Result<(), E> {
        let found = rows::find(&self.publishing.db, id).await.map_err(ScheduleError::from)?;
        let coupon = found.ok_or(ScheduleError::NoSuchActivity)?.0.activity.coupon;
        let reached = Reached::shard_of(&self.publishing.db, &self.publishing.shards, coupon)
            .await
            .map_err(ScheduleError::from)?;
        let reached = reached.ok_or(ScheduleError::NoSuchCoupon)?;
        let mut tx = self.publishing.db.begin().await.map_err(ScheduleError::from)?;
        let changed = self.update_within(&reached.shard, &mut tx, (user, by), coupon, id, change).await;
        let (stored, changed) = finish(tx, changed).await?;
        Ok(self.put_in_force(&reached, &stored, &changed).await?)
    }

    async fn create_within(
        &self,
        shard: &Shard,
        tx: &mut Transaction<'_>,
        (user, by): (&User, Author<'_>),
        coupon: CouponId,
        (terms, conditions): (&Terms, &Conditions),
    ) -> Result<(ActivityId, coupons::StoredCoupon, Coupon), ScheduleError> {
        let db = &self.publishing.db;
        let stored = lock(db, tx, user, coupon).await?;
        let others = rows::of_coupon(db, tx, coupon).await?;
        if others.len() >= ACTIVITIES_OF_A_COUPON_MAX {
            return Err(ScheduleError::TooMany);
        }
        check(&stored.coupon, terms, others.iter())?;
        self.check_quota(tx, &stored.coupon, terms).await?;
        let id = rows::insert(db, tx, coupon, terms, None, 0, by).await?;
        if !conditions.is_none() {
            rows::set_conditions(db, tx, id, conditions).await?;
        }
        let changed = Coupon { scheduled: true, ..raised_for(&stored.coupon, terms) };
        if stored.coupon.archived {
            self.publishing.check_archived(shard, tx, &stored, &changed).await?;
        }
        coupons::update(db, tx, &stored, &changed, by).await?;
        Ok((id, stored, changed))
    }

    async fn update_within<E: From<ScheduleError>>(
        &self,
        shard: &Shard,
        tx: &mut Transaction<'_>,
        (user, by): (&User, Author<'_>),
        coupon: CouponId,
        id: ActivityId,
        change: impl FnOnce(&Activity) -> Result<(Terms, Conditions), E>,
    ) -> Result<(coupons::StoredCoupon, Coupon), E> {
        let db = &self.publishing.db;
        let stored = lock(db, tx, user, coupon).await?;
        let all = rows::of_coupon(db, tx, coupon).await.map_err(ScheduleError::from)?;
        let (this, others): (Vec<_>, Vec<_>) = all.iter().partition(|other| other.activity.id == id);
        let this: &Activity = &this.first().ok_or(ScheduleError::NoSuchActivity)?.activity;
        let (terms, conditions) = change(this)?;
        check(&stored.coupon, &terms, others.into_iter())?;
        if this.terms.window.phase(now_ms()) == Phase::Over {
            self.check_quota(tx, &stored.coupon, &terms).await?;
        }
        rows::update(db, tx, id, &terms, 0, by).await.map_err(ScheduleError::from)?;
        if conditions != this.conditions {
            rows::set_conditions(db, tx, id, &conditions).await.map_err(ScheduleError::from)?;
        }
        let changed = raised_for(&stored.coupon, &terms);
        if stored.coupon.archived {
            self.publishing.check_archived(shard, tx, &stored, &changed).await.map_err(ScheduleError::from)?;
        }
        coupons::update(db, tx, &stored, &changed, by).await.map_err(ScheduleError::from)?;
        Ok((stored, changed))
    }

    /// Checks that the saler may have one more activity that is not over, and so may all salers who may not sell.
    async fn check_quota(&self, tx: &mut Transaction<'_>, coupon: &Coupon, terms: &Terms) -> Result<(), ScheduleError> {
        let (db, quotas) = (&self.publishing.db, &self.publishing.quotas);
        if terms.window.phase(now_ms()) == Phase::Over {
            return Ok(());
        }
        if quotas.sales > 0 {
            let sales = rows::lock_coming(db, tx, coupon.saler_id, now_ms() / 1_000).await?;
            if !quotas.allows_sale(sales) {
                return Err(ScheduleError::TooManySales);
            }
        }
        if coupon.withheld {
            let count = async { rows::coming_of_withheld(db, tx, now_ms() / 1_000, WITHHELD_SALES_MAX).await };
            let count =
                self.withheld_sales.try_get_with((), count).await.map_err(|_| PublishError::Unavailable(None))?;
            if count >= WITHHELD_SALES_MAX.into() {
                return Err(ScheduleError::TooManyWithheld);
            }
        }
        Ok(())
    }

    /// Publishes to Redis and refreshes this instance's table. Other instances learn of the change from Redis at the
    /// next attempt, and from MySQL within a second.
    async fn put_in_force(
        &self,
        reached: &Reached,
        before: &coupons::StoredCoupon,
        changed: &Coupon,
    ) -> Result<(), ScheduleError> {
        crate::base::crash::point("schedule-committed");
        self.publishing.publish_change(reached, before, changed).await?;
        if let Err(error) = self.activities.reload(&self.publishing.db, changed.id).await {
            log::debug!("scheduling: read failed, left to the next poll: {}", crate::base::error_chain(&error));
        }
        Ok(())
    }
}

/// Commits the transaction of a successful step, or rolls back.
async fn finish<T, E: From<ScheduleError>>(tx: Transaction<'_>, step: Result<T, E>) -> Result<T, E> {
    if step.is_ok() {
        tx.commit().await.map_err(ScheduleError::from)?;
    } else {
        tx.roll_back().await;
    }
    step
}

/// Locks the coupon's row, for its saler or an admin only.
async fn lock(
    db: &crate::mysql::Db,
    tx: &mut Transaction<'_>,
    user: &User,
    coupon: CouponId,
) -> Result<coupons::StoredCoupon, ScheduleError> {
    let stored = coupons::lock(db, tx, coupon).await?.ok_or(ScheduleError::NoSuchCoupon)?;
    let may = user.kind == Kind::Admin || stored.coupon.saler_id == user.id;
    if may { Ok(stored) } else { Err(ScheduleError::NotYours) }
}

/// Checks the terms of an activity against the coupon and `others`, the rest of its activities.
pub fn check<'a>(
    coupon: &Coupon,
    terms: &Terms,
    mut others: impl Iterator<Item = &'a StoredActivity>,
) -> Result<(), ScheduleError> {
    if terms.total > coupon.amount.get() {
        return Err(ScheduleError::TotalAboveAmount);
    }
    let overlapping = others.find(|other| other.activity.terms.excludes(terms));
    overlapping.map_or(Ok(()), |other| Err(ScheduleError::Overlaps(other.activity.id)))
}

/// The same after an activity has got these terms. An archived coupon comes back if the activity is not over.
pub fn raised_for(coupon: &Coupon, terms: &Terms) -> Coupon {
    let is_over = terms.window.phase(now_ms()) == Phase::Over;
    Coupon { archived: coupon.archived && is_over, ..raised(coupon) }
}

/// The coupon with `revision` raised, and `activity_revision` raised to the same value.
pub fn raised(coupon: &Coupon) -> Coupon {
    let revision = coupon.revision + 1;
    Coupon { revision, activity_revision: revision, ..coupon.clone() }
}
