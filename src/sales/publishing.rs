//! Creates and changes coupons in MySQL, and publishes them to Redis. Repairs interrupted publications.
//!
//! MySQL gets a coupon or a change first, and Redis follows by revision. A crash in between leaves a lagging row, and
//! the repair publishes the row. A lowered amount works in reverse. Redis must agree first, because only Redis knows
//! how many units are claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::reached::{Reached, live_of};
use super::{OpenOffers, PublishError};
use crate::base::{Outage, every};
use crate::claim::{Shard, Shards};
use crate::domain::{Amount, Author, Coupon, CouponId, Description, OfferTotals, QuotaCheck, Quotas, User};
use crate::mysql::archive;
use crate::mysql::coupons::{self, InsertError, NewCoupon, StoredCoupon};
use crate::mysql::shard_statements::ShardStatements;
use crate::mysql::{Db, Transaction};
use crate::redis::{KvError, Presence, Published};

/// Interval of repairs, and the maximum number of coupons per round and of rounds per repair. A merchant whose sales are closed
/// may have a thousand coupons.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
const REPAIR_COUPONS_MAX: i64 = 100;
const REPAIR_ROUNDS_MAX: usize = 10;

#[derive(Clone)]
pub struct Publishing {
    pub(super) db: Db,
    pub(super) shards: Arc<Shards>,
    /// Timeout of a call to Redis.
    pub(super) wait: Duration,
    /// What one saler may have.
    pub(super) quotas: Quotas,
    pub(super) open: Arc<OpenOffers>,
}

/// A change requested by a saler. `None` keeps the current value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CouponChange {
    pub amount: Option<Amount>,
    pub scheduled: Option<bool>,
    pub description: Option<Description>,
    /// A coupon whose amount is raised is not archived, unless this says otherwise.
    pub archived: Option<bool>,
}

impl Publishing {
    /// `wait` limits each call to Redis, and `quotas` what each saler, and all salers, may have.
    pub fn new(db: Db, shards: Arc<Shards>, wait: Duration, quotas: Quotas, open: Arc<OpenOffers>) -> Self {
        Self { db, shards, wait, quotas, open }
    }

    /// What all salers have on offer.
    pub const fn open_offers(&self) -> &Arc<OpenOffers> {
        &self.open
    }

    /// The limits of all salers together.
    pub const fn totals(&self) -> OfferTotals {
        self.quotas.totals
    }

    /// The limits, with what all salers have. Nothing is known for a moment after the start.
    pub(super) fn quota_check(&self) -> QuotaCheck {
        self.quotas.given(self.open.known().unwrap_or_default())
    }

    /// Creates a coupon of `saler`. On return the coupon is in MySQL and can be claimed.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn create(&self, saler: &User, new: &NewCoupon, by: Author<'_>) -> Result<CouponId, PublishError> {
        let reached = Reached::choose(&self.db, &self.shards).await?;
        let coupon = coupons::insert(&self.db, reached.shard.id, saler, new, &self.quota_check(), by).await.map_err(
            |error| match error {
                InsertError::NameTaken => PublishError::NameTaken,
                InsertError::Quota(reached) => PublishError::Quota(reached),
                InsertError::Db(error) => error.into(),
            },
        )?;
        self.open.add(1, coupon.amount.get().into());
        self.publish(&reached, &coupon, Presence::MayBeNew).await?;
        Ok(coupon.id)
    }

    /// Changes a coupon for `by`. On return the change is in force.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn change(&self, id: CouponId, change: &CouponChange, by: Author<'_>) -> Result<(), PublishError> {
        let further = CouponChange { archived: None, ..change.clone() };
        if change.archived == Some(true) && further != CouponChange::default() {
            // In two steps, because a lowered amount needs a coupon on sale.
            Box::pin(self.change(id, &further, by)).await?;
            let archived = change.archived;
            return Box::pin(self.change(id, &CouponChange { archived, ..CouponChange::default() }, by)).await;
        }
        let reached = Reached::shard_of(&self.db, &self.shards, id).await?.ok_or(PublishError::NoSuchCoupon)?;
        let mut tx = self.db.begin().await?;
        let Some(stored) = coupons::lock(&self.db, &mut tx, id).await? else {
            tx.roll_back().await;
            return Err(PublishError::NoSuchCoupon);
        };
        let wanted = apply(&stored.coupon, change);
        if stored.unloaded || wanted.archived {
            return self.change_archived(&reached, tx, &stored, &wanted, by).await;
        }
        if wanted.amount > stored.coupon.amount
            && let Err(error) = self.check_raised(&mut tx, &stored.coupon, wanted.amount).await
        {
            tx.roll_back().await;
            return Err(error);
        }
        let lowered = wanted.amount < stored.coupon.amount;
        // A lowered amount is not stored yet. Only the revision is raised, so the row lags until the lowering is
        // complete. An abandoned lowering has no author.
        let (next, author) = if lowered {
            (Coupon { revision: wanted.revision, ..stored.coupon.clone() }, Author::Service)
        } else {
            (wanted.clone(), by)
        };
        coupons::update(&self.db, &mut tx, &stored, &next, author).await?;
        tx.commit().await?;
        crate::base::crash::point(if lowered { "lowering-announced" } else { "change-committed" });
        if lowered {
            self.lower(&reached, Coupon { revision: wanted.revision + 1, ..wanted }, by).await
        } else {
            self.publish_change(&reached, &stored, &next).await
        }
    }

    /// Checks that the saler may have the units of a raised amount.
    pub(super) async fn check_raised(
        &self,
        tx: &mut Transaction<'_>,
        coupon: &Coupon,
        amount: Amount,
    ) -> Result<(), PublishError> {
        if !self.quotas.limits_units() {
            return Ok(());
        }
        let (open, _) = archive::lock_open(&self.db, tx, coupon.saler_id).await?;
        let more = amount.get() - coupon.amount.get();
        self.quota_check().check_units(open, more.into()).map_err(PublishError::Quota)?;
        self.open.add(0, more.into());
        Ok(())
    }

    /// Publishes a committed change of a coupon. `before` is the earlier row. On return the change is in force.
    ///
    /// # Errors
    /// [`PublishError`]. The repair publishes the change later.
    pub async fn publish_change(
        &self,
        reached: &Reached,
        before: &StoredCoupon,
        to: &Coupon,
    ) -> Result<(), PublishError> {
        if before.unloaded || to.archived {
            return self.bring_about(reached, to).await;
        }
        self.publish(reached, to, presence(before)).await
    }

    /// Lowers the amount in Redis and then in MySQL, under locks that keep the ledger and a rebuild away.
    async fn lower(&self, reached: &Reached, coupon: Coupon, by: Author<'_>) -> Result<(), PublishError> {
        let mut tx = self.db.begin().await?;
        coupons::share_shard(&self.db, &mut tx, reached.shard.id.name()).await?;
        let stored = match self.ask_to_lower(reached, &mut tx, &coupon).await {
            Ok(stored) => stored,
            Err(error) => {
                tx.roll_back().await;
                return Err(error);
            }
        };
        crate::base::crash::point("lowered-in-redis");
        let committed = match coupons::update(&self.db, &mut tx, &stored, &coupon, by).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        committed.map_err(|error| PublishError::Unknown(error.into()))?;
        self.note(&coupon).await;
        Ok(())
    }

    /// Lowers the amount in Redis, and returns the row of MySQL. After a success MySQL must follow.
    async fn ask_to_lower(
        &self,
        reached: &Reached,
        tx: &mut Transaction<'_>,
        coupon: &Coupon,
    ) -> Result<StoredCoupon, PublishError> {
        let stored = coupons::lock(&self.db, tx, coupon.id).await?.ok_or(PublishError::NoSuchCoupon)?;
        let superseded = stored.coupon.revision >= coupon.revision;
        let repaired = stored.published_revision >= stored.coupon.revision;
        if superseded || repaired {
            // Superseded: a later change won. Repaired: the repair has published the announced revision. The row would
            // not lag if Redis were lowered and MySQL were not. In both cases the user may retry.
            return Err(PublishError::Unavailable(None));
        }
        match self.send(reached, coupon, presence(&stored)).await {
            Ok(Published::Done) => Ok(stored),
            Ok(Published::BelowClaimed) => Err(PublishError::BelowClaimed),
            Ok(refused) => Err(reached.refused(coupon.id, refused)),
            Err(error) if error.nothing_happened() => Err(PublishError::Unavailable(None)),
            Err(error) => Err(PublishError::Unknown(error.into())),
        }
    }

    /// Publishes a committed row.
    async fn publish(&self, reached: &Reached, coupon: &Coupon, presence: Presence) -> Result<(), PublishError> {
        match self.send(reached, coupon, presence).await {
            // Redis has a later change. This change is in force, or was.
            Ok(Published::Done | Published::Older { .. }) => {
                self.note(coupon).await;
                Ok(())
            }
            Ok(refused) => Err(PublishError::Unknown(reached.refused(coupon.id, refused).into())),
            Err(error) => Err(PublishError::Unknown(error.into())),
        }
    }

    pub(super) async fn send(
        &self,
        Reached { shard, live }: &Reached,
        coupon: &Coupon,
        presence: Presence,
    ) -> Result<Published, KvError> {
        let calls = shard.pool.get().await?;
        let published = shard.claiming.stock.publish(&calls, live.as_str(), coupon, presence, self.wait).await;
        shard.claiming.refusals.forget(coupon.id);
        published
    }

    pub(super) async fn note(&self, coupon: &Coupon) {
        if let Err(error) = coupons::set_published(&self.db, coupon.id, coupon.revision).await {
            log::debug!("publishing: coupon {} left to the repair: {error}", coupon.id);
        }
    }

    /// Publishes coupons of a shard with lagging rows every second, until `stop`.
    pub async fn repair(self, shard: Arc<Shard>, statements: Arc<ShardStatements>, stop: CancellationToken) {
        let outage = Outage::new("publishing: repairing lagging coupons");
        let repaired = AtomicU64::new(0);
        every(REPAIR_EVERY, &stop, || async {
            if let Some(result) = self.repair_shard(&shard, &statements, &repaired).await
                && let Some(count @ 1..) = outage.note(result)
            {
                log::info!("publishing: published {count} lagging coupons");
            }
        })
        .await;
    }

    /// A repair, if the shard has lagging coupons. Full rounds are followed by another one. `None` if the shard cannot be reached
    /// now.
    async fn repair_shard(
        &self,
        shard: &Arc<Shard>,
        statements: &ShardStatements,
        repaired: &AtomicU64,
    ) -> Option<Result<usize, PublishError>> {
        match statements.has_lagging_coupons(shard.id).await {
            Ok(true) => {}
            Ok(false) => return Some(Ok(0)),
            Err(error) => return Some(Err(error.into())),
        }
        // MySQL gets a new revision only if Redis can get it, too.
        let reached = Reached::new(Arc::clone(shard)).await.ok()?;
        let mut published = 0;
        for _ in 0..REPAIR_ROUNDS_MAX {
            match self.repair_once(&reached, repaired).await {
                Ok(count) => published += count,
                Err(error) => return Some(Err(error)),
            }
            // Zero after the last round.
            if repaired.load(Ordering::Relaxed) == 0 {
                break;
            }
        }
        Some(Ok(published))
    }

    /// One round of the repair, over up to a hundred lagging coupons in the order of their ids. Returns the number of
    /// published coupons.
    ///
    /// A coupon that cannot be published must not keep the repair from the others. After an error of the row itself the
    /// round goes on. Any other error ends the round, because MySQL or Redis may be away. The next round begins behind
    /// the last coupon that was tried, `repaired`. So no coupon is tried twice before all others were tried.
    ///
    /// # Errors
    /// [`PublishError`] of a coupon that could not be published.
    async fn repair_once(&self, reached: &Reached, repaired: &AtomicU64) -> Result<usize, PublishError> {
        let after = CouponId(repaired.load(Ordering::Relaxed));
        let ids = coupons::lagging(&self.db, reached.shard.id, after, REPAIR_COUPONS_MAX).await?;
        let is_last = i64::try_from(ids.len()).is_ok_and(|count| count < REPAIR_COUPONS_MAX);
        let mut published = 0;
        let mut refused = None;
        for id in ids {
            repaired.store(id.0, Ordering::Relaxed);
            match self.repair_coupon(reached, id).await {
                Ok(()) => published += 1,
                Err(error) if error.blames_row() => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        if is_last {
            repaired.store(0, Ordering::Relaxed);
        }
        refused.map_or(Ok(published), Err)
    }

    async fn repair_coupon(&self, reached: &Reached, id: CouponId) -> Result<(), PublishError> {
        let mut tx = self.db.begin().await?;
        coupons::share_shard(&self.db, &mut tx, reached.shard.id.name()).await?;
        let stored = coupons::lock(&self.db, &mut tx, id).await?;
        let lags = |stored: &StoredCoupon| stored.published_revision < stored.coupon.revision && !stored.unloaded;
        let Some(stored) = stored.filter(lags) else {
            tx.roll_back().await;
            return Ok(());
        };
        let reached = Reached { shard: Arc::clone(&reached.shard), live: live_of(&reached.shard)? };
        // An abandoned lowering may still be on the way to Redis, with the row's revision plus 1. The repair publishes
        // a higher revision, and MySQL has that revision first.
        let coupon = Coupon { revision: stored.coupon.revision + 2, ..stored.coupon.clone() };
        coupons::update(&self.db, &mut tx, &stored, &coupon, Author::Service).await?;
        tx.commit().await?;
        match self.send(&reached, &coupon, presence(&stored)).await {
            Ok(Published::Done) => {
                self.note(&coupon).await;
                Ok(())
            }
            Ok(Published::Older { revision }) => self.raise_above(id, revision).await,
            Ok(Published::BelowClaimed) => {
                log::error!(
                    "publishing: coupon {id} cannot be published, its amount is below the number of claimed units"
                );
                Err(PublishError::BelowClaimed)
            }
            Ok(refused) => {
                log::error!("publishing: Redis refused coupon {id}: {refused:?}");
                Err(reached.refused(id, refused))
            }
            Err(error) => Err(PublishError::Unknown(error.into())),
        }
    }

    /// Handles a higher revision in Redis. The revision is a later change, or a change that MySQL never committed. In
    /// the second case the row of MySQL wins, with a revision above.
    pub(super) async fn raise_above(&self, id: CouponId, revision: u64) -> Result<(), PublishError> {
        let mut tx = self.db.begin().await?;
        let Some(stored) = coupons::lock(&self.db, &mut tx, id).await? else { return Ok(()) };
        if stored.coupon.revision < revision {
            let above = Coupon { revision: revision + 1, ..stored.coupon.clone() };
            coupons::update(&self.db, &mut tx, &stored, &above, Author::Service).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

fn apply(coupon: &Coupon, change: &CouponChange) -> Coupon {
    let is_raised = change.amount.is_some_and(|amount| amount > coupon.amount);
    Coupon {
        amount: change.amount.unwrap_or(coupon.amount),
        archived: change.archived.unwrap_or(coupon.archived && !is_raised),
        scheduled: change.scheduled.unwrap_or(coupon.scheduled),
        description: change.description.clone().unwrap_or_else(|| coupon.description.clone()),
        revision: coupon.revision + 1,
        ..coupon.clone()
    }
}

/// A coupon that was published before, or has claims, must be in Redis. It is never published again without its claims.
fn presence(stored: &StoredCoupon) -> Presence {
    let has_claims = stored.left_count < i64::from(stored.coupon.amount.get());
    if stored.published_revision == 0 && !has_claims { Presence::MayBeNew } else { Presence::MustBeHere }
}
