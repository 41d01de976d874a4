//! The key `live`: reading it, and replacing its value. The hash `counters`, which belongs to the loading in `live`.

use std::collections::HashMap;
use std::time::Duration;

use super::{Calls, Keys, KvError, Script, parse};
use crate::domain::{Commits, Epoch};

/// TTL of the token of a rebuild. The rebuild renews the token.
pub const TOKEN_TTL: Duration = Duration::from_secs(10);

/// The field of the hash `counters` for the epoch. Processes have hexadecimal names.
const EPOCH: &str = "epoch";

/// Reads the key. Returns `None` if the key is missing.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn read(calls: &Calls, keys: &Keys, wait: Duration) -> Result<Option<String>, KvError> {
    parse(calls.call(redis::cmd("GET").arg(keys.live()), wait).await?)
}

/// Replaces the value `from` by the token `to`, which expires after `ttl`. An empty `from` stands for a missing key. Returns
/// the loading in the key before unfinished rebuilds (empty for none), or `None` if the key holds another value than
/// `from`.
///
/// # Errors
/// [`KvError`]. The key may have been replaced unless [`KvError::nothing_happened`].
pub async fn replace(
    calls: &Calls,
    keys: &Keys,
    from: &str,
    to: &str,
    ttl: Duration,
    wait: Duration,
) -> Result<Option<String>, KvError> {
    let mut cmd = Script::TakeLive.call(&[keys.live(), keys.origin(), keys.counters()]);
    cmd.arg(from).arg(to).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
    let reply = calls.eval(&cmd, wait).await?;
    if reply.word() == "taken" { Ok(Some(reply.text(1)?.to_owned())) } else { Ok(None) }
}

/// Ends a rebuild: replaces its token `from` by the loading `live`, and the counters by `commits`, the numbers of MySQL.
/// Returns `false` if the key holds another value than `from`.
///
/// # Errors
/// [`KvError`]. The key may have been replaced unless [`KvError::nothing_happened`].
pub async fn finish(
    calls: &Calls,
    keys: &Keys,
    from: &str,
    live: &str,
    commits: &Commits,
    wait: Duration,
) -> Result<bool, KvError> {
    let mut cmd = Script::TakeLive.call(&[keys.live(), keys.origin(), keys.counters()]);
    cmd.arg(from).arg(live).arg(0).arg(EPOCH).arg(commits.epoch.0);
    for (process, counter) in &commits.counters {
        cmd.arg(process).arg(*counter);
    }
    Ok(calls.eval(&cmd, wait).await?.word() == "taken")
}

/// Reads the numbers of committed batches that Redis knows.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn commits(calls: &Calls, keys: &Keys, wait: Duration) -> Result<Commits, KvError> {
    let fields = calls.call(redis::cmd("HGETALL").arg(keys.counters()), wait).await?;
    let mut counters: HashMap<String, u64> = parse(fields)?;
    let epoch = counters.remove(EPOCH).map_or(Ok(0), u32::try_from).map_err(|_| KvError::Unreadable)?;
    Ok(Commits { epoch: Epoch(epoch), counters })
}

/// Raises the number of `process` to that of its last committed batch.
///
/// # Errors
/// [`KvError`]. The number may have been raised unless [`KvError::nothing_happened`].
pub async fn raise_counter(
    calls: &Calls,
    keys: &Keys,
    process: &str,
    committed: u64,
    wait: Duration,
) -> Result<(), KvError> {
    let mut cmd = Script::RaiseCounter.call(&[keys.counters()]);
    calls.eval(cmd.arg(process).arg(committed), wait).await?;
    Ok(())
}

/// Shortens the TTL of `token`, the token of a rebuild found in the key, to [`TOKEN_TTL`]. Redis keeps the moment of
/// expiry, so a clock that was set back would keep the token of a dead process for as long as the step.
///
/// # Errors
/// [`KvError`]. The TTL may have been shortened unless [`KvError::nothing_happened`].
pub async fn bound_token(calls: &Calls, keys: &Keys, token: &str, wait: Duration) -> Result<(), KvError> {
    let ttl_ms: i64 = parse(calls.call(redis::cmd("PTTL").arg(keys.live()), wait).await?)?;
    if u64::try_from(ttl_ms).is_ok_and(|ttl_ms| Duration::from_millis(ttl_ms) > TOKEN_TTL) {
        replace(calls, keys, token, token, TOKEN_TTL, wait).await?;
    }
    Ok(())
}
