//! Changes of coupons that are archived, come back, or shall be archived.
//!
//! The request that changes such a coupon commits the change, and waits until Redis follows. It writes a tombstone itself,
//! because a tombstone is one script. The claims of a coupon that comes back are loaded by [`Archiving`](super::Archiving).

use std::time::{Duration, Instant};

use super::PublishError;
use super::Publishing;
use super::reached::Reached;
use crate::claim::Shard;
use crate::domain::{Author, Coupon, CouponId};
use crate::mysql::archive::Finished;
use crate::mysql::coupons::{self, StoredCoupon};
use crate::mysql::{Transaction, archive};
use crate::redis::{KvError, Published};

/// How long a request waits until its change is in force, and the pause between two looks.
const IN_FORCE_WAIT: Duration = Duration::from_secs(5);
const IN_FORCE_POLL: Duration = Duration::from_millis(50);

impl Publishing {
    /// Archives a coupon that cannot be claimed any more. The next round writes the tombstone.
    pub(super) async fn archive_finished(&self, id: CouponId, finished: Finished) -> Result<(), PublishError> {
        let mut tx = self.db.begin().await?;
        let archived = self.archive_finished_within(&mut tx, id, finished).await;
        match archived {
            Ok(()) => Ok(tx.commit().await?),
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }

    async fn archive_finished_within(
        &self,
        tx: &mut Transaction<'_>,
        id: CouponId,
        finished: Finished,
    ) -> Result<(), PublishError> {
        // Under the lock, because the coupon may have changed since it was found.
        let stored = coupons::lock(&self.db, tx, id).await?;
        if let Some(stored) = stored
            && archive::is_finished(&self.db, tx, id, finished).await?
        {
            let archived = Coupon { archived: true, revision: stored.coupon.revision + 1, ..stored.coupon.clone() };
            coupons::update(&self.db, tx, &stored, &archived, Author::Service).await?;
        }
        Ok(())
    }

    /// Commits a change of a coupon that is archived, comes back, or shall be archived. `tx` has locked the row `stored`. On
    /// return the change is in force.
    pub(super) async fn change_archived(
        &self,
        reached: &Reached,
        mut tx: Transaction<'_>,
        stored: &StoredCoupon,
        wanted: &Coupon,
        by: Author<'_>,
    ) -> Result<(), PublishError> {
        let checked = match self.check_archived(&reached.shard, &mut tx, stored, wanted).await {
            Ok(()) => coupons::update(&self.db, &mut tx, stored, wanted, by).await.map_err(PublishError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = checked {
            tx.roll_back().await;
            return Err(error);
        }
        tx.commit().await?;
        crate::base::crash::point("archive-committed");
        self.bring_about(reached, wanted).await
    }

    /// Whether a coupon may be changed to `wanted` that is archived or comes back.
    pub(super) async fn check_archived(
        &self,
        shard: &Shard,
        tx: &mut Transaction<'_>,
        stored: &StoredCoupon,
        wanted: &Coupon,
    ) -> Result<(), PublishError> {
        if !shard.claiming.ledger.state().has_newest_format() {
            return Err(PublishError::OldFormat);
        }
        if wanted.amount < stored.coupon.amount {
            // Redis knows the claims of a coupon on sale. MySQL knows those of a coupon with a tombstone.
            if !stored.coupon.archived || stored.published_revision < stored.coupon.revision {
                return Err(PublishError::Unavailable(None));
            }
            let highest = coupons::highest_seqs(&self.db, stored.coupon.id, stored.coupon.id).await?;
            if highest.first().is_some_and(|(_, highest)| *highest > wanted.amount.get()) {
                return Err(PublishError::BelowClaimed);
            }
        }
        if stored.coupon.archived && !wanted.archived {
            let (open, _) = archive::lock_open(&self.db, tx, stored.coupon.saler_id).await?;
            let units = wanted.amount.get().into();
            self.quota_check().check_coupon(open, units).map_err(PublishError::Quota)?;
            self.open.add(1, units);
        } else if !wanted.archived && wanted.amount > stored.coupon.amount {
            self.check_raised(tx, &stored.coupon, wanted.amount).await?;
        }
        Ok(())
    }

    /// Waits until a committed change of such a coupon is in force: its tombstone is written, or all its claims are loaded.
    /// After an error the next round of archiving brings it about.
    pub(super) async fn bring_about(&self, reached: &Reached, to: &Coupon) -> Result<(), PublishError> {
        self.try_to_bring_about(reached, to).await.map_err(|error| match error {
            // The change is committed, so it is wrong that nothing has changed.
            PublishError::Unavailable(_) => PublishError::Unknown(error.into()),
            other => other,
        })
    }

    async fn try_to_bring_about(&self, reached: &Reached, to: &Coupon) -> Result<(), PublishError> {
        let began = Instant::now();
        loop {
            let is_done = match to.archived {
                true => self.try_tombstone(reached, to).await?,
                false => archive::is_published(&self.db, to.id, to.revision).await?,
            };
            if is_done {
                return Ok(());
            }
            if began.elapsed() > IN_FORCE_WAIT {
                return Err(PublishError::Unknown(
                    "the change is committed, and takes longer to come into force".into(),
                ));
            }
            tokio::time::sleep(IN_FORCE_POLL).await;
        }
    }

    /// Returns whether the tombstone is written, or the coupon has a later revision.
    async fn try_tombstone(&self, reached: &Reached, to: &Coupon) -> Result<bool, PublishError> {
        let mut tx = self.db.begin().await?;
        let stored = coupons::lock(&self.db, &mut tx, to.id).await?;
        let Some(stored) = stored.filter(|stored| stored.coupon.revision == to.revision) else {
            tx.roll_back().await;
            return Ok(true);
        };
        match self.write_tombstone(reached, tx, &stored).await?.0 {
            Published::Done | Published::Older { .. } => Ok(true),
            Published::Unstored => Ok(false),
            refused => Err(PublishError::Unknown(reached.refused(to.id, refused).into())),
        }
    }

    /// Writes the tombstone of the row `stored`, which `tx` has locked: the ledger adds no claim between the count of claims
    /// and the comparison in Redis. Also returns the revision of the tombstone that Redis had.
    pub(super) async fn write_tombstone(
        &self,
        Reached { shard, live }: &Reached,
        tx: Transaction<'_>,
        stored: &StoredCoupon,
    ) -> Result<(Published, Option<u64>), PublishError> {
        let coupon = &stored.coupon;
        let written = match shard.pool.get().await {
            Ok(calls) => {
                let stock = &shard.claiming.stock;
                stock.archive(&calls, live.as_str(), coupon, stored.units(), self.wait).await.map_err(unknown)
            }
            Err(_) => Err(PublishError::Unavailable(None)),
        };
        tx.roll_back().await;
        shard.claiming.refusals.forget(coupon.id);
        written
    }
}

/// The outcome of a call to Redis that failed.
pub(super) fn unknown(error: KvError) -> PublishError {
    if error.nothing_happened() { PublishError::Unavailable(None) } else { PublishError::Unknown(error.into()) }
}
