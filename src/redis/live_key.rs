//! The keys `live` and `owner`: reading and replacing them. The hash `counters`, which belongs to the loading in `live`.

use std::collections::HashMap;
use std::time::Duration;

use super::{Calls, Keys, KvError, Live, Script, parse};
use crate::domain::{Commits, Epoch};

/// TTL of the token of a rebuild. The rebuild renews the token.
pub const TOKEN_TTL: Duration = Duration::from_secs(10);

/// The `COUNT` of a `SCAN`.
const SCANNED: usize = 1_000;

/// The field of the hash `counters` for the epoch. Processes have hexadecimal names.
const EPOCH: &str = "epoch";

/// Reads the key. Returns `None` if the key is missing.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn read(calls: &Calls, keys: &Keys, wait: Duration) -> Result<Option<String>, KvError> {
    parse(calls.call(redis::cmd("GET").arg(keys.live()), wait).await?)
}

/// The values of `live` and `owner` at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveAndOwner {
    /// Empty for a missing key.
    pub live: String,
    /// The id of the installation that the data belongs to.
    pub owner: Option<String>,
}

/// Reads `live` and `owner`.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn read_with_owner(calls: &Calls, keys: &Keys, wait: Duration) -> Result<LiveAndOwner, KvError> {
    let reply = calls.call(redis::cmd("MGET").arg(keys.live()).arg(keys.owner()), wait).await?;
    let (live, owner): (Option<String>, Option<String>) = parse(reply)?;
    Ok(LiveAndOwner { live: live.unwrap_or_default(), owner })
}

/// The token of a rebuild, and the installation that rebuilds.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    pub marker: &'a str,
    pub installation: &'a str,
}

/// Replaces the value `from` by the token of `taker`, which expires after `ttl`. An empty `from` stands for a missing key.
/// A Redis without an owner gets the installation as its owner. Returns the loading in the key before unfinished rebuilds
/// (empty for none), or `None` if the key holds another value than `from`, or if Redis belongs to another installation.
///
/// # Errors
/// [`KvError`]. The key may have been replaced unless [`KvError::nothing_happened`].
pub async fn replace(
    calls: &Calls,
    keys: &Keys,
    from: &str,
    taker: Taker<'_>,
    ttl: Duration,
    wait: Duration,
) -> Result<Option<String>, KvError> {
    let mut cmd = Script::TakeLive.call(&[keys.live(), keys.origin(), keys.counters(), keys.owner()]);
    cmd.arg(from).arg(taker.marker).arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
    cmd.arg(taker.installation);
    let reply = calls.eval(&cmd, wait).await?;
    if reply.word() == "taken" { Ok(Some(reply.text(1)?.to_owned())) } else { Ok(None) }
}

/// Ends a rebuild: replaces the token of `taker` by the loading `live`, and the counters by `commits`, the numbers of
/// MySQL. Returns `false` if the key holds another value than the token, or if Redis belongs to another installation.
///
/// # Errors
/// [`KvError`]. The key may have been replaced unless [`KvError::nothing_happened`].
pub async fn finish(
    calls: &Calls,
    keys: &Keys,
    taker: Taker<'_>,
    live: &str,
    commits: &Commits,
    wait: Duration,
) -> Result<bool, KvError> {
    let mut cmd = Script::TakeLive.call(&[keys.live(), keys.origin(), keys.counters(), keys.owner()]);
    cmd.arg(taker.marker).arg(live).arg(0).arg(taker.installation).arg(EPOCH).arg(commits.epoch.0);
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

/// Shortens the TTL of the token of a rebuild found in the key to [`TOKEN_TTL`]. Redis keeps the moment of expiry, so a
/// clock that was set back would keep the token of a dead process for as long as the step.
///
/// # Errors
/// [`KvError`]. The TTL may have been shortened unless [`KvError::nothing_happened`].
pub async fn bound_token(calls: &Calls, keys: &Keys, token: Taker<'_>, wait: Duration) -> Result<(), KvError> {
    let ttl_ms: i64 = parse(calls.call(redis::cmd("PTTL").arg(keys.live()), wait).await?)?;
    if u64::try_from(ttl_ms).is_ok_and(|ttl_ms| Duration::from_millis(ttl_ms) > TOKEN_TTL) {
        replace(calls, keys, token.marker, token, TOKEN_TTL, wait).await?;
    }
    Ok(())
}

/// Makes `installation` the owner of a Redis without an owner that holds `live`. Returns whether it is now.
///
/// # Errors
/// [`KvError`]. The owner may have been set unless [`KvError::nothing_happened`].
pub async fn take_owner(
    calls: &Calls,
    keys: &Keys,
    live: &str,
    installation: &str,
    wait: Duration,
) -> Result<bool, KvError> {
    let mut cmd = Script::TakeOwner.call(&[keys.live(), keys.owner()]);
    Ok(calls.eval(cmd.arg(live).arg(installation), wait).await?.word() == "taken")
}

/// Gives Redis to `installation`, and deletes the outbox and everything that a rebuild would trust. `seen` is the present
/// content. Returns `false` without any change if the owner has changed since.
///
/// # Errors
/// [`KvError`]. Redis may have been adopted unless [`KvError::nothing_happened`].
pub async fn adopt(
    calls: &Calls,
    keys: &Keys,
    seen: &LiveAndOwner,
    installation: &str,
    wait: Duration,
) -> Result<bool, KvError> {
    // A frozen process of the other installation must not take the next loading for its own.
    let origin: Option<String> = parse(calls.call(redis::cmd("GET").arg(keys.origin()), wait).await?)?;
    let epoch = Live::epoch_of(&seen.live).max(origin.as_deref().map_or(0, Live::epoch_of));
    let mut cmd = Script::Adopt.call(&[
        keys.live(),
        keys.owner(),
        keys.origin(),
        keys.counters(),
        keys.outbox(),
        keys.waiting(),
        keys.sweeper(),
        keys.unread(),
    ]);
    cmd.arg(seen.owner.as_deref().unwrap_or_default()).arg(installation).arg(format!("adopted:{epoch}"));
    Ok(calls.eval(&cmd, wait).await?.word() == "adopted")
}

/// What the prefix holds besides `live` and `owner`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixContent {
    /// Whether there is any key but beats.
    pub has_data: bool,
    /// The processes with a beat.
    pub beating: Vec<String>,
}

/// Searches all keys of the server for keys of the shard. Stops at the first key that is not a beat.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn prefix_content(calls: &Calls, keys: &Keys, wait: Duration) -> Result<PrefixContent, KvError> {
    let (pattern, beat, beats) = (keys.shard_pattern(), keys.beat(""), keys.beats().to_string());
    let (mut content, mut cursor) = (PrefixContent::default(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED);
        let (next, found): (u64, Vec<String>) = parse(calls.call(&scan, wait).await?)?;
        for key in found {
            match key.strip_prefix(&beat) {
                Some(process) => content.beating.push(process.to_owned()),
                None => content.has_data |= key != beats,
            }
        }
        if next == 0 || content.has_data {
            return Ok(content);
        }
        cursor = next;
    }
}
