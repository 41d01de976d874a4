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
    /// `None` if the server belongs to no cluster.
    pub cluster: Option<ClusterSettings>,
}

/// The settings of a member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    pub node_timeout_ms: u64,
    pub require_full_coverage: String,
}

/// Reads the settings. `wait` limits each call.
///
/// # Errors
/// [`KvError`]. A managed server may refuse `CONFIG`.
pub async fn read(calls: &Calls, wait: Duration) -> Result<RedisSettings, KvError> {
    let mut settings = RedisSettings::default();
    for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let value = value_of(calls, name, wait).await?;
        match name {
            "appendonly" => settings.appendonly = value,
            "appendfsync" => settings.appendfsync = value,
            _ => settings.maxmemory_policy = value,
        }
    }
    let info: String = parse(calls.call(redis::cmd("INFO").arg("replication"), wait).await?)?;
    let role = info.lines().find_map(|line| line.strip_prefix("role:"));
    settings.role = role.ok_or(KvError::Unreadable)?.trim().to_owned();
    if value_of(calls, "cluster-enabled", wait).await? == "yes" {
        let node_timeout = value_of(calls, "cluster-node-timeout", wait).await?;
        settings.cluster = Some(ClusterSettings {
            node_timeout_ms: node_timeout.parse().map_err(|_| KvError::Unreadable)?,
            require_full_coverage: value_of(calls, "cluster-require-full-coverage", wait).await?,
        });
    }
    Ok(settings)
}

async fn value_of(calls: &Calls, name: &str, wait: Duration) -> Result<String, KvError> {
    let pair: Vec<String> = parse(calls.call(redis::cmd("CONFIG").arg("GET").arg(name), wait).await?)?;
    pair.into_iter().nth(1).ok_or(KvError::Unreadable)
}
