//! Look-ups of users by name or id, and of coupons by path or id. Bounded caches stand in front of MySQL and Redis.
//!
//! Users and coupons are never renamed and never deleted, so cached entries stay true. An unknown user may register on
//! another instance at any moment, so a miss is cached for 1 s only.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hash, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use moka::{future, sync};

use super::Gate;
use crate::domain::{ActivityId, CouponId, User, UserId, UserName};
use crate::mysql::{Db, DbError, users};
use crate::redis::{Connection, CouponLookup, Facts, KvError, Stock};

/// How long a missing user is cached.
const MISS_AGE: Duration = Duration::from_secs(1);
/// Timeout of a look-up in Redis.
const FIND_WAIT: Duration = Duration::from_millis(500);
/// How long a cached description may be served. Descriptions may change.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// Maximum cached descriptions per worker: a megabyte or two.
const FACTS_MAX: usize = 10_000;
/// Maximum coupons cached by path, and by id, per worker: 10 to 20 MB.
const COUPONS_MAX: usize = 100_000;

/// Looks up users and coupons. Clones share the caches of users.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    stock: Stock,
    gate: Arc<Gate>,
    /// Simultaneous look-ups of a name share a query.
    users: future::Cache<String, User>,
    /// Names without a user.
    nobodies: sync::Cache<String, ()>,
    users_by_id: future::Cache<UserId, User>,
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

#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Redis is down, or the shard is not loaded.
    #[error("looking up a coupon in Redis failed")]
    Redis(#[source] Option<KvError>),
    /// The error text of a query that many look-ups may share.
    #[error("looking up a user in MySQL failed: {0}")]
    Mysql(String),
}

/// The reason for a missing user. Shared by all callers of the same look-up.
enum NoUser {
    Nobody,
    Db(DbError),
}

impl Default for KnownCoupons {
    fn default() -> Self {
        let (by_path, here, facts) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { by_path, here, facts, facts_since: Cell::new(Instant::now()) }
    }
}

impl KnownCoupons {
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
    /// `users_max` bounds each cache of users.
    pub fn new(db: Db, stock: Stock, gate: Arc<Gate>, users_max: u64) -> Self {
        Self {
            db,
            stock,
            gate,
            users: future::Cache::new(users_max),
            nobodies: sync::Cache::builder().max_capacity(users_max).time_to_live(MISS_AGE).build(),
            users_by_id: future::Cache::new(users_max),
        }
    }

    /// Finds the user called `name`, or `None`. Simultaneous look-ups of a name share a query.
    ///
    /// # Errors
    /// [`FindError::Mysql`] if MySQL cannot be read.
    pub async fn user(&self, name: &UserName) -> Result<Option<User>, FindError> {
        let name = name.as_str();
        if self.nobodies.contains_key(name) {
            return Ok(None);
        }
        let look_up = async {
            let parsed = UserName::parse(name.to_owned()).map_err(|_| NoUser::Nobody)?;
            let account = users::find_by_name(&self.db, &parsed).await.map_err(NoUser::Db)?;
            account.map(|account| account.user).ok_or(NoUser::Nobody)
        };
        match Box::pin(self.users.try_get_with_by_ref(name, look_up)).await {
            Ok(user) => Ok(Some(user)),
            Err(error) => match &*error {
                NoUser::Nobody => {
                    self.nobodies.insert(name.to_owned(), ());
                    Ok(None)
                }
                NoUser::Db(error) => Err(FindError::Mysql(crate::base::error_chain(error))),
            },
        }
    }

    /// Finds the user with this id, or `None`. A miss is not cached.
    ///
    /// # Errors
    /// [`FindError::Mysql`] if MySQL cannot be read.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, FindError> {
        let look_up = async { users::find_by_id(&self.db, id).await.map_err(NoUser::Db)?.ok_or(NoUser::Nobody) };
        match Box::pin(self.users_by_id.try_get_with(id, look_up)).await {
            Ok(user) => Ok(Some(user)),
            Err(error) => match &*error {
                NoUser::Nobody => Ok(None),
                NoUser::Db(error) => Err(FindError::Mysql(crate::base::error_chain(error))),
            },
        }
    }

    /// Forgets a cached miss of `name`, because the user has just registered.
    pub fn welcome(&self, name: &UserName) {
        self.nobodies.invalidate(name.as_str());
    }

    /// Finds the coupon at `path`, which is `saler/name`, or `None`. Misses are not cached, so strangers can cause a
    /// look-up with every request. Look-ups use the worker's connection, because they would take the whole pool.
    ///
    /// # Errors
    /// [`FindError::Redis`] if Redis cannot be read.
    pub async fn coupon(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        path: &str,
    ) -> Result<Option<CouponId>, FindError> {
        if let Some(id) = known.by_path.borrow().get(path) {
            return Ok(Some(*id));
        }
        let live = self.gate.live().map_err(|_| FindError::Redis(None))?;
        // Boxed, to keep the future of every request small.
        let found = Box::pin(self.stock.find(connection, &live, path, FIND_WAIT)).await;
        match found.map_err(|error| FindError::Redis(Some(error)))? {
            CouponLookup::Found(id) => {
                remember(&known.by_path, COUPONS_MAX, path.to_owned(), id);
                Ok(Some(id))
            }
            CouponLookup::NoSuchCoupon => Ok(None),
            CouponLookup::NotLoaded => Err(FindError::Redis(None)),
        }
    }

    /// The descriptions of existing coupons, in order. A description may be 1 s old.
    ///
    /// # Errors
    /// [`FindError::Redis`] if Redis cannot be read or lacks a coupon.
    pub async fn facts(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        coupons: &[CouponId],
    ) -> Result<Vec<Rc<Facts>>, FindError> {
        let mut facts: Vec<Option<Rc<Facts>>> = coupons.iter().map(|id| known.facts(*id)).collect();
        let missing: Vec<usize> = (0..coupons.len()).filter(|place| facts[*place].is_none()).collect();
        if !missing.is_empty() {
            let ids: Vec<CouponId> = missing.iter().map(|place| coupons[*place]).collect();
            let live = self.gate.live().map_err(|_| FindError::Redis(None))?;
            let found = self.stock.facts(connection, &live, &ids, FIND_WAIT).await;
            let found = found.map_err(|error| FindError::Redis(Some(error)))?.ok_or(FindError::Redis(None))?;
            for (place, found) in missing.into_iter().zip(found) {
                let found = Rc::new(found);
                remember(&known.facts, FACTS_MAX, coupons[place], Rc::clone(&found));
                facts[place] = Some(found);
            }
        }
        Ok(facts.into_iter().flatten().collect())
    }

    /// Whether a coupon with this id exists.
    ///
    /// # Errors
    /// [`FindError::Redis`] if Redis cannot be read.
    pub async fn has_coupon(
        &self,
        known: &KnownCoupons,
        connection: &Connection,
        id: CouponId,
    ) -> Result<bool, FindError> {
        if known.here.borrow().contains_key(&id) {
            return Ok(true);
        }
        let live = self.gate.live().map_err(|_| FindError::Redis(None))?;
        let found = Box::pin(self.stock.units(connection, &live, &[(id, ActivityId(0))], FIND_WAIT)).await;
        let found = found.map_err(|error| FindError::Redis(Some(error)))?.ok_or(FindError::Redis(None))?;
        let is_here = found.iter().any(Option::is_some);
        if is_here {
            remember(&known.here, COUPONS_MAX, id, ());
        }
        Ok(is_here)
    }
}
