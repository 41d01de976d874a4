//! Look-ups of coupons by path or id. Bounded caches stand in front of Redis.
//!
//! Coupons are never renamed, so cached entries stay true. A coupon deleted by hand is forgotten when a claim finds that
//! both stores lack it.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hash, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hashbrown::HashMap;

use super::{Links, ShardLink};
use crate::domain::{ActivityId, CouponId, ShardId, normalized};
use crate::mysql::Db;
use crate::redis::{CouponLookup, Facts, KvError};

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
}

/// The coupons cached by one worker. A look-up in a cache shared by threads costs 1 % of a refusal, and twenty look-ups
/// cost 10 % of a list. A full map is cleared.
pub struct KnownCoupons {
    /// Hashed with a random key, because strangers choose the names.
    by_path: RefCell<HashMap<String, (CouponId, ShardId), RandomState>>,
    /// The shards of existing coupons.
    here: RefCell<HashMap<CouponId, ShardId>>,
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
        self.by_path.borrow_mut().retain(|_, (id, _)| *id != coupon);
        self.here.borrow_mut().remove(&coupon);
    }

    fn facts(&self, coupons: &[CouponId]) -> Vec<Option<Rc<Facts>>> {
        let mut facts = self.facts.borrow_mut();
        if self.facts_since.get().elapsed() > FACTS_AGE {
            facts.clear();
            self.facts_since.set(Instant::now());
        }
        coupons.iter().map(|coupon| facts.get(coupon).cloned()).collect()
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
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Finds the coupon at `path`, which is `saler/name`, or `None`. A path that is not cached is asked of all shards, and
    /// once more in normalization form C, if it was sent in another form. Misses are not cached, so strangers can cause a
    /// look-up with every request. Look-ups use the worker's connections, because they would take the whole pool.
    ///
    /// # Errors
    /// [`CouponUnknown`] if a shard cannot be read, and no other shard has the coupon.
    pub async fn coupon(
        &self,
        known: &KnownCoupons,
        links: &Links,
        path: &str,
    ) -> Result<Option<(CouponId, Rc<ShardLink>)>, CouponUnknown> {
        if let Some((id, shard)) = known.by_path.borrow().get(path) {
            return Ok(links.to(*shard).map(|link| (*id, link)));
        }
        // Boxed, to keep the future of every request small.
        let found = Box::pin(find_anywhere(links, path)).await?;
        let Some((id, link)) = found else {
            let is_unreadable = self.db.unreadable().has_path(path);
            return if is_unreadable { Err(CouponUnknown(None)) } else { Ok(None) };
        };
        remember(&known.by_path, COUPONS_MAX, path.to_owned(), (id, link.shard.id));
        Ok(Some((id, link)))
    }

    /// Finds the shard of the coupon with this id, or `None` if no such coupon exists.
    ///
    /// # Errors
    /// [`CouponUnknown`] if a shard cannot be read, and no other shard has the coupon.
    pub async fn shard_of(
        &self,
        known: &KnownCoupons,
        links: &Links,
        id: CouponId,
    ) -> Result<Option<Rc<ShardLink>>, CouponUnknown> {
        if let Some(shard) = known.here.borrow().get(&id) {
            return Ok(links.to(*shard));
        }
        let found = Box::pin(in_any(links.all(), |link| async move { has(&link, id).await })).await?;
        let Some(((), link)) = found else {
            let is_unreadable = self.db.unreadable().has_coupon(id);
            return if is_unreadable { Err(CouponUnknown(None)) } else { Ok(None) };
        };
        remember(&known.here, COUPONS_MAX, id, link.shard.id);
        Ok(Some(link))
    }

    /// The descriptions of coupons of a shard, in order. A description may be 1 s old. `None` for a coupon that Redis
    /// lacks.
    ///
    /// # Errors
    /// [`CouponUnknown`] if Redis cannot be read.
    pub async fn facts(
        &self,
        known: &KnownCoupons,
        link: &ShardLink,
        coupons: &[CouponId],
    ) -> Result<Vec<Option<Rc<Facts>>>, CouponUnknown> {
        let mut facts = known.facts(coupons);
        let missing: Vec<usize> = (0..coupons.len()).filter(|place| facts[*place].is_none()).collect();
        if !missing.is_empty() {
            let ids: Vec<CouponId> = missing.iter().map(|place| coupons[*place]).collect();
            // Boxed, to keep the future of every list small.
            let found = Box::pin(facts_in_redis(link, &ids)).await?;
            for (place, found) in missing.into_iter().zip(found) {
                let Some(found) = found.map(Rc::new) else { continue };
                remember(&known.facts, FACTS_MAX, coupons[place], Rc::clone(&found));
                facts[place] = Some(found);
            }
        }
        Ok(facts)
    }
}

/// Finds the coupon at `path` as it was sent, or else normalized.
async fn find_anywhere(links: &Links, path: &str) -> Result<Option<(CouponId, Rc<ShardLink>)>, CouponUnknown> {
    let at = async |path: &str| in_any(links.all(), |link| async move { find(&link, path).await }).await;
    match (at(path).await?, normalized(path)) {
        (None, Some(path)) => at(&path).await,
        (found, _) => Ok(found),
    }
}

/// Asks all shards at once. Returns what a shard has found, or `None` if all shards have answered that they have nothing.
async fn in_any<T, F: Future<Output = Result<Option<T>, CouponUnknown>>>(
    links: Vec<Rc<ShardLink>>,
    ask: impl Fn(Rc<ShardLink>) -> F,
) -> Result<Option<(T, Rc<ShardLink>)>, CouponUnknown> {
    let answers = join_all(links.iter().map(|link| ask(Rc::clone(link)))).await;
    let mut unknown = None;
    for (answer, link) in answers.into_iter().zip(links) {
        match answer {
            Ok(Some(found)) => return Ok(Some((found, link))),
            Ok(None) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(None), Err)
}

async fn find(link: &ShardLink, path: &str) -> Result<Option<CouponId>, CouponUnknown> {
    let (connection, live) = link.reading().ok_or(CouponUnknown(None))?;
    let found = link.shard.claiming.stock.find(&connection, &live, path, FIND_WAIT).await;
    match found.map_err(|error| CouponUnknown(Some(error)))? {
        CouponLookup::Found(id) => Ok(Some(id)),
        CouponLookup::NoSuchCoupon => Ok(None),
        CouponLookup::NotLoaded => Err(CouponUnknown(None)),
    }
}

async fn facts_in_redis(link: &ShardLink, coupons: &[CouponId]) -> Result<Vec<Option<Facts>>, CouponUnknown> {
    let (connection, live) = link.reading().ok_or(CouponUnknown(None))?;
    let found = link.shard.claiming.stock.facts(&connection, &live, coupons, FIND_WAIT).await;
    found.map_err(|error| CouponUnknown(Some(error)))?.ok_or(CouponUnknown(None))
}

async fn has(link: &ShardLink, id: CouponId) -> Result<Option<()>, CouponUnknown> {
    let (connection, live) = link.reading().ok_or(CouponUnknown(None))?;
    let found = link.shard.claiming.stock.units(&connection, &live, &[(id, ActivityId(0))], FIND_WAIT).await;
    let found = found.map_err(|error| CouponUnknown(Some(error)))?.ok_or(CouponUnknown(None))?;
    Ok(found.iter().any(Option::is_some).then_some(()))
}
