//! Beats of processes in Redis. A beat is a key with a TTL, named after the process, and a field of the hash `beats`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Cmd;

use super::outbox::{EntryReply, ends, id_of};
use super::{Calls, Keys, KvError, parse};
use crate::domain::EntryId;

/// The facts in Redis that show whether a process may be alive or may have left claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTraces {
    /// The value of the key `live`, `None` if missing.
    pub live: Option<String>,
    pub is_beating: bool,
    /// The oldest and the last outbox entry of the shard, from any process.
    pub oldest: Option<EntryId>,
    pub last: Option<EntryId>,
}

/// TTL of a beat, in ms.
const BEAT_MS: i64 = 10_000;

/// Writes the beats of a process. Every probe of a link writes them, so that a probe shows whether Redis takes writes.
#[derive(Clone)]
pub struct BeatWriter {
    key: String,
    beats: String,
    process: String,
    installation: String,
    number: Arc<AtomicU64>,
}

impl BeatWriter {
    pub fn new(keys: &Keys, process: &str, installation: &str) -> Self {
        Self {
            key: keys.beat(process),
            beats: keys.beats().to_string(),
            process: process.to_owned(),
            installation: installation.to_owned(),
            number: Arc::default(),
        }
    }

    /// Notes that MySQL has taken the beat `number`. Later beats in Redis have this number. A beat that MySQL may not have
    /// taken must not count, because a process without MySQL would look like a process with another database.
    pub fn note_taken(&self, number: u64) {
        self.number.store(number, Ordering::SeqCst);
    }

    /// The commands of a beat: a key that expires after 10 s, and a field that stays.
    pub(super) fn commands(&self) -> Vec<Cmd> {
        let mut beat = redis::cmd("SET");
        beat.arg(&self.key).arg(1).arg("PX").arg(BEAT_MS);
        let mut number = redis::cmd("HSET");
        let text = format!("{} {}", self.installation, self.number.load(Ordering::SeqCst));
        number.arg(&self.beats).arg(&self.process).arg(text);
        vec![beat, number]
    }
}

/// A beat that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The id of the installation.
    pub installation: String,
    /// The number of the last beat that MySQL took, 0 for none.
    pub number: u64,
    /// Time since the last write of the beat.
    pub age: Duration,
}

/// The beats of all processes that number their beats.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn all(calls: &Calls, keys: &Keys, wait: Duration) -> Result<HashMap<String, Beat>, KvError> {
    let fields: HashMap<String, String> = parse(calls.call(redis::cmd("HGETALL").arg(keys.beats()), wait).await?)?;
    let mut pipeline = redis::pipe();
    for process in fields.keys() {
        pipeline.cmd("PTTL").arg(keys.beat(process));
    }
    let ttls = calls.call_all(&pipeline, wait).await?;
    let mut beats = HashMap::new();
    for ((process, text), ttl_ms) in fields.into_iter().zip(ttls) {
        let ttl_ms: i64 = parse(ttl_ms)?;
        let Some((installation, number)) = text.split_once(' ').filter(|_| is_beat(ttl_ms)) else { continue };
        let number = number.parse().map_err(|_| KvError::Unreadable)?;
        let age = Duration::from_millis(u64::try_from(BEAT_MS - ttl_ms).unwrap_or(0));
        beats.insert(process, Beat { installation: installation.to_owned(), number, age });
    }
    Ok(beats)
}

/// Deletes the beat of a process that has left or is dead.
///
/// # Errors
/// [`KvError`]. The beat may have been deleted unless [`KvError::nothing_happened`].
pub async fn forget(calls: &Calls, keys: &Keys, process: &str, wait: Duration) -> Result<(), KvError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("DEL").arg(keys.beat(process));
    pipeline.cmd("HDEL").arg(keys.beats()).arg(process);
    calls.call_all(&pipeline, wait).await?;
    Ok(())
}

/// Whether the reply of `PTTL` is of a beat that counts. Redis keeps the moment of expiry. If the clock was set back,
/// a longer TTL than that of any beat is left, and the process must beat again to count as alive.
fn is_beat(ttl_ms: i64) -> bool {
    const MISSING: i64 = -2;
    ttl_ms != MISSING && ttl_ms <= BEAT_MS
}

/// Whether `process` has a beat that has not expired.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn is_beating(calls: &Calls, keys: &Keys, process: &str, wait: Duration) -> Result<bool, KvError> {
    Ok(is_beat(parse(calls.call(redis::cmd("PTTL").arg(keys.beat(process)), wait).await?)?))
}

/// Reads all traces of `process` in one pipeline.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn traces(calls: &Calls, keys: &Keys, process: &str, wait: Duration) -> Result<ProcessTraces, KvError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("GET").arg(keys.live());
    pipeline.cmd("PTTL").arg(keys.beat(process));
    ends(&mut pipeline, keys);
    let replies = redis::Value::Array(calls.call_all(&pipeline, wait).await?);
    let (live, ttl_ms, oldest, last): (_, _, EntryReply, EntryReply) = parse(replies)?;
    Ok(ProcessTraces { live, is_beating: is_beat(ttl_ms), oldest: id_of(&oldest)?, last: id_of(&last)? })
}
