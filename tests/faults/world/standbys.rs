//! Replicas that take over, and the present primaries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::World;
use crate::clock::Clock;
use crate::mysql;
use crate::servers::{MariaDb, Redis, RedisServers, Whereabouts};

/// The servers that are not the primary, and the ports of the primaries.
pub(super) struct Standbys {
    /// The primary before the last failover.
    former_redis: Option<Redis>,
    /// The other MariaDB, after the first switchover.
    mariadb: Option<MariaDb>,
    pub redis: Whereabouts,
    mysql_port: Arc<AtomicU16>,
}

impl Standbys {
    pub fn new(redis: &RedisServers, mariadb: &MariaDb) -> Self {
        let mysql_port = Arc::new(AtomicU16::new(mariadb.port));
        Self { former_redis: None, mariadb: None, redis: redis.whereabouts(), mysql_port }
    }

    /// Gives the URL of the present primary of MySQL, past the proxies.
    pub fn mysql_url(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let port = Arc::clone(&self.mysql_port);
        move || MariaDb::root_url_at(port.load(Ordering::SeqCst))
    }
}

impl World {
    fn redis_clock(&self) -> Option<&Clock> {
        self.clocks.as_ref().map(|clocks| &clocks.redis)
    }

    /// Starts a replica of Redis, with all data.
    pub async fn start_replica(&self) -> Redis {
        let replica = Redis::start(&self.folder, &format!("redis-{}", self.faults), self.redis_clock()).await;
        replica.follow(&self.redis).await;
        replica
    }

    /// Leads every instance's address to `promoted`. Open connections to the former primary survive.
    pub fn move_redis_to(&mut self, promoted: Redis) -> &mut Redis {
        for instance in &self.instances {
            instance.redis.lead_to(promoted.port);
        }
        self.standbys.redis.lead_to(promoted.port);
        self.standbys.former_redis.insert(std::mem::replace(&mut *self.redis, promoted))
    }

    /// Kills the primary before the last failover.
    pub fn end_former_redis(&mut self) {
        self.standbys.former_redis = None;
    }

    /// Makes the other MariaDB the primary, without losing a commit. The earlier primary refuses writes, is not followed
    /// for another `pause`, and keeps its open connections. It is the replica of the next switchover.
    pub async fn switch_mysql(&mut self, pause: Duration) {
        let standby = match self.standbys.mariadb.take() {
            Some(standby) => standby,
            None => MariaDb::start(&self.folder, "mariadb-2").await,
        };
        standby.follow(&self.mariadb).await;
        mysql::execute(&self.mariadb.root_url(), "SET GLOBAL read_only = 1").await;
        standby.wait_for_all_of(&self.mariadb).await;
        standby.promote().await;
        tokio::time::sleep(pause).await;
        for instance in &self.instances {
            instance.mysql.lead_to(standby.port);
        }
        self.standbys.mysql_port.store(standby.port, Ordering::SeqCst);
        self.standbys.mariadb = Some(std::mem::replace(&mut self.mariadb, standby));
    }
}
