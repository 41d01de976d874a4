//! The stores of a run, by its layout.

use std::path::Path;
use std::time::Duration;

use crate::servers::{Etcd, Galera, MariaDb, Redis, RedisGroup, RedisServers};
use crate::setup::{Layout, Setup};

/// `cluster-node-timeout`: the longest that is safe, and a short one for short runs.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);
const QUICK_TIMEOUT: Duration = Duration::from_secs(2);

/// The started stores.
pub(super) struct Stores {
    pub redis: RedisServers,
    pub mariadb: MariaDb,
    pub galera: Option<Galera>,
    pub etcd: Option<Etcd>,
}

impl Stores {
    /// Starts the stores, and tells `setup` the endpoints of etcd.
    pub async fn start(folder: &Path, setup: &mut Setup) -> Self {
        let redis = start_redis(folder, setup).await;
        if setup.layout != Layout::Installation {
            return Self { redis, mariadb: MariaDb::start(folder, "mariadb").await, galera: None, etcd: None };
        }
        let etcd = Etcd::start(folder, setup.network.of_suite_itself().ip).await;
        setup.etcd = Some(etcd.endpoints());
        let (galera, front) = Galera::start(folder).await;
        Self { redis, mariadb: front, galera: Some(galera), etcd: Some(etcd) }
    }
}

async fn start_redis(folder: &Path, setup: &Setup) -> RedisServers {
    let shards = setup.shards();
    RedisServers::Several(match setup.layout {
        Layout::Single => {
            let clock = setup.clocks.as_ref().map(|clocks| &clocks.redis);
            return RedisServers::One(Redis::start(folder, "redis", clock).await);
        }
        Layout::Cluster => RedisGroup::cluster(folder, &setup.network, (shards, QUICK_TIMEOUT)).await,
        Layout::Installation => RedisGroup::cluster(folder, &setup.network, (shards, NODE_TIMEOUT)).await,
        Layout::Sentinels => RedisGroup::sentinels(folder, false).await,
        Layout::LastingPrimary => RedisGroup::sentinels(folder, true).await,
    })
}
