//! Checks at the start whether the settings of Redis and MySQL keep claims safe.
//!
//! An unsafe setting never prevents a start. An operator may have reasons, and a managed server may hide settings.
//! Warnings go to the log and stay visible in `/readyz`.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Bigint, Text};
use diesel_async::RunQueryDsl;

use crate::mysql::{Db, DbError};
use crate::redis::{Calls, KvError, Pool};

const WAIT: Duration = Duration::from_secs(2);

/// Settings of Redis that decide whether claims survive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisSettings {
    appendonly: String,
    appendfsync: String,
    maxmemory_policy: String,
    role: String,
}

/// Settings of MySQL that decide whether commits survive.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct MysqlSettings {
    #[diesel(sql_type = Bigint)]
    flush_at_commit: i64,
    #[diesel(sql_type = Bigint)]
    log_bin: i64,
    #[diesel(sql_type = Bigint)]
    sync_binlog: i64,
    #[diesel(sql_type = Bigint)]
    read_only: i64,
    #[diesel(sql_type = Text)]
    version: String,
}

const MYSQL: &str = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED) AS flush_at_commit, \
    CAST(@@log_bin AS SIGNED) AS log_bin, CAST(@@sync_binlog AS SIGNED) AS sync_binlog, \
    CAST(@@read_only AS SIGNED) AS read_only, @@version AS version";

/// Reads the settings of both servers. Returns a sentence for every unsafe or unreadable setting.
pub async fn check(pool: &Pool, db: &Db) -> Vec<String> {
    let redis = async { read_redis(&*pool.get().await?).await };
    let mut warnings = match redis.await {
        Ok(settings) => settings.warnings(),
        Err(error) => {
            vec![format!("Settings of Redis cannot be read ({error}); docs/OPERATIONS.md lists the safe values")]
        }
    };
    match read_mysql(db).await {
        Ok(settings) => warnings.extend(settings.warnings()),
        Err(error) => warnings.push(format!("Settings of MySQL cannot be read: {}", crate::base::error_chain(&error))),
    }
    warnings
}

async fn read_redis(calls: &Calls) -> Result<RedisSettings, KvError> {
    let mut settings = RedisSettings::default();
    for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let reply = calls.call(redis::cmd("CONFIG").arg("GET").arg(name), WAIT).await?;
        let pair: Vec<String> = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
        let value = pair.into_iter().nth(1).ok_or(KvError::Unreadable)?;
        match name {
            "appendonly" => settings.appendonly = value,
            "appendfsync" => settings.appendfsync = value,
            _ => settings.maxmemory_policy = value,
        }
    }
    let info = calls.call(redis::cmd("INFO").arg("replication"), WAIT).await?;
    let info: String = redis::from_redis_value(info).map_err(|_| KvError::Unreadable)?;
    let role = info.lines().find_map(|line| line.strip_prefix("role:"));
    settings.role = role.ok_or(KvError::Unreadable)?.trim().to_owned();
    Ok(settings)
}

async fn read_mysql(db: &Db) -> Result<MysqlSettings, DbError> {
    let mut connection = db.connect().await?;
    db.within("read settings", diesel::sql_query(MYSQL).get_result(&mut connection)).await
}

impl RedisSettings {
    /// A sentence for every setting with a risk of losing claims.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.appendonly != "yes" {
            warnings.push(
                "Redis keeps data in memory only (appendonly no). If Redis and this program die together, \
                 answered claims are lost"
                    .to_owned(),
            );
        } else if self.appendfsync == "no" {
            warnings.push(
                "Redis leaves file writes to the kernel (appendfsync no). A power loss can cost up to 30 s of claims \
                 not stored in MySQL yet"
                    .to_owned(),
            );
        }
        if self.maxmemory_policy != "noeviction" {
            warnings.push(format!(
                "Redis evicts keys when its memory is full (maxmemory-policy {}). Set noeviction, or sold units are \
                 forgotten",
                self.maxmemory_policy
            ));
        }
        if self.role != "master" {
            warnings.push(format!("Redis is a {} and takes no claims", self.role));
        }
        warnings
    }
}

impl MysqlSettings {
    /// A sentence for every setting with a risk of losing rows.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.flush_at_commit != 1 {
            warnings.push(format!(
                "MySQL does not flush at every commit (innodb_flush_log_at_trx_commit {}). A crash can lose rows \
                 whose outbox entries are deleted already",
                self.flush_at_commit
            ));
        }
        if self.log_bin != 0 && self.sync_binlog != 1 {
            warnings.push(format!(
                "MySQL does not flush its binary log at every commit (sync_binlog {}). A replica may lack rows after a \
                 crash",
                self.sync_binlog
            ));
        }
        if self.read_only != 0 {
            warnings.push(format!("MySQL {} is read-only and stores no claims", self.version));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(appendonly: &str, appendfsync: &str, policy: &str, role: &str) -> Vec<String> {
        let [appendonly, appendfsync, maxmemory_policy, role] =
            [appendonly, appendfsync, policy, role].map(str::to_owned);
        RedisSettings { appendonly, appendfsync, maxmemory_policy, role }.warnings()
    }

    #[test]
    fn safe_settings_are_not_spoken_of() {
        for appendfsync in ["everysec", "always"] {
            assert_eq!(redis("yes", appendfsync, "noeviction", "master"), [] as [String; 0]);
        }
        let (version, read_only) = ("10.11".to_owned(), 0);
        let mut settings = MysqlSettings { flush_at_commit: 1, log_bin: 0, sync_binlog: 0, read_only, version };
        assert_eq!(settings.warnings(), [] as [String; 0]);
        (settings.log_bin, settings.sync_binlog) = (1, 1);
        assert_eq!(settings.warnings(), [] as [String; 0]);
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
        let version = "8.4".to_owned();
        let unsafe_settings = MysqlSettings { flush_at_commit: 2, log_bin: 1, sync_binlog: 0, read_only: 1, version };
        let warnings = unsafe_settings.warnings().join("\n");
        for named in ["innodb_flush_log_at_trx_commit 2", "sync_binlog 0", "read-only"] {
            assert!(warnings.contains(named), "{named}: {warnings}");
        }
    }
}
