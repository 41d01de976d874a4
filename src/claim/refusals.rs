//! Refuses attempts from memory, which saves Redis up to a million calls a second.
//!
//! If a coupon is sold out or has no running activity, this instance may know all holders. Any other user can then be
//! refused at once. The refusal is true: no user can become a holder while the coupon's revision, the revision of its
//! activities and the number of claims stay equal. [`Refusals::watch`] compares these three values with Redis every 100
//! ms, once for all requests. A coupon with changed values is dropped. The whole table expires 200 ms after the last
//! successful comparison was sent. A change in Redis is therefore in force on this instance at most 200 ms later. A change
//! published by this instance is in force at once, because its coupon is dropped before the saler is answered.
//!
//! Holders are read from MySQL, and used only if their number equals the number of claims in Redis. A coupon on sale is
//! never in the table, because the count changes with every claim.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::TryStreamExt;
use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::base::Apart;
use crate::domain::{ActivityId, CouponId, Phase, Refusal, Schedule, Status, UserId};
use crate::memory::Activities;
use crate::mysql::{Db, DbError, claim_rows};
use crate::redis::{CLOCK_ERROR_MS, Calls, KvError, Live, Pool, Stock, Units};

/// Period of comparisons with Redis.
const COMPARE_EVERY: Duration = Duration::from_millis(100);
/// Validity of a comparison, from the time when it was sent.
const COUNTS_FOR: Duration = Duration::from_millis(200);
/// Maximum coupons in the table, and maximum coupons waiting to enter.
pub const KNOWN_COUPONS_MAX: usize = 1_000;
/// Maximum holders of all coupons in the table, 8 bytes each.
pub const KNOWN_HOLDERS_MAX: usize = 4_000_000;
/// Comparisons without a refusal after which a coupon is dropped.
const UNUSED_MAX: u32 = 100;
/// Timeout for reading the holders of a coupon.
const HOLDERS_WAIT: Duration = Duration::from_secs(30);

pub struct Refusals {
    db: Db,
    stock: Stock,
    gate: Arc<Gate>,
    activities: Arc<Activities>,
    table: ArcSwap<RefusalTable>,
    /// Coupons recently refused by Redis. [`Refusals::watch`] takes them out.
    noticed: Mutex<HashSet<CouponId>>,
    refused: Apart<AtomicU64>,
    /// Coupons forgotten while a comparison is under way, `None` between comparisons. Locked while the table is
    /// replaced, so a comparison that began before a change of a coupon never brings the coupon back.
    forgotten: Mutex<Option<HashSet<CouponId>>>,
}

/// Coupons confirmed by the last comparison. `compared` holds its send time, and the process and epoch asked.
#[derive(Default)]
struct RefusalTable {
    compared: Option<(Instant, Arc<Live>)>,
    known: HashMap<CouponId, Arc<KnownCoupon>>,
}

/// A coupon whose non-holders can be refused.
struct KnownCoupon {
    /// The compared values. `sold` is of `activity`, which is 0 if the coupon had none.
    units: Units,
    activity: ActivityId,
    /// Sorted user ids, as many as claims.
    holders: Arc<[u64]>,
    used: AtomicBool,
    /// Comparisons since the last refusal.
    unused: u32,
}

/// Why a comparison failed. The table then expires by itself.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Refusals {
    pub fn new(db: Db, stock: Stock, gate: Arc<Gate>, activities: Arc<Activities>) -> Self {
        let (table, noticed, refused) = (ArcSwap::default(), Mutex::default(), Apart::new(AtomicU64::default));
        Self { db, stock, gate, activities, table, noticed, refused, forgotten: Mutex::default() }
    }

    /// The reason if an attempt of `user` is certain to be refused, or `None` if only Redis can decide. `schedule` has
    /// the activities known to the caller. `now_ms` is the estimate of Redis' clock at `now`, in ms since 1970.
    pub fn refuse(
        &self,
        coupon: CouponId,
        user: UserId,
        schedule: Option<&Schedule>,
        now: Instant,
        now_ms: u64,
    ) -> Option<Refusal> {
        let table = self.table.load();
        let known = table.known.get(&coupon)?;
        let (sent_at, loading) = table.compared.as_ref()?;
        if now.saturating_duration_since(*sent_at) > COUNTS_FOR
            || !self.gate.is_open_for(loading)
            || known.holders.binary_search(&user.0).is_ok()
        {
            return None;
        }
        let refusal = known.refuse(schedule, now_ms)?;
        if !known.used.load(Ordering::Relaxed) {
            known.used.store(true, Ordering::Relaxed);
        }
        self.refused.mine().fetch_add(1, Ordering::Relaxed);
        Some(refusal)
    }

    /// Records that Redis refused a unit of `coupon` to a user who does not hold it.
    pub fn notice(&self, coupon: CouponId, refusal: Refusal) {
        match refusal {
            // May change at any moment without a new revision, or depends on the user.
            Refusal::TryAgain
            | Refusal::NoSuchCoupon
            | Refusal::NotEligible
            | Refusal::TicketRequired
            | Refusal::NetworkLimit => {}
            Refusal::SoldOut | Refusal::NotOnSale | Refusal::Disabled | Refusal::NotStarted | Refusal::Ended => {
                let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
                if noticed.len() < KNOWN_COUPONS_MAX {
                    noticed.insert(coupon);
                }
            }
        }
    }

    /// Refuses no attempt at `coupon` any more until the next comparison, because this instance has just published a
    /// change. The saler's answer must not be followed by a refusal under the old amount.
    pub fn forget(&self, coupon: CouponId) {
        let mut forgotten = self.forgotten();
        if let Some(forgotten) = &mut *forgotten {
            forgotten.insert(coupon);
        }
        let table = self.table.load();
        if table.known.contains_key(&coupon) {
            let mut known = table.known.clone();
            known.remove(&coupon);
            self.table.store(Arc::new(RefusalTable { compared: table.compared.clone(), known }));
        }
    }

    fn forgotten(&self) -> MutexGuard<'_, Option<HashSet<CouponId>>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attempts refused so far, coupons in the table, and holders in the table.
    pub fn figures(&self) -> (u64, usize, usize) {
        let table = self.table.load();
        let holders = table.known.values().map(|known| known.holders.len()).sum();
        (self.refused.sum(|count| count), table.known.len(), holders)
    }

    /// Compares and learns until `stop`.
    pub async fn watch(self: Arc<Self>, pool: Pool, stop: CancellationToken) {
        let mut interval = tokio::time::interval(COMPARE_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut learning: Option<tokio::task::JoinHandle<Vec<(CouponId, KnownCoupon)>>> = None;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stop.cancelled() => break,
            }
            let Ok(live) = self.gate.live() else {
                self.table.store(Arc::default());
                continue;
            };
            if learning.is_none() && self.has_nothing_to_compare() {
                continue;
            }
            // Without a connection the table stays. Its last comparison expires by itself.
            let Ok(calls) = pool.get_within(COUNTS_FOR).await else { continue };
            let learnt = match learning.take() {
                Some(task) if task.is_finished() => task.await.unwrap_or_default(),
                unfinished => {
                    learning = unfinished;
                    Vec::new()
                }
            };
            if let Err(error) = self.compare(&calls, live, learnt).await {
                // The table expires by itself, so no action is needed.
                log::debug!("refusals: not compared: {error}");
            }
            if learning.is_none() {
                let noticed = std::mem::take(&mut *self.noticed.lock().unwrap_or_else(PoisonError::into_inner));
                if !noticed.is_empty() {
                    learning = Some(tokio::spawn(Arc::clone(&self).learn(pool.clone(), noticed)));
                }
            }
        }
        if let Some(task) = learning {
            task.abort();
            let _ = task.await;
        }
    }

    /// Whether no coupon is in the table, or waits to enter it.
    fn has_nothing_to_compare(&self) -> bool {
        self.table.load().known.is_empty() && self.noticed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Drops entries whose counts in Redis have changed, and renews the rest for 200 ms.
    async fn compare(
        &self,
        calls: &Calls,
        live: Arc<Live>,
        learnt: Vec<(CouponId, KnownCoupon)>,
    ) -> Result<(), KvError> {
        let table = self.table.load_full();
        let mut known = table.known.clone();
        known.extend(learnt.into_iter().map(|(coupon, known)| (coupon, Arc::new(known))));
        if known.is_empty() {
            return Ok(());
        }
        let asked: Vec<(CouponId, ActivityId)> = known.iter().map(|(id, known)| (*id, known.activity)).collect();
        *self.forgotten() = Some(HashSet::new());
        let sent_at = Instant::now();
        let all = self.stock.units(calls, &live, &asked, COUNTS_FOR).await;
        // Locked until the table is replaced.
        let mut locked = self.forgotten();
        let forgotten = locked.take().unwrap_or_default();
        let Some(all) = all? else {
            self.table.store(Arc::default());
            return Ok(());
        };
        for ((coupon, _), units) in asked.into_iter().zip(all) {
            let entry = known.get(&coupon).filter(|known| Some(known.units) == units);
            match entry.and_then(|known| known.after_comparison()) {
                Some(kept) => known.insert(coupon, Arc::new(kept)),
                None => known.remove(&coupon),
            };
        }
        for coupon in forgotten {
            known.remove(&coupon);
        }
        self.table.store(Arc::new(RefusalTable { compared: Some((sent_at, live)), known }));
        Ok(())
    }

    /// Reads the holders of recently refused coupons, as far as the limits allow.
    async fn learn(self: Arc<Self>, pool: Pool, noticed: HashSet<CouponId>) -> Vec<(CouponId, KnownCoupon)> {
        let mut learnt = Vec::new();
        for coupon in noticed {
            let (_, coupons, holders) = self.figures();
            let room = KNOWN_HOLDERS_MAX.saturating_sub(holders);
            if coupons + learnt.len() >= KNOWN_COUPONS_MAX {
                break;
            }
            match self.learn_one(&pool, coupon, room).await {
                Ok(Some(known)) => learnt.push((coupon, known)),
                Ok(None) => {}
                Err(error) => {
                    log::debug!("refusals: coupon {coupon} is left to Redis: {}", crate::base::error_chain(&error));
                    break;
                }
            }
        }
        learnt
    }

    /// Returns `None` if MySQL lacks some holders, if the holders exceed the limit, or if units are left.
    async fn learn_one(&self, pool: &Pool, coupon: CouponId, room: usize) -> Result<Option<KnownCoupon>, CompareError> {
        let Ok(live) = self.gate.live() else { return Ok(None) };
        let schedule = self.activities.of(coupon);
        // Not kept while MySQL is read.
        let calls = pool.get_within(COUNTS_FOR).await?;
        let now_ms = calls.server_ms();
        let activity = schedule.as_ref().and_then(|schedule| schedule.at(now_ms));
        let activity = activity.map_or(ActivityId(0), |activity| activity.id);
        let units = self.stock.units(&calls, &live, &[(coupon, activity)], COUNTS_FOR).await?;
        drop(calls);
        let Some(units) = units.and_then(|units| *units.first()?) else { return Ok(None) };
        let claimed = usize::try_from(units.claimed).unwrap_or(usize::MAX);
        if units.holes > 0 || claimed > room {
            return Ok(None);
        }
        let before = self.table.load().known.get(&coupon).cloned();
        let holders = match before {
            Some(before) if before.units.claimed == units.claimed => Arc::clone(&before.holders),
            _ => self.read_holders(coupon, claimed).await?,
        };
        let known = KnownCoupon { units, activity, holders, used: AtomicBool::new(true), unused: 0 };
        let complete = known.holders.len() == claimed;
        Ok((complete && known.refuse(schedule.as_deref(), now_ms).is_some()).then_some(known))
    }

    async fn read_holders(&self, coupon: CouponId, claimed: usize) -> Result<Arc<[u64]>, DbError> {
        let mut holders = Vec::with_capacity(claimed);
        if claimed > 0 {
            let mut connection = self.db.connect_alone().await?;
            let reading = async {
                let mut rows = claim_rows::holders(&mut connection, coupon, claimed).await?;
                while let Some(user) = rows.try_next().await? {
                    holders.push(user.0);
                }
                Ok(())
            };
            crate::mysql::within("read holders", HOLDERS_WAIT, reading).await?;
        }
        holders.sort_unstable();
        Ok(holders.into())
    }
}

impl KnownCoupon {
    /// Why a user who does not hold the coupon is refused, or `None` if a grant is possible.
    fn refuse(&self, schedule: Option<&Schedule>, now_ms: u64) -> Option<Refusal> {
        let units_gone = self.units.claimed >= self.units.amount;
        if !self.units.scheduled {
            return units_gone.then_some(Refusal::SoldOut);
        }
        if schedule.map_or(0, |schedule| schedule.revision) != self.units.activity_revision {
            return None;
        }
        let Some(activity) = schedule.and_then(|schedule| schedule.at(now_ms)) else {
            return Some(Refusal::NotOnSale);
        };
        let terms = &activity.terms;
        // Near an edge of the window, where clocks may disagree, Redis decides.
        match terms.status {
            Status::Disabled => Some(Refusal::Disabled),
            Status::SoldOut => Some(Refusal::SoldOut),
            Status::Normal if terms.window.phase(now_ms + CLOCK_ERROR_MS) == Phase::Before => Some(Refusal::NotStarted),
            Status::Normal if terms.window.phase(now_ms.saturating_sub(CLOCK_ERROR_MS)) == Phase::Over => {
                Some(Refusal::Ended)
            }
            Status::Normal if terms.window.phase(now_ms) == Phase::Within => {
                let gone = units_gone || activity.id == self.activity && self.units.left(terms.total) == 0;
                gone.then_some(Refusal::SoldOut)
            }
            Status::Normal => None,
        }
    }

    /// The entry after another comparison, or `None` if it has not been used for `UNUSED_MAX` comparisons.
    fn after_comparison(&self) -> Option<Self> {
        let unused = if self.used.load(Ordering::Relaxed) { 0 } else { self.unused + 1 };
        let (units, activity, holders) = (self.units, self.activity, Arc::clone(&self.holders));
        (unused < UNUSED_MAX).then(|| Self { units, activity, holders, used: AtomicBool::new(false), unused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::ClosedReason;
    use crate::domain::Epoch;
    use crate::mysql as db;
    use crate::redis::Keys;

    const COUPON: CouponId = CouponId(1);
    const HOLDER: UserId = UserId(7);
    const OTHER: UserId = UserId(8);

    /// A sold-out coupon with a single holder, compared at `sent_at` under `loading`.
    fn knowing(sent_at: Instant, loading: Live) -> Refusals {
        let wait = Duration::from_secs(1);
        let limits = db::DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, limits).expect("it connects to nothing yet");
        let dbs = db::DbPools { users: db.clone(), control: db.clone() };
        let (gate, activities) = (Arc::new(Gate::new(1)), Arc::new(Activities::new(dbs)));
        gate.open(loading.clone());
        let refusals =
            Refusals::new(db, Stock::new(Keys::new("test", crate::domain::ShardId::FIRST), 1), gate, activities);
        let units =
            Units { scheduled: false, revision: 1, activity_revision: 0, amount: 1, claimed: 1, holes: 0, sold: 0 };
        let holders = Arc::from([HOLDER.0]);
        let known = KnownCoupon { units, activity: ActivityId(0), holders, used: AtomicBool::new(false), unused: 0 };
        let known = HashMap::from([(COUPON, Arc::new(known))]);
        refusals.table.store(Arc::new(RefusalTable { compared: Some((sent_at, Arc::new(loading))), known }));
        refusals
    }

    #[test]
    fn what_was_compared_under_another_loading_or_too_long_ago_refuses_nobody() {
        let (loading, other) = (Live::new("process", Epoch(1)), Live::new("process", Epoch(2)));
        let now = Instant::now();
        let refuse = |refusals: &Refusals, user| refusals.refuse(COUPON, user, None, Instant::now(), 0);
        let fresh = knowing(now, loading.clone());
        assert_eq!(refuse(&fresh, OTHER), Some(Refusal::SoldOut));
        assert_eq!(refuse(&fresh, HOLDER), None, "he is told what he holds");
        fresh.gate.close(ClosedReason::Recovering);
        assert_eq!(refuse(&fresh, OTHER), None, "nobody vouches for Redis");
        fresh.gate.open(other);
        assert_eq!(refuse(&fresh, OTHER), None, "Redis was loaded again");
        let old = knowing(now.checked_sub(COUNTS_FOR * 2).expect("the machine runs for longer"), loading);
        assert_eq!(refuse(&old, OTHER), None, "nobody knows whether it is still so");
    }
}
