//! The owner of Redis, as commands check it.

use crate::app::{StartError, redis_pool_of};
use crate::config;
use crate::mysql::{Db, DbError, installation, shards};
use crate::redis::live_key;
use crate::redis::{Keys, KvError, LinkConfig, Ownership};

/// The reason why a command must not use Redis. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("{0}")]
    Foreign(String),
}

/// The id of the installation.
///
/// # Errors
/// Returns an [`OwnerError`], also for a database that is not migrated.
pub async fn installation(db: &Db) -> Result<String, OwnerError> {
    let id = installation::id(db).await?;
    if id.is_empty() { Err(StartError::NoInstallation.into()) } else { Ok(id) }
}

/// Fails if the prefix in Redis belongs to another installation than the database.
///
/// # Errors
/// Returns an [`OwnerError`].
pub async fn check(db: &Db, redis: &LinkConfig, prefix: &str) -> Result<(), OwnerError> {
    let ownership = Ownership::new(installation(db).await?, prefix.to_owned());
    for shard in shards::all(db).await? {
        let calls = redis_pool_of(redis, shard).get().await.map_err(StartError::Redis)?;
        let seen = live_key::read_with_owner(&calls, &Keys::new(prefix, shard), config::KV_WAIT).await?;
        if let Some(owner) = seen.owner.filter(|owner| owner != ownership.installation()) {
            return Err(OwnerError::Foreign(ownership.owned_by(&owner)));
        }
    }
    Ok(())
}
