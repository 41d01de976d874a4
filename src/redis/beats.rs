//! Beats of processes in Redis. A beat is a key with a TTL, named after the process.

use std::time::Duration;

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

/// A beat of `process`, which expires after 10 s. Every probe of a link writes the beat of its process, so that a probe
/// shows whether Redis takes writes.
pub fn beat(keys: &Keys, process: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys.beat(process)).arg(1).arg("PX").arg(BEAT_MS);
    cmd
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
