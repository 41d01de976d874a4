//! The key `live`: reading it, and replacing its value.

use std::time::Duration;

use super::{Calls, Keys, KvError, Script, parse};

/// TTL of the token of a rebuild. The rebuild renews the token.
pub const TOKEN_TTL: Duration = Duration::from_secs(10);

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

/// Shortens the TTL of `token`, the token of a rebuild found in the key, to [`TOKEN_TTL`]. Redis keeps the moment of
/// expiry, so a clock that was set back would keep the token of a dead process for as long as the step.
///
/// # Errors
/// [`KvError`]. The TTL may have been shortened unless [`KvError::nothing_happened`].
pub async fn bound_token(calls: &Calls, keys: &Keys, token: &str, wait: Duration) -> Result<(), KvError> {
    let ttl_ms: i64 = parse(calls.call(redis::cmd("PTTL").arg(keys.live()), wait).await?)?;
    if u64::try_from(ttl_ms).is_ok_and(|ttl_ms| Duration::from_millis(ttl_ms) > TOKEN_TTL) {
        replace(calls, keys, token, token, Some(TOKEN_TTL), wait).await?;
    }
    Ok(())
}
