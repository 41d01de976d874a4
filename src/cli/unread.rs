//! `couponrush unread`: shows and drops entries of the outbox that could not be read.

use std::time::Duration;

use crate::app::{StartError, redis_config, redis_pool_of};
use crate::config::UnreadCommand;
use crate::domain::ShardId;
use crate::redis::{Calls, Keys, KvError, unread};

/// Entries per call.
const PAGE: usize = 500;
/// Timeout of a call.
const WAIT: Duration = Duration::from_secs(10);

/// The reason for a failed command.
#[derive(Debug, thiserror::Error)]
pub enum UnreadError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0:?} is neither the id of an unread entry nor `all`")]
    Id(String),
    #[error("Redis did not take the command")]
    Kv(#[from] KvError),
}

/// Prints the entries, or drops some.
///
/// # Errors
/// Returns an [`UnreadError`]. Repeating the command is safe.
pub async fn run(command: UnreadCommand) -> Result<(), UnreadError> {
    let (UnreadCommand::List { redis } | UnreadCommand::Drop { redis, .. }) = &command;
    let config = redis_config(redis)?;
    // The command needs no MySQL, so it looks for all shards that may exist.
    let shards = (0..ShardId::MAX).filter_map(ShardId::new);
    let mut count = 0;
    match &command {
        UnreadCommand::List { .. } => {
            for shard in shards {
                let (pool, keys) = (redis_pool_of(&config, shard), Keys::new(&redis.redis_prefix, shard));
                let calls = pool.get().await.map_err(StartError::Redis)?;
                list(&calls, &keys).await?;
                count += unread::count(&calls, &keys, WAIT).await?;
            }
            println!("{count} entries could not be read");
        }
        UnreadCommand::Drop { entries, .. } => {
            let is_all = entries.iter().any(|entry| entry == "all");
            if let Some(wrong) = entries.iter().find(|entry| !is_all && !is_id(entry)) {
                return Err(UnreadError::Id(wrong.clone()));
            }
            for shard in shards {
                let (pool, keys) = (redis_pool_of(&config, shard), Keys::new(&redis.redis_prefix, shard));
                let calls = pool.get().await.map_err(StartError::Redis)?;
                count += match is_all {
                    true => drop_all(&calls, &keys).await?,
                    false => unread::delete(&calls, &keys, entries, WAIT).await?,
                };
            }
            println!("{count} entries dropped");
        }
    }
    Ok(())
}

async fn list(calls: &Calls, keys: &Keys) -> Result<(), KvError> {
    let mut after: Option<String> = None;
    loop {
        let page = unread::page(calls, keys, after.as_deref(), PAGE, WAIT).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for entry in &page {
            println!("{}: entry {} of epoch {}: {:?}", entry.id, entry.entry, entry.epoch, entry.fields);
        }
    }
}

async fn drop_all(calls: &Calls, keys: &Keys) -> Result<u64, KvError> {
    let mut dropped = 0;
    loop {
        let page = unread::page(calls, keys, None, PAGE, WAIT).await?;
        let ids: Vec<String> = page.into_iter().map(|entry| entry.id).collect();
        if ids.is_empty() {
            return Ok(dropped);
        }
        dropped += unread::delete(calls, keys, &ids, WAIT).await?;
    }
}

/// Whether a text is the id of a stream entry: two numbers with a dash.
fn is_id(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    text.split_once('-').is_some_and(|(ms, counter)| is_number(ms) && is_number(counter))
}
