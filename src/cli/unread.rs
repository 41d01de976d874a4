//! `couponrush unread`: shows and drops entries of the outbox that could not be read.

use std::time::Duration;

use crate::app::{StartError, redis_pool};
use crate::config::UnreadCommand;
use crate::redis::{Keys, KvError, LinkConfig, unread};

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
    let (config, keys) = (LinkConfig::new(&redis.redis_url), Keys::new(&redis.redis_prefix));
    let pool = redis_pool(&config.map_err(StartError::RedisUrl)?);
    let calls = pool.get().await.map_err(StartError::Redis)?;
    let (mut dropped, mut after) = (0, None);
    match command {
        UnreadCommand::Drop { entries, .. } if !entries.iter().any(|entry| entry == "all") => {
            if let Some(wrong) = entries.iter().find(|entry| !is_id(entry)) {
                return Err(UnreadError::Id(wrong.clone()));
            }
            dropped = unread::delete(&calls, &keys, &entries, WAIT).await?;
        }
        UnreadCommand::Drop { .. } => loop {
            let ids: Vec<String> =
                unread::page(&calls, &keys, None, PAGE, WAIT).await?.into_iter().map(|entry| entry.id).collect();
            if ids.is_empty() {
                break;
            }
            dropped += unread::delete(&calls, &keys, &ids, WAIT).await?;
        },
        UnreadCommand::List { .. } => {
            loop {
                let page = unread::page(&calls, &keys, after.as_deref(), PAGE, WAIT).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.id.clone());
                for entry in &page {
                    println!("{}: entry {} of epoch {}: {:?}", entry.id, entry.entry, entry.epoch, entry.fields);
                }
            }
            println!("{} entries could not be read", unread::count(&calls, &keys, WAIT).await?);
            return Ok(());
        }
    }
    println!("{dropped} entries dropped");
    Ok(())
}

/// Whether a text is the id of a stream entry: two numbers with a dash.
fn is_id(text: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    text.split_once('-').is_some_and(|(ms, counter)| is_number(ms) && is_number(counter))
}
