//! Look-ups of coupons by path or id. Bounded caches stand in front of Redis.
//!
//! Coupons are never renamed, so cached entries stay true. A coupon deleted by hand is forgotten when a claim finds that
//! both stores lack it.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hash, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::Gate;
use crate::domain::{ActivityId, CouponId};
use crate::mysql::Db;
use crate::redis::{Connection, CouponLookup, Facts, KvError, Stock};

/// Timeout of a look-up in Redis.
const FIND_WAIT: Duration = Duration::from_millis(500);
/// How long a cached description may be served. Descriptions may change.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// Maximum cached descriptions per worker: a megabyte or two.
const FACTS_MAX: usize = 10_000;
/// Maximum coupons cached by path, and by id, per worker: 10 to 20 MB.
const COUPONS_MAX: usize = 100_000;

pub struct Directory {
    /// Knows unreadable coupons. They exist, although Redis lacks them.
    db: Db,
    stock: Stock,
    gate: Arc<Gate>,
}

/// The coupons cached by one worker. A look-up in a cache shared by threads costs 1 % of a refusal, and twenty look-ups
/// cost 10 % of a list. A full map is cleared.
pub struct KnownCoupons {
    /// Hashed with a random key, because strangers choose the names.
    by_path: RefCell<HashMap<String, CouponId, RandomState>>,
    /// Ids of existing coupons.
    here: RefCell<HashMap<CouponId, ()>>,
    /// Cleared every second.
    facts: RefCell<HashMap<CouponId, Rc<Facts>>>,
    facts_since: Cell<Instant>,
}

/// Redis is down, the shard is not loaded at the connection's process (`None`), or the coupon's row in MySQL cannot be
/// read (`None`).
#[derive(Debug, thiserror::Error)]
#[error("looking up a coupon in Redis failed")]
pub struct CouponUnknown(#[source] Option<KvError>);

impl Default for KnownCoupons {
    fn default() -> Self {
        let (by_path, here, facts) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { by_path, here, facts, facts_since: Cell::new(Instant::now()) }
    }
}

impl KnownCoupons {
    /// Forgets a coupon that neither Redis nor MySQL has.
    pub fn forget(&self, coupon: CouponId) {
        self.by_path.borrow_mut().retain(|_, id| *id != coupon);
        self.here.borrow_mut().remove(&coupon);
    }

    fn facts(&self, coupon: CouponId) -> Option<Rc<Facts>> {
        if self.facts_since.get().elapsed() > FACTS_AGE {
            self.facts.borrow_mut().clear();
            self.facts_since.set(Instant::now());
        }
        self.facts.borrow().get(&coupon).cloned()
    }
}

/// Adds an entry. A map with `max` entries is cleared first.
fn remember<K: Eq + Hash, V, S: BuildHasher>(map: &RefCell<HashMap<K, V, S>>, max: usize, key: K, value: V) {
    let mut map = map.borrow_mut();
    if map.len() >= max {
        map.clear();
    }
    map.insert(key, value);
}

impl Directory {
    pub fn new(db: Db, stock: Stock, gate: Arc<Gate>) -> Self {
        Self { db, stock, gate }
    }

    /// Finds the coupon at `path`, which is `saler/name`, or `None`. Misses are not cached, so strangers can cause a
    /// look-up with every request. Look-ups use the worker's connection, because they would take the whole pool.
    ///
    /// # Errors
    /// [`CouponUnknown`] if Redis cannot be read.
    pub async fn coupon(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        path: &str,
    ) -> Result<Option<CouponId>, CouponUnknown> {
        if let Some(id) = known.by_path.borrow().get(path) {
            return Ok(Some(*id));
        }
        let live = self.gate.live_at(connection).ok_or(CouponUnknown(None))?;
        // Boxed, to keep the future of every request small.
        let found = Box::pin(self.stock.find(connection, &live, path, FIND_WAIT)).await;
        match found.map_err(|error| CouponUnknown(Some(error)))? {
            CouponLookup::Found(id) => {
                remember(&known.by_path, COUPONS_MAX, path.to_owned(), id);
                Ok(Some(id))
            }
            CouponLookup::NoSuchCoupon if self.db.unreadable().has_path(path) => Err(CouponUnknown(None)),
            CouponLookup::NoSuchCoupon => Ok(None),
            CouponLookup::NotLoaded => Err(CouponUnknown(None)),
        }
    }

    /// The descriptions of coupons, in order. A description may be 1 s old. `None` for a coupon that Redis lacks.
    ///
    /// # Errors
    /// [`CouponUnknown`] if Redis cannot be read.
    pub async fn facts(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        coupons: &[CouponId],
    ) -> Result<Vec<Option<Rc<Facts>>>, CouponUnknown> {
        let mut facts: Vec<Option<Rc<Facts>>> = coupons.iter().map(|id| known.facts(*id)).collect();
        let missing: Vec<usize> = (0..coupons.len()).filter(|place| facts[*place].is_none()).collect();
        if !missing.is_empty() {
            let ids: Vec<CouponId> = missing.iter().map(|place| coupons[*place]).collect();
            let live = self.gate.live_at(connection).ok_or(CouponUnknown(None))?;
            let found = self.stock.facts(connection, &live, &ids, FIND_WAIT).await;
            let found = found.map_err(|error| CouponUnknown(Some(error)))?.ok_or(CouponUnknown(None))?;
            for (place, found) in missing.into_iter().zip(found) {
                let Some(found) = found.map(Rc::new) else { continue };
                remember(&known.facts, FACTS_MAX, coupons[place], Rc::clone(&found));
                facts[place] = Some(found);
            }
        }
        Ok(facts)
    }

    /// Whether a coupon with this id exists.
    ///
    /// # Errors
    /// [`CouponUnknown`] if Redis cannot be read.
    pub async fn has_coupon(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        id: CouponId,
    ) -> Result<bool, CouponUnknown> {
        if known.here.borrow().contains_key(&id) {
            return Ok(true);
        }
        let live = self.gate.live_at(connection).ok_or(CouponUnknown(None))?;
        let found = Box::pin(self.stock.units(connection, &live, &[(id, ActivityId(0))], FIND_WAIT)).await;
        let found = found.map_err(|error| CouponUnknown(Some(error)))?.ok_or(CouponUnknown(None))?;
        let is_here = found.iter().any(Option::is_some);
        if is_here {
            remember(&known.here, COUPONS_MAX, id, ());
        } else if self.db.unreadable().has_coupon(id) {
            return Err(CouponUnknown(None));
        }
        Ok(is_here)
    }
}
