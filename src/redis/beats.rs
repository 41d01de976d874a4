//! Beats of processes in Redis. A beat is a key with a TTL, named after the process.

use std::time::Duration;

use super::{Calls, Keys, KvError, parse};
use crate::domain::EntryId;

/// The facts in Redis that show whether a process may be alive or may have left claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTraces {
    /// The value of the key `live`, `None` if missing.
    pub live: Option<String>,
    pub is_beating: bool,
    /// The oldest outbox entry of the shard, from any process.
    pub oldest: Option<EntryId>,
}

/// The beat of this process. Every probe of a link writes it, so that a probe shows whether Redis takes writes.
#[derive(Debug, Clone)]
pub struct Beat {
    key: String,
    ttl_ms: u64,
}

impl Beat {
    /// A beat of `process` that expires after `ttl`.
    pub fn new(keys: &Keys, process: &str, ttl: Duration) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self { key: keys.beat(process), ttl_ms }
    }

    pub(super) fn command(&self) -> redis::Cmd {
        let mut cmd = redis::cmd("SET");
        cmd.arg(&self.key).arg(1).arg("PX").arg(self.ttl_ms);
        cmd
    }
}

/// Whether `process` has a beat that has not expired.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn is_beating(calls: &Calls, keys: &Keys, process: &str, wait: Duration) -> Result<bool, KvError> {
    parse(calls.call(redis::cmd("EXISTS").arg(keys.beat(process)), wait).await?)
}

/// Reads all traces of `process` in one pipeline.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn traces(calls: &Calls, keys: &Keys, process: &str, wait: Duration) -> Result<ProcessTraces, KvError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("GET").arg(keys.live());
    pipeline.cmd("EXISTS").arg(keys.beat(process));
    pipeline.cmd("XRANGE").arg(keys.outbox()).arg("-").arg("+").arg("COUNT").arg(1);
    let replies = redis::Value::Array(calls.call_all(&pipeline, wait).await?);
    let (live, is_beating, head): (_, _, Vec<(String, Vec<String>)>) = parse(replies)?;
    let oldest = head.first().and_then(|(id, _)| id.parse().ok());
    Ok(ProcessTraces { live, is_beating, oldest })
}
