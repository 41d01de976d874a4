//! Who a name or an id is, and which coupon a path or an id names: bounded memories in front of MySQL and Redis.
//!
//! Users are never renamed and never deleted, and neither are coupons, so what is known stays true. Who is unknown may
//! register on another instance at any moment, so a miss is remembered for a second only.

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
use crate::redis::{Connection, Facts, KvError, Stock};

const MISS_AGE: Duration = Duration::from_secs(1);
const FIND_WAIT: Duration = Duration::from_millis(500);
/// How long what is said of a coupon is taken for what it says: its description may be changed.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// Coupons of which it is remembered, on each worker: a megabyte or two.
const FACTS_MAX: usize = 10_000;
/// Coupons that each worker knows by their paths, and by their ids: ten megabytes or twenty.
const COUPONS_MAX: usize = 100_000;

/// Names that were looked up.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    stock: Stock,
    gate: Arc<Gate>,
    /// Many who look one name up at once share one query.
    users: future::Cache<String, User>,
    nobodies: sync::Cache<String, ()>,
    users_by_id: future::Cache<UserId, User>,
}

/// Coupons as one worker knows them: a look-up in a cache that threads share costs a hundredth of a refusal, and twenty of them
/// a tenth of a list. Where there are too many of a kind, all of it is forgotten.
pub struct KnownCoupons {
    /// Names are chosen by strangers, so that they are hashed with a key that nobody can guess.
    by_path: RefCell<HashMap<String, CouponId, RandomState>>,
    here: RefCell<HashMap<CouponId, ()>>,
    /// Forgotten each second.
    facts: RefCell<HashMap<CouponId, Rc<Facts>>>,
    facts_since: Cell<Instant>,
}

/// Why a name could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Redis is away, or not loaded.
    #[error("Redis cannot be asked now")]
    Redis(#[source] Option<KvError>),
    /// As one query told all who waited for it.
    #[error("MySQL cannot be asked now: {0}")]
    Mysql(String),
}

/// Why a user was not found; shared by all who waited for the same look-up.
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

/// Remembers one more; of `max` all are forgotten before.
fn remember<K: Eq + Hash, V, S: BuildHasher>(map: &RefCell<HashMap<K, V, S>>, max: usize, key: K, value: V) {
    let mut map = map.borrow_mut();
    if map.len() >= max {
        map.clear();
    }
    map.insert(key, value);
}

impl Directory {
    /// Remembers up to `users_max` users.
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

    /// The user called `name`; `None` where nobody is. Many who ask at once share one query.
    ///
    /// # Errors
    /// [`FindError::Mysql`].
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

    /// The user with this id; `None` where there is none, which is not remembered.
    ///
    /// # Errors
    /// [`FindError::Mysql`].
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, FindError> {
        let look_up = async {
            let user = users::find_by_id(&self.db, id).await.map_err(NoUser::Db)?;
            user.ok_or(NoUser::Nobody)
        };
        match Box::pin(self.users_by_id.try_get_with(id, look_up)).await {
            Ok(user) => Ok(Some(user)),
            Err(error) => match &*error {
                NoUser::Nobody => Ok(None),
                NoUser::Db(error) => Err(FindError::Mysql(crate::base::error_chain(error))),
            },
        }
    }

    /// Forgets that nobody is called `name`: somebody has just registered.
    pub fn welcome(&self, name: &UserName) {
        self.nobodies.invalidate(name.as_str());
    }

    /// The coupon at `path`, `saler/name`; `None` if no such coupon exists.
    ///
    /// Asks Redis over the worker's connection instead of the pool. Unknown names are not cached, so strangers can cause a look-up
    /// with every request. These would take all pooled connections.
    ///
    /// # Errors
    /// [`FindError::Redis`].
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
        // Boxed, so that not every request has room for it.
        let found = Box::pin(self.stock.find(connection, &live, path, FIND_WAIT)).await;
        let found = found.map_err(|error| FindError::Redis(Some(error)))?.ok_or(FindError::Redis(None))?;
        if let Some(id) = found {
            remember(&known.by_path, COUPONS_MAX, path.to_owned(), id);
        }
        Ok(found)
    }

    /// What is said of each coupon, in order, as it was up to a second ago. All of them are there, as far as the caller knows.
    ///
    /// # Errors
    /// [`FindError::Redis`].
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

    /// Whether there is a coupon with this id.
    ///
    /// # Errors
    /// [`FindError::Redis`].
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
