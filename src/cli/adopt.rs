//! `couponrush adopt`: gives a Redis that belongs to another installation to the installation of this database.

use std::io::{IsTerminal, stdin};

use super::owner::{OwnerError, installation};
use crate::app::{StartError, open_db, redis_config, redis_pool_of};
use crate::config::{self, AdoptArgs};
use crate::domain::ShardId;
use crate::mysql::{Db, DbError, instances, shards};
use crate::redis::live_key::{self, LiveAndOwner};
use crate::redis::{Keys, KvError, Outbox, PooledCalls, beats};

/// The reason for a failed command. Unless Redis has not answered, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("Redis has not answered; type the command again")]
    Kv(#[from] KvError),
    #[error(
        "process {process} of installation {installation} uses this Redis; stop its instances, wait 10 s, and type the command again"
    )]
    InUse { process: String, installation: String },
    #[error("not confirmed, nothing was changed; type `adopt`, or give --yes")]
    NotConfirmed,
    #[error("another installation has taken this Redis meanwhile, nothing was changed")]
    Overtaken,
}

/// Says what adopting forgets, asks, and adopts.
///
/// # Errors
/// Returns an [`AdoptError`].
pub async fn run(args: &AdoptArgs) -> Result<(), AdoptError> {
    let redis = redis_config(&args.redis)?;
    let db = open_db(&args.mysql)?;
    let installation = installation(&db).await?;
    let prefix = &args.redis.redis_prefix;
    let mut foreign = Vec::new();
    for shard in shards::all(&db).await? {
        let (pool, keys) = (redis_pool_of(&redis, shard), Keys::new(prefix, shard));
        let calls = pool.get().await.map_err(StartError::Redis)?;
        let seen = live_key::read_with_owner(&calls, &keys, config::KV_WAIT).await?;
        if seen.owner.as_ref() != Some(&installation) {
            drop(calls);
            foreign.push((shard, pool, keys, seen));
        }
    }
    if foreign.is_empty() {
        println!("the prefix {prefix} of this Redis belongs to installation {installation} already");
        return Ok(());
    }
    for (shard, pool, keys, seen) in &foreign {
        let calls = pool.get().await.map_err(StartError::Redis)?;
        check_unused(&db, &calls, *shard, keys, &installation).await?;
        describe(&calls, keys, seen, prefix, &installation).await?;
    }
    if !args.yes && !is_confirmed() {
        return Err(AdoptError::NotConfirmed);
    }
    for (shard, pool, keys, seen) in &foreign {
        let calls = pool.get().await.map_err(StartError::Redis)?;
        check_unused(&db, &calls, *shard, keys, &installation).await?;
        if !live_key::adopt(&calls, keys, seen, &installation, config::KV_WAIT).await? {
            return Err(AdoptError::Overtaken);
        }
    }
    println!("adopted; the first start of the service deletes the rest of the old data, and loads Redis from MySQL");
    Ok(())
}

/// Fails if a process of another installation or database beats.
async fn check_unused(
    db: &Db,
    calls: &PooledCalls,
    shard: ShardId,
    keys: &Keys,
    installation: &str,
) -> Result<(), AdoptError> {
    let beats = beats::all(calls, keys, config::KV_WAIT).await?;
    let numbers = instances::beat_numbers(db, shard).await?;
    for (process, beat) in beats {
        let has = numbers.get(&process).copied().unwrap_or(0);
        if beat.installation != installation || beat.number > has {
            return Err(AdoptError::InUse { process, installation: beat.installation });
        }
    }
    Ok(())
}

async fn describe(
    calls: &PooledCalls,
    keys: &Keys,
    seen: &LiveAndOwner,
    prefix: &str,
    installation: &str,
) -> Result<(), AdoptError> {
    let extent = Outbox::new(keys.clone(), String::new(), config::KV_WAIT).extent(calls).await?;
    let owner =
        seen.owner.as_deref().map_or_else(|| "no known installation".to_owned(), |id| format!("installation {id}"));
    println!("The prefix {prefix} of this Redis belongs to {owner}. This database is installation {installation}.");
    println!("Adopting forgets all data under the prefix, and loads Redis from this database.");
    println!(
        "It also forgets {} claims that wait for the MySQL of the other installation. Its customers were told of them.",
        extent.claims
    );
    Ok(())
}

/// Asks on a terminal.
fn is_confirmed() -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    println!("Type `adopt` to go on:");
    let mut line = String::new();
    stdin().read_line(&mut line).is_ok() && line.trim() == "adopt"
}
