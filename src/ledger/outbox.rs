//! The Redis stream that holds each claim until MySQL has it.
//!
//! It is emptied by id and never by range: a range would take along what nobody has stored yet.

use std::time::Duration;

use crate::domain::{Claim, EntryId, Epoch};
use crate::kv::{Connection, Keys, KvError, Reply, Script};

/// For how long the process that swept last is the only one that sweeps.
const SWEEPER_MS: u64 = 3_000;
/// Entries deleted by one script.
const DELETED_MAX: usize = 1_000;

/// The outbox of one shard.
#[derive(Debug, Clone)]
pub struct Outbox {
    keys: Keys,
    process: String,
    wait: Duration,
}

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    /// The claim, of the epoch it was read in; the text where it is none.
    pub claim: Result<Claim, String>,
}

/// What a look at the head of the outbox found.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    Entries(Vec<Entry>),
    /// Another process sweeps.
    NotMine,
    /// The shard is not the loading that was expected.
    NotLoaded,
}

impl Outbox {
    /// `process` names this process among all that sweep; `wait` bounds each call.
    pub fn new(keys: Keys, process: String, wait: Duration) -> Self {
        Self { keys, process, wait }
    }

    /// The head of the outbox: up to `count` entries that are at least `age` old and below `below`.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing but who sweeps.
    pub async fn head(
        &self,
        connection: &Connection,
        (live, epoch): (&str, Epoch),
        age: Duration,
        below: Option<EntryId>,
        count: usize,
    ) -> Result<Head, KvError> {
        let mut cmd = Script::ReadOutbox.call(&[self.keys.live(), self.keys.outbox(), self.keys.sweeper()]);
        cmd.arg(live).arg(&self.process).arg(SWEEPER_MS);
        cmd.arg(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        cmd.arg(below.map_or("+".to_owned(), |id| id.to_string())).arg(count);
        let reply = connection.eval(&cmd, self.wait).await?;
        match reply.word() {
            "entries" => (0..reply.parts() / 2)
                .map(|n| entry(&reply, 1 + n * 2, epoch))
                .collect::<Result<_, _>>()
                .map(Head::Entries),
            "not-mine" => Ok(Head::NotMine),
            "not-loaded" => Ok(Head::NotLoaded),
            _ => Err(KvError::Unreadable),
        }
    }

    /// Deletes entries whose claims MySQL has. `false`: the shard is not the loading `live`, and nothing was deleted.
    ///
    /// # Errors
    /// [`KvError`]; the sweep finds what was left.
    pub async fn delete(&self, connection: &Connection, live: &str, ids: &[EntryId]) -> Result<bool, KvError> {
        for ids in ids.chunks(DELETED_MAX) {
            let mut cmd = Script::DeleteEntries.call(&[self.keys.live(), self.keys.outbox()]);
            cmd.arg(live);
            for id in ids {
                cmd.arg(id.to_string());
            }
            if connection.eval(&cmd, self.wait).await?.word() != "deleted" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many entries there are, and the oldest of them.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn extent(&self, connection: &Connection) -> Result<(u64, Option<EntryId>), KvError> {
        let mut pipeline = redis::pipe();
        let key = self.keys.outbox().to_string();
        pipeline.cmd("XLEN").arg(&key).cmd("XRANGE").arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        let unreadable = |_| KvError::Unreadable;
        let mut replies = connection.call_all(&pipeline, self.wait).await?.into_iter();
        let mut next = || replies.next().ok_or(KvError::Unreadable);
        let length = redis::from_redis_value(next()?).map_err(unreadable)?;
        let head: Vec<(String, redis::Value)> = redis::from_redis_value(next()?).map_err(unreadable)?;
        let oldest = head.first().map(|(id, _)| id.parse().map_err(|_| KvError::Unreadable)).transpose()?;
        Ok((length, oldest))
    }

    /// Whether the shard is still the loading `live`.
    ///
    /// # Errors
    /// [`KvError`].
    pub async fn is_live(&self, connection: &Connection, live: &str) -> Result<bool, KvError> {
        let value = connection.call(redis::cmd("GET").arg(self.keys.live()), self.wait).await?;
        Ok(redis::from_redis_value::<Option<String>>(value).is_ok_and(|value| value.as_deref() == Some(live)))
    }
}

fn entry(reply: &Reply, at: usize, epoch: Epoch) -> Result<Entry, KvError> {
    let id = reply.text(at)?.parse().map_err(|_| KvError::Unreadable)?;
    let text = reply.lossy(at + 1);
    let claim = Claim::parse(id, &text).map(|claim| Claim { epoch, ..claim }).map_err(|_| text);
    Ok(Entry { id, claim })
}
