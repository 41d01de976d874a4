//! Answers attempts at archived coupons from MySQL.
//!
//! Redis has a tombstone of an archived coupon, which was written when MySQL had all its claims. No claim is granted
//! under a tombstone. So the claims of a user do not change while Redis has this tombstone, and are cached with it. Claims
//! are read after the reply of Redis, never before. The answers equal the answers of `lua/claim.lua` before the coupon
//! was archived.
//!
//! A coupon on its way to or from the archive refuses nobody: MySQL may lack a claim, or the next attempt may be granted.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::outcome::ClaimOutcome;
use crate::domain::{ActivityId, Claim, CouponId, Nth, Phase, Refusal, Schedule, Status, UserId};
use crate::memory::{FewReads, ReadCounts, ReadError, ReadLimits};
use crate::mysql::{Db, DbError, activities, claim_rows, coupons};
use crate::redis::{Attempt, Tombstone};

/// Timeout of a read of claims or facts. The customer of an attempt waits meanwhile.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Reads of claims and facts at the same time. Other users of the pool keep most of its connections.
const READS_MAX: usize = 4;
/// Callers that wait for these reads.
const READERS_MAX: usize = 2_000;
/// Timeout of counting the claims of a coupon's activities. A million claims take about a second, once per tombstone.
const COUNT_WAIT: Duration = Duration::from_secs(5);
/// Callers that wait for counts, which run one at a time.
const COUNTERS_MAX: usize = 100;
/// How long facts may be used. So a famous coupon costs MySQL two queries a second.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// Maximum coupons in the cache of facts, and in the cache of counts.
const COUPONS_MAX: u64 = 10_000;
/// Maximum size of the cache of claims: 1 for each user and coupon, and 1 for each claim. About 200 bytes each.
pub const ARCHIVED_CLAIMS_MAX: u64 = 200_000;

type HolderKey = (CouponId, Tombstone, UserId);
type CouponKey = (CouponId, Tombstone);

pub struct ArchivedCoupons {
    db: Db,
    /// The claims of a user, in the order of nth. Simultaneous callers share a query.
    claims: Cache<HolderKey, Arc<[Claim]>>,
    facts: Cache<CouponKey, Arc<ArchivedFacts>>,
    /// Claims by activity.
    sold: Cache<CouponKey, Arc<[(ActivityId, u64)]>>,
    reads: FewReads,
    counts: FewReads,
}

/// What MySQL says about a coupon of which Redis has a tombstone.
#[derive(Debug)]
pub struct ArchivedFacts {
    state: ArchiveState,
    scheduled: bool,
    /// 0 means that the coupon never had an activity.
    activity_revision: u64,
    left_count: i64,
    schedule: Option<Schedule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArchiveState {
    Archived,
    /// The coupon comes back, or its row cannot be read. A refusal could be false.
    Closed,
    /// The coupon was deleted by hand.
    Deleted,
}

/// Use of the caches, and reads so far.
#[derive(Debug, Clone, Copy)]
pub struct ArchivedFigures {
    /// The size of the cache of claims, up to [`ARCHIVED_CLAIMS_MAX`].
    pub claims: u64,
    pub reads: ReadCounts,
    pub counts: ReadCounts,
}

impl ArchivedCoupons {
    pub fn new(db: Db) -> Self {
        let weight = |_: &HolderKey, claims: &Arc<[Claim]>| u32::try_from(claims.len() + 1).unwrap_or(u32::MAX);
        let reads = ReadLimits { turns: READS_MAX, places: READERS_MAX, wait: READ_WAIT };
        let counts = ReadLimits { turns: 1, places: COUNTERS_MAX, wait: COUNT_WAIT };
        Self {
            db,
            claims: Cache::builder().max_capacity(ARCHIVED_CLAIMS_MAX).weigher(weight).build(),
            facts: Cache::builder().max_capacity(COUPONS_MAX).time_to_live(FACTS_AGE).build(),
            sold: Cache::new(COUPONS_MAX),
            reads: FewReads::new("archived coupons: reading", reads),
            counts: FewReads::new("archived coupons: counting claims", counts),
        }
    }

    /// Decides an attempt after Redis has replied with `tombstone`. `now_ms` is the clock of Redis, in ms since 1970.
    /// Returns `Already`, `Refused` or `Unavailable`. `Unavailable` also means that MySQL did not answer in time.
    pub async fn answer(&self, attempt: &Attempt<'_>, tombstone: Tombstone, now_ms: u64) -> ClaimOutcome {
        self.decide(attempt, tombstone, now_ms).await.unwrap_or(ClaimOutcome::Unavailable)
    }

    async fn decide(
        &self,
        attempt: &Attempt<'_>,
        tombstone: Tombstone,
        now_ms: u64,
    ) -> Result<ClaimOutcome, Arc<ReadError>> {
        let Attempt { coupon, user, nth: wanted, .. } = *attempt;
        let held = self.claims_of(coupon, tombstone, user).await?;
        if let Some(claim) = wanted.and_then(|wanted| held.iter().find(|claim| claim.nth == wanted)) {
            return Ok(ClaimOutcome::Already(*claim));
        }
        let facts = self.facts(coupon, tombstone).await?;
        if let Some(claim) = facts.last_allowed(&held, now_ms) {
            return Ok(ClaimOutcome::Already(claim));
        }
        Ok(match facts.state {
            ArchiveState::Archived if !tombstone.is_moving => ClaimOutcome::Refused(facts.refusal(now_ms)),
            ArchiveState::Archived | ArchiveState::Closed => ClaimOutcome::Unavailable,
            ArchiveState::Deleted => ClaimOutcome::Refused(Refusal::NoSuchCoupon),
        })
    }

    async fn claims_of(
        &self,
        coupon: CouponId,
        tombstone: Tombstone,
        user: UserId,
    ) -> Result<Arc<[Claim]>, Arc<ReadError>> {
        let read = self.reads.read(claim_rows::of_holder(&self.db, user, coupon));
        if tombstone.is_moving {
            // Claims of a coupon that is being closed may still reach MySQL.
            return Ok(read.await?.into());
        }
        self.claims.try_get_with((coupon, tombstone, user), async { Ok(read.await?.into()) }).await
    }

    /// What MySQL says about a coupon of which Redis has `tombstone`. May be 1 s old.
    ///
    /// # Errors
    /// [`ReadError`] if MySQL did not answer in time. Simultaneous callers share the error.
    pub async fn facts(&self, coupon: CouponId, tombstone: Tombstone) -> Result<Arc<ArchivedFacts>, Arc<ReadError>> {
        let read = self.reads.read(read_facts(&self.db, coupon));
        self.facts.try_get_with((coupon, tombstone), async { Ok(Arc::new(read.await?)) }).await
    }

    /// The number of claims of an activity of a coupon of which Redis has `tombstone`.
    ///
    /// # Errors
    /// [`ReadError`] if MySQL did not answer in time. Simultaneous callers share the error.
    pub async fn sold(
        &self,
        coupon: CouponId,
        tombstone: Tombstone,
        activity: ActivityId,
    ) -> Result<u64, Arc<ReadError>> {
        let count = async { activities::sold(&self.db, &[coupon]).await };
        let read = self.counts.read(count);
        let sold: Arc<[_]> = match tombstone.is_moving {
            true => read.await?.into(),
            false => self.sold.try_get_with((coupon, tombstone), async { Ok(Arc::from(read.await?)) }).await?,
        };
        Ok(sold.iter().find(|(id, _)| *id == activity).map_or(0, |(_, claims)| *claims))
    }

    pub fn figures(&self) -> ArchivedFigures {
        let claims = self.claims.weighted_size();
        ArchivedFigures { claims, reads: self.reads.counts(), counts: self.counts.counts() }
    }
}

async fn read_facts(db: &Db, coupon: CouponId) -> Result<ArchivedFacts, DbError> {
    // The row comes last. If it is archived, the activities read before are the last ones.
    let schedule = activities::schedule(db, coupon).await?;
    let (state, stored) = match coupons::find(db, coupon).await {
        Ok(Some(stored)) if stored.coupon.archived => (ArchiveState::Archived, Some(stored)),
        Ok(Some(stored)) => (ArchiveState::Closed, Some(stored)),
        Ok(None) => (ArchiveState::Deleted, None),
        Err(error) if error.is_unreadable_row() => (ArchiveState::Closed, None),
        Err(error) => return Err(error),
    };
    Ok(ArchivedFacts {
        state,
        scheduled: stored.as_ref().is_some_and(|stored| stored.coupon.needs_activity()),
        activity_revision: stored.as_ref().map_or(0, |stored| stored.coupon.activity_revision),
        left_count: stored.as_ref().map_or(0, |stored| stored.left_count),
        schedule,
    })
}

impl ArchivedFacts {
    /// The coupon's activities, or `None` if it has none.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// The user's last claim, if the user holds as many as allowed. `held` has the user's claims in the order of nth.
    fn last_allowed(&self, held: &[Claim], now_ms: u64) -> Option<Claim> {
        // Claims after a gap do not count. An attempt fills the gap.
        let without_gap = (1..).zip(held).take_while(|(nth, claim)| claim.nth == *nth).count();
        let last = held.get(without_gap.checked_sub(1)?)?;
        let limit = self.limit(now_ms);
        // A coupon that never had an activity allows a single claim, which is the first.
        let only = (!self.scheduled && self.activity_revision == 0).then(|| held[0]);
        only.or_else(|| (last.nth >= limit).then_some(*last))
    }

    /// The claims allowed to a user by the activity in force.
    fn limit(&self, now_ms: u64) -> Nth {
        let activity = self.schedule.as_ref().filter(|_| self.scheduled).and_then(|schedule| schedule.at(now_ms));
        activity.map_or(1, |activity| activity.terms.buy_limit)
    }

    /// Why a user without a claim is refused.
    fn refusal(&self, now_ms: u64) -> Refusal {
        let by_units = if self.left_count <= 0 { Refusal::SoldOut } else { Refusal::Ended };
        if !self.scheduled {
            return by_units;
        }
        let Some(activity) = self.schedule.as_ref().and_then(|schedule| schedule.at(now_ms)) else {
            return Refusal::NotOnSale;
        };
        match (activity.terms.status, activity.terms.window.phase(now_ms)) {
            (Status::Disabled, _) => Refusal::Disabled,
            (Status::SoldOut, _) => Refusal::SoldOut,
            (Status::Normal, Phase::Over) => Refusal::Ended,
            (Status::Normal, Phase::Before) if self.left_count <= 0 => Refusal::NotStarted,
            // A coupon with units left was archived at the saler's word.
            (Status::Normal, Phase::Before | Phase::Within) => by_units,
        }
    }
}
