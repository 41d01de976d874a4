//! Stores operators' edits in etcd as changes in MySQL.
//!
//! Every instance sees an edit and tries to store it. Under the lock of the coupon's row, the first instance succeeds.
//! The others find the edit already stored. If the row has a change that etcd lacks, the edit is not stored. MySQL's
//! change is later than the value the operator saw, and replaces the operator's value.

use super::scheduling::{check, raised, raised_for};
use super::{ACTIVITIES_OF_A_COUPON_MAX, PublishError, Reached, ScheduleError, Scheduling};
use crate::domain::{Activity, ActivityId, Author, Coupon, CouponId, Status, Terms};
use crate::mysql::activities::StoredActivity;
use crate::mysql::{DbError, Transaction, activities as rows, coupons, mirrored};

/// The highest id that an operator may choose. Without a chosen id, a new activity gets the highest existing id plus 1.
pub const CHOSEN_ID_MAX: u32 = 1_000_000_000;

#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error("the activity belongs to coupon {0}")]
    OtherCoupon(CouponId),
    #[error("the activity ended too long ago to be kept in etcd")]
    LongOver,
    #[error("the id of a new activity must be from 1 to {CHOSEN_ID_MAX}")]
    IdOutOfRange,
}

impl EditError {
    /// Whether the edit itself is invalid. Otherwise a dependency failed, and a retry may succeed.
    ///
    /// An edit of an unreadable row is refused, too. Later edits of other activities must not wait for the row.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Schedule(ScheduleError::Publish(PublishError::Unavailable(Some(error)))) => error.is_unreadable_row(),
            Self::Schedule(ScheduleError::Publish(_)) => false,
            Self::Schedule(_) | Self::OtherCoupon(_) | Self::LongOver | Self::IdOutOfRange => true,
        }
    }
}

impl From<DbError> for EditError {
    fn from(error: DbError) -> Self {
        Self::Schedule(error.into())
    }
}

/// The result of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// This call stored the edit.
    Now,
    /// MySQL already had the edit, or a later change. The value is the row's `etcd_revision`.
    Before(u64),
}

/// The coupon before and after the change, or the row's `etcd_revision` if no change is needed.
enum Prepared {
    Change(Box<(coupons::StoredCoupon, Coupon)>),
    Nothing(u64),
}

impl Scheduling {
    /// Stores an activity, changed or new, as an operator put it at `etcd_revision`. On return the edit is in force, or
    /// MySQL has a later change. `ended_before` is in seconds since 1970. An activity that ended by then and is no
    /// longer in etcd is refused.
    ///
    /// # Errors
    /// [`EditError`].
    pub async fn adopt(
        &self,
        activity: &Activity,
        etcd_revision: u64,
        ended_before: u64,
    ) -> Result<Adopted, EditError> {
        let mut tx = self.publishing.db.begin().await?;
        let prepared = self.adopt_within(&mut tx, activity, etcd_revision, ended_before).await;
        self.conclude(tx, activity.coupon, prepared).await
    }

    /// Disables an activity whose key an operator deleted at `etcd_revision`, like [`Scheduling::adopt`].
    /// `ended_before` is in seconds since 1970. An activity that ended by then is left unchanged, because etcd need not
    /// have it.
    ///
    /// # Errors
    /// [`EditError`].
    pub async fn disable(&self, id: ActivityId, etcd_revision: u64, ended_before: u64) -> Result<Adopted, EditError> {
        let Some((found, _)) = rows::find(&self.publishing.db, id).await? else { return Ok(Adopted::Before(0)) };
        if found.activity.terms.window.end() <= ended_before {
            return Ok(Adopted::Before(found.etcd_revision));
        }
        let coupon = found.activity.coupon;
        let mut tx = self.publishing.db.begin().await?;
        let prepared = self.disable_within(&mut tx, coupon, id, etcd_revision).await;
        self.conclude(tx, coupon, prepared).await
    }

    async fn adopt_within(
        &self,
        tx: &mut Transaction<'_>,
        Activity { id, coupon, terms, .. }: &Activity,
        etcd_revision: u64,
        ended_before: u64,
    ) -> Result<Prepared, EditError> {
        let db = &self.publishing.db;
        let stored = coupons::lock(db, tx, *coupon).await?.ok_or(ScheduleError::NoSuchCoupon)?;
        let all = rows::of_coupon(db, tx, *coupon).await?;
        let (this, others): (Vec<_>, Vec<_>) = all.iter().partition(|other| other.activity.id == *id);
        match this.first() {
            // The mirror will never replace this value in etcd, so it would stay without effect.
            Some(row) if row.etcd_revision == 0 && row.activity.terms.window.end() <= ended_before => {
                return Err(EditError::LongOver);
            }
            Some(row) if !takes(row, etcd_revision) => return Ok(Prepared::Nothing(row.etcd_revision)),
            Some(row) if row.activity.terms == *terms => {
                mirrored::note_same(db, tx, *id, etcd_revision).await?;
                let unchanged = stored.coupon.clone();
                return Ok(Prepared::Change(Box::new((stored, unchanged))));
            }
            Some(_) => {
                check(&stored.coupon, terms, others.into_iter())?;
                rows::update(db, tx, *id, terms, etcd_revision, Author::Etcd).await?;
            }
            None => {
                self.check_new(*id, others.len()).await?;
                check(&stored.coupon, terms, others.into_iter())?;
                rows::insert(db, tx, *coupon, terms, Some(*id), etcd_revision, Author::Etcd).await?;
            }
        }
        let scheduled = stored.coupon.scheduled || this.is_empty();
        let changed = Coupon { scheduled, ..raised_for(&stored.coupon, terms) };
        coupons::update(db, tx, &stored, &changed, Author::Etcd).await?;
        Ok(Prepared::Change(Box::new((stored, changed))))
    }

    async fn check_new(&self, id: ActivityId, others: usize) -> Result<(), EditError> {
        if others >= ACTIVITIES_OF_A_COUPON_MAX {
            return Err(ScheduleError::TooMany.into());
        }
        if !(1..=CHOSEN_ID_MAX).contains(&id.0) {
            return Err(EditError::IdOutOfRange);
        }
        match rows::find(&self.publishing.db, id).await? {
            Some((found, _)) => Err(EditError::OtherCoupon(found.activity.coupon)),
            None => Ok(()),
        }
    }

    async fn disable_within(
        &self,
        tx: &mut Transaction<'_>,
        coupon: CouponId,
        id: ActivityId,
        etcd_revision: u64,
    ) -> Result<Prepared, EditError> {
        let db = &self.publishing.db;
        let stored = coupons::lock(db, tx, coupon).await?.ok_or(ScheduleError::NoSuchCoupon)?;
        let all = rows::of_coupon(db, tx, coupon).await?;
        let Some(row) = all.iter().find(|row| row.activity.id == id) else { return Ok(Prepared::Nothing(0)) };
        if !takes(row, etcd_revision) || row.activity.terms.status == Status::Disabled {
            return Ok(Prepared::Nothing(row.etcd_revision));
        }
        let terms = Terms { status: Status::Disabled, ..row.activity.terms.clone() };
        rows::update(db, tx, id, &terms, etcd_revision, Author::Etcd).await?;
        let changed = raised(&stored.coupon);
        coupons::update(db, tx, &stored, &changed, Author::Etcd).await?;
        Ok(Prepared::Change(Box::new((stored, changed))))
    }

    /// Commits the prepared change and puts it in force. An unreachable Redis does not delay MySQL: the repair of
    /// coupons, or recovery, publishes the change later.
    async fn conclude(
        &self,
        tx: Transaction<'_>,
        coupon: CouponId,
        prepared: Result<Prepared, EditError>,
    ) -> Result<Adopted, EditError> {
        let adopted = match prepared {
            Ok(Prepared::Change(change)) => {
                let (before, changed) = *change;
                tx.commit().await?;
                if changed.revision > before.coupon.revision
                    && let Ok(Some(reached)) =
                        Reached::shard_of(&self.publishing.db, &self.publishing.shards, coupon).await
                    && let Err(error) = self.publishing.publish_change(&reached, &before, &changed).await
                {
                    log::debug!("scheduling: coupon {coupon} left to the repair: {}", crate::base::error_chain(&error));
                }
                Adopted::Now
            }
            Ok(Prepared::Nothing(etcd_revision)) => {
                tx.roll_back().await;
                Adopted::Before(etcd_revision)
            }
            Err(error) => {
                tx.roll_back().await;
                return Err(error);
            }
        };
        self.activities.reload(&self.publishing.db, coupon).await?;
        Ok(adopted)
    }
}

/// Whether an edit at `etcd_revision` is newer than the row, and the row has no change that etcd lacks.
fn takes(row: &StoredActivity, etcd_revision: u64) -> bool {
    row.etcd_revision > 0 && row.etcd_revision < etcd_revision
}
