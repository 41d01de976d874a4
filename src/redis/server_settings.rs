//! Settings of the Redis server that decide whether claims survive.

use std::time::Duration;

use super::{Calls, KvError, parse};

/// The values in force, as `CONFIG GET` and `INFO replication` report them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisSettings {
    pub appendonly: String,
    pub appendfsync: String,
    pub maxmemory_policy: String,
    pub role: String,
}

/// Reads the settings. `wait` limits each of the four calls.
///
/// # Errors
/// [`KvError`]. A managed server may refuse `CONFIG`.
pub async fn read(calls: &Calls, wait: Duration) -> Result<RedisSettings, KvError> {
    let mut settings = RedisSettings::default();
    for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let pair: Vec<String> = parse(calls.call(redis::cmd("CONFIG").arg("GET").arg(name), wait).await?)?;
        let value = pair.into_iter().nth(1).ok_or(KvError::Unreadable)?;
        match name {
            "appendonly" => settings.appendonly = value,
            "appendfsync" => settings.appendfsync = value,
            _ => settings.maxmemory_policy = value,
        }
    }
    let info: String = parse(calls.call(redis::cmd("INFO").arg("replication"), wait).await?)?;
    let role = info.lines().find_map(|line| line.strip_prefix("role:"));
    settings.role = role.ok_or(KvError::Unreadable)?.trim().to_owned();
    Ok(settings)
}
