//! The key `live`: reading it, and replacing its value.

use std::time::Duration;

use super::{Calls, Keys, KvError, Script, parse};

/// Reads the key. Returns `None` if the key is missing.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn read(calls: &Calls, keys: &Keys, wait: Duration) -> Result<Option<String>, KvError> {
    parse(calls.call(redis::cmd("GET").arg(keys.live()), wait).await?)
}

/// Replaces the value `from` by `to`. An empty `from` stands for a missing key. The new value expires after `ttl`, or
/// never with `None`, which ends a rebuild. Returns the loading in the key before unfinished rebuilds (empty for none),
/// or `None` if the key holds another value than `from`.
///
/// # Errors
/// [`KvError`]. The key may have been replaced unless [`KvError::nothing_happened`].
pub async fn replace(
    calls: &Calls,
    keys: &Keys,
    from: &str,
    to: &str,
    ttl: Option<Duration>,
    wait: Duration,
) -> Result<Option<String>, KvError> {
    let ttl_ms = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    let mut cmd = Script::TakeLive.call(&[keys.live(), keys.origin()]);
    cmd.arg(from).arg(to).arg(ttl_ms);
    let reply = calls.eval(&cmd, wait).await?;
    if reply.word() == "taken" { Ok(Some(reply.text(1)?.to_owned())) } else { Ok(None) }
}
