//! Redis servers that choose their primaries: a Redis Cluster, or a primary with a replica and three sentinels.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use couponrush::domain::ShardId;
use futures_util::future::join_all;

use super::whereabouts::NAME;
use super::{Process, Redis, START_WAIT, Whereabouts, until};
use crate::network::{Machine, Network};
use crate::ports::free_address;

const PRIMARIES: usize = 3;
const SLOTS: u16 = 16_384;
const SENTINELS: usize = 3;

/// The Redis servers of a run.
pub enum RedisServers {
    One(Redis),
    Several(RedisGroup),
}

/// Servers that choose their primaries.
pub struct RedisGroup {
    pub nodes: Vec<Redis>,
    /// Empty in a cluster.
    pub sentinels: Vec<Process>,
    pub whereabouts: Whereabouts,
}

/// The single Redis of a run. Most faults are made for it.
impl Deref for RedisServers {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        match self {
            Self::One(redis) => redis,
            Self::Several(_) => panic!("the fault is for runs with a single Redis"),
        }
    }
}

impl DerefMut for RedisServers {
    fn deref_mut(&mut self) -> &mut Redis {
        match self {
            Self::One(redis) => redis,
            Self::Several(_) => panic!("the fault is for runs with a single Redis"),
        }
    }
}

impl RedisServers {
    pub fn whereabouts(&self) -> Whereabouts {
        match self {
            Self::One(redis) => Whereabouts::one(redis.port),
            Self::Several(group) => group.whereabouts.clone(),
        }
    }

    /// The servers of a run with several.
    pub fn group(&mut self) -> &mut RedisGroup {
        match self {
            Self::One(_) => panic!("the fault is for runs with several Redis servers"),
            Self::Several(group) => group,
        }
    }

    /// The URL for an instance, whose proxy leads to a single Redis.
    pub fn url_over(&self, proxy: u16) -> String {
        let Self::Several(group) = self else { return self.url(proxy) };
        match &group.whereabouts {
            Whereabouts::Sentinels(sentinels) => format!("redis-sentinel://{},{}/{NAME}", sentinels[0], sentinels[1]),
            // The other members are found.
            _ => format!("redis-cluster://{},{}", group.nodes[0].address(), group.nodes[1].address()),
        }
    }
}

impl RedisGroup {
    /// Starts a cluster of three primaries with a replica each. The shards live on different primaries.
    pub async fn cluster(folder: &Path, network: &Network, (shards, timeout): (usize, Duration)) -> Self {
        let node = |number: usize| {
            let bus = free_address().port();
            let settings = format!(
                "--cluster-enabled yes --cluster-port {bus} --cluster-node-timeout {} --cluster-require-full-coverage no \
                 --cluster-allow-replica-migration no --repl-diskless-sync-delay 0",
                timeout.as_millis()
            );
            let arguments = settings.split(' ').map(str::to_owned).collect();
            let machine = network.of_redis(number);
            (Redis::new(folder, &format!("redis-{}", number + 1), None, (&machine, arguments)), bus)
        };
        let (mut nodes, buses): (Vec<_>, Vec<_>) = (0..2 * PRIMARIES).map(node).unzip();
        join_all(nodes.iter_mut().map(Redis::restart)).await;
        let first = nodes[0].address();
        for (number, node) in nodes.iter().enumerate() {
            cluster(node, &["SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            let (ip, port) = (first.ip().to_string(), first.port().to_string());
            cluster(node, &["MEET", &ip, &port, &buses[0].to_string()]).await;
        }
        let slots = slots(&nodes[0], shards).await;
        for (number, primary) in nodes[..PRIMARIES].iter().enumerate() {
            let owned = (0..SLOTS).filter(|slot| owner_of(*slot, &slots) == number).map(|slot| slot.to_string());
            let owned: Vec<String> = owned.collect();
            let mut arguments = vec!["ADDSLOTS"];
            arguments.extend(owned.iter().map(String::as_str));
            cluster(primary, &arguments).await;
        }
        let whereabouts = Whereabouts::Cluster(nodes.iter().map(Redis::address).collect(), slots);
        let group = Self { nodes, sentinels: Vec::new(), whereabouts };
        for number in 0..PRIMARIES {
            let (id, replica) = (group.id(number).await, &group.nodes[PRIMARIES + number]);
            until("the replica knows its primary", || async { group.view(replica).await.contains(&id) }).await;
            cluster(replica, &["REPLICATE", &id]).await;
        }
        group.wait_until_whole().await;
        group
    }

    /// Starts a primary with a replica, and three sentinels. A primary that `lasts` cannot be made a replica.
    pub async fn sentinels(folder: &Path, lasts: bool) -> Self {
        let renamed = ["REPLICAOF", "SLAVEOF"].map(|name| ["--rename-command", name, ""]).concat();
        let arguments = renamed.into_iter().filter(|_| lasts).map(str::to_owned).collect();
        let here = Machine::here();
        let mut primary = Redis::new(folder, "redis-1", None, (&here, arguments));
        primary.restart().await;
        let replica = Redis::start(folder, "redis-2", None).await;
        replica.follow(&primary).await;
        let ports: Vec<u16> = (0..SENTINELS).map(|_| free_address().port()).collect();
        let addresses = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let whereabouts = Whereabouts::Sentinels(addresses);
        let start = |port: &u16| {
            let file = folder.join(format!("sentinel-{port}.conf"));
            let settings = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {NAME} 2000\nsentinel failover-timeout {NAME} 5000\n",
                primary.port
            );
            std::fs::write(&file, settings).expect("the run's folder can be written");
            let mut process = Process::new(file.with_extension("log"), move || {
                let mut command = Command::new("redis-server");
                command.arg(&file).arg("--sentinel");
                command
            });
            process.start(&[]);
            process
        };
        let sentinels = ports.iter().map(start).collect();
        let group = Self { nodes: vec![primary, replica], sentinels, whereabouts };
        group.wait_until_whole().await;
        group
    }

    /// The number of the node that is the primary of a shard.
    pub async fn primary(&self, shard: usize) -> usize {
        let address = self.whereabouts.primary(shard).await.expect("somebody knows the primary");
        self.nodes.iter().position(|node| node.address() == address).expect("the primary is one of the nodes")
    }

    /// Waits until another node than `former` is the primary of a shard.
    pub async fn wait_until_replaced(&self, shard: usize, former: usize) {
        let former = self.nodes[former].address();
        until("another node is the primary", || async {
            self.whereabouts.primary(shard).await.is_some_and(|address| address != former)
        })
        .await;
    }

    /// Waits until every node is known to all others, and every replica has all data.
    pub async fn wait_until_whole(&self) {
        until("every replica has all data, and all servers know each other", || async {
            match &self.whereabouts {
                Whereabouts::Sentinels(sentinels) => {
                    let known = join_all(sentinels.iter().map(|sentinel| knows_all(*sentinel))).await;
                    known.into_iter().all(|known| known) && self.has_one_primary().await
                }
                _ => join_all(self.nodes.iter().map(|node| self.is_member(node))).await.into_iter().all(|is| is),
            }
        })
        .await;
    }

    /// Whether one node is a primary, and the other one its replica with all data.
    async fn has_one_primary(&self) -> bool {
        // A sentinel that changes the role of a node closes its connections, so an answer may be missing.
        let infos = join_all(self.nodes.iter().map(|node| ask(node, &["INFO", "replication"]))).await;
        let of = |words: &str| infos.iter().flatten().filter(|info| info.contains(words)).count();
        of("role:master") == 1 && of("master_link_status:up") == self.nodes.len() - 1
    }

    /// Whether a node of a cluster is a primary with a replica, or a replica with all data, and sees no failure.
    async fn is_member(&self, node: &Redis) -> bool {
        let Some(info) = ask(node, &["INFO", "replication"]).await else { return false };
        let Some(view) = ask(node, &["CLUSTER", "NODES"]).await else { return false };
        let is_whole =
            view.lines().count() == self.nodes.len() && !view.contains("fail") && !view.contains("handshake");
        let replicates = info.contains("state=online") || info.contains("master_link_status:up");
        is_whole && replicates && view.matches(" connected").count() == self.nodes.len()
    }

    async fn view(&self, node: &Redis) -> String {
        node.call(redis::cmd("CLUSTER").arg("NODES")).await
    }

    async fn id(&self, node: usize) -> String {
        self.nodes[node].call(redis::cmd("CLUSTER").arg("MYID")).await
    }

    /// Moves the slot of a shard from its primary to another one, as `redis-cli --cluster reshard` does.
    pub async fn move_slot(&self, shard: usize) {
        let Whereabouts::Cluster(_, slots) = &self.whereabouts else { panic!("only a cluster has slots") };
        let slot = slots[shard].to_string();
        let source = self.primary(shard).await;
        let target = self.another_primary(source).await;
        let (source_id, target_id) = (self.id(source).await, self.id(target).await);
        cluster(&self.nodes[target], &["SETSLOT", &slot, "IMPORTING", &source_id]).await;
        cluster(&self.nodes[source], &["SETSLOT", &slot, "MIGRATING", &target_id]).await;
        let to = self.nodes[target].address();
        loop {
            let mut get = redis::cmd("CLUSTER");
            get.arg("GETKEYSINSLOT").arg(&slot).arg(200);
            let keys: Vec<String> = self.nodes[source].call(&get).await;
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(to.ip().to_string()).arg(to.port()).arg("").arg(0).arg(5_000).arg("REPLACE").arg("KEYS");
            self.nodes[source].call::<String>(migrate.arg(keys)).await;
        }
        cluster(&self.nodes[target], &["SETSLOT", &slot, "NODE", &target_id]).await;
        cluster(&self.nodes[source], &["SETSLOT", &slot, "NODE", &target_id]).await;
        self.wait_until_replaced(shard, source).await;
    }

    /// A primary of a cluster besides `primary`.
    async fn another_primary(&self, primary: usize) -> usize {
        for (number, node) in self.nodes.iter().enumerate() {
            if number != primary && node.is_primary().await {
                return number;
            }
        }
        panic!("a cluster has several primaries");
    }

    /// Lets the sentinels promote the replica.
    pub async fn fail_over(&self) {
        let Whereabouts::Sentinels(sentinels) = &self.whereabouts else { panic!("only sentinels are asked") };
        let mut connection = super::redis::connect(sentinels[0], START_WAIT).await.expect("the sentinel answers");
        let asked = redis::cmd("SENTINEL").arg("FAILOVER").arg(NAME).query_async::<()>(&mut connection).await;
        asked.expect("the sentinel fails over");
    }
}

/// The answer to a question. `None` if the node does not answer in time, or closes the connection.
async fn ask(node: &Redis, words: &[&str]) -> Option<String> {
    let mut connection = node.connect(Duration::from_secs(1)).await?;
    redis::Cmd::new().arg(words).query_async(&mut connection).await.ok()
}

async fn cluster(node: &Redis, arguments: &[&str]) {
    node.call::<()>(redis::cmd("CLUSTER").arg(arguments)).await;
}

/// The slots of the shards.
async fn slots(node: &Redis, shards: usize) -> Vec<u16> {
    let mut slots = Vec::new();
    for shard in (0..shards).filter_map(ShardId::new) {
        slots.push(node.call(redis::cmd("CLUSTER").arg("KEYSLOT").arg(format!("{{{shard}}}"))).await);
    }
    slots
}

/// The number of the primary that begins with a slot: the slots of the shards by turns, the others in ranges.
fn owner_of(slot: u16, slots_of_shards: &[u16]) -> usize {
    match slots_of_shards.iter().position(|other| *other == slot) {
        Some(shard) => shard % PRIMARIES,
        None => usize::from(slot) * PRIMARIES / usize::from(SLOTS),
    }
}

async fn knows_all(sentinel: std::net::SocketAddr) -> bool {
    let Some(mut connection) = super::redis::connect(sentinel, Duration::from_secs(1)).await else { return false };
    let mut info = redis::cmd("INFO");
    let info = info.arg("sentinel").query_async::<String>(&mut connection).await;
    info.is_ok_and(|info| info.contains("status=ok") && info.contains(&format!("slaves=1,sentinels={SENTINELS}")))
}
