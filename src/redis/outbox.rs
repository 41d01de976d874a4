//! The Redis stream that holds every claim until MySQL has stored it. Claims of the same call are a single entry.
//!
//! Entries are deleted by id, never by range. A range could contain claims that are not stored yet.

use std::time::Duration;

use super::{BATCH_ATTEMPTS_MAX, Calls, Keys, KvError, Script, ScriptReply, parse};
use crate::domain::{Claim, EntryId, Epoch};

/// How long a process keeps the lock of the sweeper, in ms. Meanwhile no other process sweeps.
const SWEEPER_MS: u64 = 3_000;
/// Maximum number of entries deleted or moved by a single script.
const TAKEN_AWAY_MAX: usize = 1_000;

/// An entry to delete, and the number of its claims.
pub type DoneEntry = (EntryId, usize);

#[derive(Debug, Clone)]
pub struct Outbox {
    keys: Keys,
    process: String,
    wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    pub id: EntryId,
    /// The claims of the entry, in the epoch of the read. A part that cannot be parsed is kept as text.
    pub claims: Vec<Result<Claim, String>>,
}

impl OutboxEntry {
    /// The argument for [`Outbox::delete`].
    pub fn done(&self) -> DoneEntry {
        (self.id, self.claims.len())
    }
}

/// The valid claims of entries.
pub fn claims(entries: &[OutboxEntry]) -> Vec<Claim> {
    entries.iter().flat_map(|entry| &entry.claims).filter_map(|claim| claim.as_ref().ok().copied()).collect()
}

/// The entries with a part that is not a claim, and all others.
pub fn split_unreadable(entries: &[OutboxEntry]) -> (Vec<DoneEntry>, Vec<DoneEntry>) {
    let (whole, broken): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.claims.iter().all(Result::is_ok));
    let done = |entries: Vec<&OutboxEntry>| entries.into_iter().map(OutboxEntry::done).collect();
    (done(broken), done(whole))
}

/// The parts of entries that are not claims, with the ids of the entries.
pub fn broken(entries: &[OutboxEntry]) -> impl Iterator<Item = (EntryId, &str)> {
    let parts = entries.iter().flat_map(|entry| entry.claims.iter().map(|claim| (entry.id, claim)));
    parts.filter_map(|(id, claim)| claim.as_ref().err().map(|text| (id, text.as_str())))
}

/// The size of the outbox.
#[derive(Debug, Clone)]
pub struct Extent {
    /// The value of the key `live`, empty for a missing key.
    pub live: String,
    pub claims: u64,
    /// Entries that could not be read.
    pub unread: u64,
    /// Ids of the oldest and the last entry, or `None` for an empty outbox.
    pub oldest: Option<EntryId>,
    pub last: Option<EntryId>,
}

/// Where a read at the head of the outbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadTo {
    /// At the end of the outbox.
    End,
    /// Behind this entry.
    Through(EntryId),
    /// In front of this entry.
    Before(EntryId),
}

/// The result of a read at the head of the outbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// Entries, oldest first. `more` means that further entries may follow. `last` is the last entry of the whole
    /// outbox, `None` for an empty outbox.
    Entries { entries: Vec<OutboxEntry>, more: bool, last: Option<EntryId> },
    /// Another process holds the lock of the sweeper.
    NotMine,
    /// The value of `live` differs from the expected value.
    NotLoaded,
}

impl Outbox {
    /// `process` names this process in the lock of the sweeper. `wait` is the timeout of each call.
    pub fn new(keys: Keys, process: String, wait: Duration) -> Self {
        Self { keys, process, wait }
    }

    /// Reads the head of the outbox, with up to `count` claims.
    ///
    /// # Errors
    /// [`KvError`]. A read may renew the lock of the sweeper, and changes nothing else.
    pub async fn head(
        &self,
        calls: &Calls,
        live: &str,
        epoch: Epoch,
        to: ReadTo,
        count: usize,
    ) -> Result<Head, KvError> {
        let mut cmd = Script::ReadOutbox.call(&[self.keys.live(), self.keys.outbox(), self.keys.sweeper()]);
        cmd.arg(live).arg(&self.process).arg(SWEEPER_MS);
        cmd.arg(to.to_string()).arg(count);
        let reply = calls.eval(&cmd, self.wait).await?;
        match reply.word() {
            "entries" => {
                let last = Some(reply.text(1)?).filter(|id| !id.is_empty());
                let last = last.map(|id| id.parse().map_err(|_| KvError::Unreadable)).transpose()?;
                let entries = (0..(reply.parts() - 1) / 2).map(|n| entry(&reply, 2 + n * 2, epoch));
                let entries: Vec<OutboxEntry> = entries.collect::<Result<_, _>>()?;
                let claims: usize = entries.iter().map(|entry| entry.claims.len()).sum();
                Ok(Head::Entries { entries, more: claims + BATCH_ATTEMPTS_MAX > count, last })
            }
            "not-mine" => Ok(Head::NotMine),
            "not-loaded" => Ok(Head::NotLoaded),
            _ => Err(KvError::Unreadable),
        }
    }

    /// Whether this process has the lock of the sweeper.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn is_sweeper(&self, calls: &Calls) -> Result<bool, KvError> {
        let sweeper: Option<String> = parse(calls.call(redis::cmd("GET").arg(self.keys.sweeper()), self.wait).await?)?;
        Ok(sweeper.as_ref() == Some(&self.process))
    }

    /// Deletes entries whose claims MySQL has stored. Stops and returns `false` if Redis does not hold `live`. `committed` is
    /// the number of a committed batch of this process, not older than the batch with the claims.
    ///
    /// # Errors
    /// [`KvError`]. The sweep deletes the remaining entries later.
    pub async fn delete(
        &self,
        calls: &Calls,
        live: &str,
        committed: u64,
        entries: &[DoneEntry],
    ) -> Result<bool, KvError> {
        let keys = [self.keys.live(), self.keys.outbox(), self.keys.waiting(), self.keys.counters()];
        let begin = || {
            let mut cmd = Script::DeleteEntries.call(&keys);
            cmd.arg(live).arg(&self.process).arg(committed);
            cmd
        };
        self.take_away(calls, begin, entries, "deleted").await
    }

    /// Moves entries that cannot be read to the stream `unread`. Stops and returns `false` if Redis does not hold `live`.
    ///
    /// # Errors
    /// [`KvError`]. The next sweep moves the remaining entries.
    pub async fn move_unread(
        &self,
        calls: &Calls,
        live: &str,
        epoch: Epoch,
        entries: &[DoneEntry],
    ) -> Result<bool, KvError> {
        let keys = [self.keys.live(), self.keys.outbox(), self.keys.waiting(), self.keys.unread()];
        let begin = || {
            let mut cmd = Script::MoveUnread.call(&keys);
            cmd.arg(live).arg(epoch.0);
            cmd
        };
        self.take_away(calls, begin, entries, "moved").await
    }

    /// Runs the script of `begin` on all entries, in parts. Stops and returns `false` at another reply than `done`.
    async fn take_away(
        &self,
        calls: &Calls,
        begin: impl Fn() -> redis::Cmd,
        entries: &[DoneEntry],
        done: &str,
    ) -> Result<bool, KvError> {
        for entries in entries.chunks(TAKEN_AWAY_MAX) {
            let mut cmd = begin();
            for (id, claims) in entries {
                cmd.arg(id.to_string()).arg(*claims);
            }
            if calls.eval(&cmd, self.wait).await?.word() != done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the number of waiting claims, and the oldest and the last entry.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn extent(&self, calls: &Calls) -> Result<Extent, KvError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys.live()).cmd("GET").arg(self.keys.waiting());
        pipeline.cmd("XLEN").arg(self.keys.unread());
        ends(&mut pipeline, &self.keys);
        let replies = redis::Value::Array(calls.call_all(&pipeline, self.wait).await?);
        type Replies = (Option<String>, Option<u64>, u64, EntryReply, EntryReply);
        let (live, claims, unread, oldest, last): Replies = parse(replies)?;
        let (live, claims) = (live.unwrap_or_default(), claims.unwrap_or(0));
        Ok(Extent { live, claims, unread, oldest: id_of(&oldest)?, last: id_of(&last)? })
    }
}

/// An entry, or none, in the form of `XRANGE`.
pub(super) type EntryReply = Vec<(String, redis::Value)>;

/// Adds two commands: for the oldest and for the last entry of the outbox.
pub(super) fn ends(pipeline: &mut redis::Pipeline, keys: &Keys) {
    pipeline.cmd("XRANGE").arg(keys.outbox()).arg("-").arg("+").arg("COUNT").arg(1);
    pipeline.cmd("XREVRANGE").arg(keys.outbox()).arg("+").arg("-").arg("COUNT").arg(1);
}

pub(super) fn id_of(reply: &EntryReply) -> Result<Option<EntryId>, KvError> {
    reply.first().map(|(id, _)| id.parse().map_err(|_| KvError::Unreadable)).transpose()
}

impl std::fmt::Display for ReadTo {
    /// The end of a range, as `XRANGE` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::End => f.write_str("+"),
            Self::Through(id) => write!(f, "{id}"),
            Self::Before(id) => write!(f, "({id}"),
        }
    }
}

fn entry(reply: &ScriptReply, at: usize, epoch: Epoch) -> Result<OutboxEntry, KvError> {
    let id = reply.text(at)?.parse().map_err(|_| KvError::Unreadable)?;
    let text = reply.lossy(at + 1);
    let claims = Claim::parse_entry(id, &text).into_iter();
    Ok(OutboxEntry { id, claims: claims.map(|claim| claim.map(|claim| Claim { epoch, ..claim })).collect() })
}
