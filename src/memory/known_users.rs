//! Users by name or id, in bounded caches in front of MySQL.
//!
//! Users are never renamed and never deleted, but they may be erased. A freed name is never given out again, so a cached name
//! leads to nobody else. A user is cached by id for a minute, and by then an erased one is unknown. An unknown name may be
//! registered on another instance at any moment, so a miss is cached for 1 s only.

use std::sync::Arc;
use std::time::Duration;

use moka::{future, sync};

use crate::base::error_chain;
use crate::domain::{User, UserId, UserName};
use crate::mysql::{Db, DbError, users};

/// How long a missing user is cached.
const MISS_AGE: Duration = Duration::from_secs(1);
/// How long a user is cached by id. A signed form of an erased user counts for as long.
const USER_AGE: Duration = Duration::from_secs(60);

pub struct KnownUsers {
    db: Db,
    by_name: future::Cache<String, User>,
    /// Names without a user.
    nobodies: sync::Cache<String, ()>,
    by_id: future::Cache<UserId, User>,
}

/// MySQL could not be read. The text is the error of a query that many look-ups may share.
#[derive(Debug, thiserror::Error)]
#[error("looking up a user in MySQL failed: {0}")]
pub struct UserUnknown(String);

/// The reason for a missing user. Shared by all callers of the same look-up.
enum NoUser {
    Nobody,
    Db(DbError),
}

impl KnownUsers {
    /// `users_max` bounds each of the three caches.
    pub fn new(db: Db, users_max: u64) -> Self {
        Self {
            db,
            by_name: future::Cache::new(users_max),
            nobodies: sync::Cache::builder().max_capacity(users_max).time_to_live(MISS_AGE).build(),
            by_id: future::Cache::builder().max_capacity(users_max).time_to_live(USER_AGE).build(),
        }
    }

    /// Finds the user called `name`, or `None`. Simultaneous look-ups of a name share a query.
    ///
    /// # Errors
    /// [`UserUnknown`] if MySQL cannot be read.
    pub async fn find(&self, name: &UserName) -> Result<Option<User>, UserUnknown> {
        if self.nobodies.contains_key(name.as_str()) {
            return Ok(None);
        }
        let look_up = async {
            let account = users::find_by_name(&self.db, name).await.map_err(NoUser::Db)?;
            account.map(|account| account.user).ok_or(NoUser::Nobody)
        };
        let found = found(Box::pin(self.by_name.try_get_with_by_ref(name.as_str(), look_up)).await)?;
        if found.is_none() {
            self.nobodies.insert(name.as_str().to_owned(), ());
        }
        Ok(found)
    }

    /// Finds the user with this id, or `None`. A miss is not cached.
    ///
    /// # Errors
    /// [`UserUnknown`] if MySQL cannot be read.
    pub async fn find_by_id(&self, id: UserId) -> Result<Option<User>, UserUnknown> {
        let look_up = async {
            let account = users::find_by_id(&self.db, id).await.map_err(NoUser::Db)?;
            account.map(|account| account.user).ok_or(NoUser::Nobody)
        };
        found(Box::pin(self.by_id.try_get_with(id, look_up)).await)
    }

    /// Forgets a cached miss of `name`, because the user has just registered.
    pub fn welcome(&self, name: &UserName) {
        self.nobodies.invalidate(name.as_str());
    }
}

fn found(user: Result<User, Arc<NoUser>>) -> Result<Option<User>, UserUnknown> {
    match user {
        Ok(user) => Ok(Some(user)),
        Err(error) => match &*error {
            NoUser::Nobody => Ok(None),
            NoUser::Db(error) => Err(UserUnknown(error_chain(error))),
        },
    }
}
