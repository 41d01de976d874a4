//! Checks at the start whether the settings of Redis and MySQL keep claims safe.
//!
//! An unsafe setting never prevents a start. An operator may have reasons, and a managed server may hide settings.
//! Warnings go to the log and stay visible in `/readyz`.

use std::time::Duration;

use futures_util::future::join_all;

use crate::mysql::Db;
use crate::mysql::server_settings::{self as mysql_settings, MysqlSettings};
use crate::redis::Pool;
use crate::redis::server_settings::{self as redis_settings, ClusterSettings, RedisSettings};

/// The longest `cluster-node-timeout`. A primary that was cut off takes writes for as long.
const NODE_TIMEOUT_MS_MAX: u64 = 5_000;
/// Timeout of each call to Redis.
const WAIT: Duration = Duration::from_secs(2);

/// Reads the settings of the Redis server of each pool and of MySQL. Returns a sentence for every unsafe or unreadable
/// setting. Servers with the same fault share a sentence.
pub async fn check(pools: &[Pool], db: &Db) -> Vec<String> {
    let mut warnings: Vec<String> = join_all(pools.iter().map(of_redis)).await.into_iter().flatten().collect();
    warnings.sort();
    warnings.dedup();
    match mysql_settings::read(db).await {
        Ok(settings) => warnings.extend(mysql_warnings(&settings)),
        Err(error) => warnings.push(format!("Settings of MySQL cannot be read: {}", crate::base::error_chain(&error))),
    }
    warnings
}

async fn of_redis(pool: &Pool) -> Vec<String> {
    let read = async { redis_settings::read(&*pool.get().await?, WAIT).await };
    match read.await {
        Ok(settings) => redis_warnings(&settings),
        Err(error) => {
            vec![format!("Settings of Redis cannot be read ({error}); docs/OPERATIONS.md lists the safe values")]
        }
    }
}

/// A sentence for every setting with a risk of losing claims.
fn redis_warnings(settings: &RedisSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.appendonly != "yes" {
        warnings.push(
            "Redis keeps data in memory only (appendonly no). If Redis and this program die together, \
             answered claims are lost"
                .to_owned(),
        );
    } else if settings.appendfsync == "no" {
        warnings.push(
            "Redis leaves file writes to the kernel (appendfsync no). A power loss can cost up to 30 s of claims \
             not stored in MySQL yet"
                .to_owned(),
        );
    }
    if settings.maxmemory_policy != "noeviction" {
        warnings.push(format!(
            "Redis evicts keys when its memory is full (maxmemory-policy {}). Set noeviction, or sold units are \
             forgotten",
            settings.maxmemory_policy
        ));
    }
    if settings.role != "master" {
        warnings.push(format!("Redis is a {} and takes no claims", settings.role));
    }
    warnings.extend(settings.cluster.iter().flat_map(cluster_warnings));
    warnings
}

/// A sentence for every setting of a cluster with a risk of losing claims or sales.
fn cluster_warnings(settings: &ClusterSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.node_timeout_ms > NODE_TIMEOUT_MS_MAX {
        warnings.push(format!(
            "A primary of the Redis Cluster that was cut off takes claims for too long (cluster-node-timeout {}). Set \
             {NODE_TIMEOUT_MS_MAX} or less",
            settings.node_timeout_ms
        ));
    }
    if settings.require_full_coverage != "no" {
        warnings.push(format!(
            "The whole Redis Cluster stops when one primary is lost (cluster-require-full-coverage {}). Set no",
            settings.require_full_coverage
        ));
    }
    warnings
}

/// A sentence for every setting with a risk of losing rows.
fn mysql_warnings(settings: &MysqlSettings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.flush_at_commit != 1 {
        warnings.push(format!(
            "MySQL does not flush at every commit (innodb_flush_log_at_trx_commit {}). A crash can lose rows \
             whose outbox entries are deleted already",
            settings.flush_at_commit
        ));
    }
    if settings.log_bin != 0 && settings.sync_binlog != 1 {
        warnings.push(format!(
            "MySQL does not flush its binary log at every commit (sync_binlog {}). A replica may lack rows after a \
             crash",
            settings.sync_binlog
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(appendonly: &str, appendfsync: &str, policy: &str, role: &str) -> Vec<String> {
        let [appendonly, appendfsync, maxmemory_policy, role] =
            [appendonly, appendfsync, policy, role].map(str::to_owned);
        redis_warnings(&RedisSettings { appendonly, appendfsync, maxmemory_policy, role, cluster: None })
    }

    #[test]
    fn safe_settings_are_not_spoken_of() {
        for appendfsync in ["everysec", "always"] {
            assert_eq!(redis("yes", appendfsync, "noeviction", "master"), [] as [String; 0]);
        }
        let mut settings = MysqlSettings { flush_at_commit: 1, log_bin: 0, sync_binlog: 0 };
        assert_eq!(mysql_warnings(&settings), [] as [String; 0]);
        (settings.log_bin, settings.sync_binlog) = (1, 1);
        assert_eq!(mysql_warnings(&settings), [] as [String; 0]);
    }

    #[test]
    fn each_unsafe_setting_is_named() {
        for (warnings, named) in [
            (redis("no", "everysec", "noeviction", "master"), "appendonly no"),
            (redis("yes", "no", "noeviction", "master"), "appendfsync no"),
            (redis("yes", "always", "allkeys-lru", "master"), "maxmemory-policy allkeys-lru"),
            (redis("yes", "always", "noeviction", "slave"), "is a slave"),
        ] {
            assert!(warnings.len() == 1 && warnings[0].contains(named), "{named}: {warnings:?}");
        }
        let cluster = |node_timeout_ms, full: &str| {
            cluster_warnings(&ClusterSettings { node_timeout_ms, require_full_coverage: full.to_owned() })
        };
        assert_eq!(cluster(5_000, "no"), [] as [String; 0]);
        for (warnings, named) in [
            (cluster(5_001, "no"), "cluster-node-timeout 5001"),
            (cluster(2_000, "yes"), "cluster-require-full-coverage yes"),
        ] {
            assert!(warnings.len() == 1 && warnings[0].contains(named), "{named}: {warnings:?}");
        }
        let unsafe_settings = MysqlSettings { flush_at_commit: 2, log_bin: 1, sync_binlog: 0 };
        let warnings = mysql_warnings(&unsafe_settings).join("\n");
        for named in ["innodb_flush_log_at_trx_commit 2", "sync_binlog 0"] {
            assert!(warnings.contains(named), "{named}: {warnings}");
        }
    }
}
