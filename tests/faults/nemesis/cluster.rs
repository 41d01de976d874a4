//! Faults of installations with several servers of each kind: a Redis Cluster or sentinels, Galera, etcd, and the network
//! between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::proxy::Mode;
use crate::random::Random;
use crate::world::World;

/// Longer than the lease, and than instances wait for a silent one.
const CUT_MS: (u64, u64) = (18_000, 22_000);
/// How long many answers promise before a cut that MySQL has the claims.
const ANSWERED_AS_STORED: Duration = Duration::from_secs(2);
/// Longer than it takes instances to warn of several writers.
const WRITERS_MS: (u64, u64) = (12_000, 14_000);
/// How long an earlier primary goes on beside the promoted one.
const BESIDE_MS: (u64, u64) = (2_000, 4_000);
/// Longer than the lease.
const SENTINELS_AWAY_MS: (u64, u64) = (7_000, 9_000);
/// Longer than nodes of Galera (5 s) and members of etcd (1 s) wait for each other.
const MINORITY_MS: (u64, u64) = (8_000, 11_000);

/// The number is of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterFault {
    /// The primary of the shard is killed. It comes back after a replica was promoted.
    KillPrimary(usize),
    /// The slot of the shard moves to another primary.
    MoveSlot(usize),
    /// The node of Galera is killed that takes the writes. It comes back after another one takes them.
    KillWriter,
    KillEtcdLeader,
    /// Two of three members of etcd are frozen, so that the third has no majority.
    EtcdMinority,
    /// Two of three nodes of Galera are frozen, so that the writer has no majority.
    GaleraMinority,
    /// Every instance writes through another node of Galera.
    SeveralWriters,
    /// An instance is cut off from all servers. Customers still reach it.
    CutOffInstance,
    /// The first instance and the primary of the shard are cut off from all other servers, but not from each other.
    /// Customers still reach the instance.
    CutOffPair(usize),
    /// Sentinels promote the replica. The earlier primary goes on, takes writes, and keeps its connections.
    FailOver,
    /// Two of three sentinels are frozen.
    SentinelsAway,
}

impl ClusterFault {
    /// Whether a Redis may be replaced by one that lacks the last writes.
    pub const fn loses_memory(self) -> bool {
        matches!(self, Self::KillPrimary(_) | Self::MoveSlot(_) | Self::CutOffPair(_) | Self::FailOver)
    }

    pub async fn strike(self, world: &mut World, random: &mut Random, target: usize) {
        match self {
            Self::KillPrimary(shard) => kill_primary(world, random, shard).await,
            Self::MoveSlot(shard) => world.redis.group().move_slot(shard).await,
            Self::KillWriter => {
                let galera = world.galera.as_mut().expect("the run has a Galera cluster");
                let killed = galera.kill_writer(&world.mariadb).await;
                tokio::time::sleep(random.millis(1_000, 3_000)).await;
                galera.restart(killed).await;
            }
            Self::KillEtcdLeader => {
                let etcd = world.etcd.as_mut().expect("the run has an etcd");
                let killed = etcd.kill_leader().await;
                tokio::time::sleep(random.millis(500, 3_000)).await;
                etcd.restart(killed);
            }
            Self::EtcdMinority => {
                let etcd = world.etcd.as_ref().expect("the run has an etcd");
                etcd.leave_one_alone(random.millis(MINORITY_MS.0, MINORITY_MS.1)).await;
            }
            Self::GaleraMinority => {
                let galera = world.galera.as_ref().expect("the run has a Galera cluster");
                galera.leave_writer_alone(&world.mariadb, random.millis(MINORITY_MS.0, MINORITY_MS.1)).await;
            }
            Self::SeveralWriters => several_writers(world, random).await,
            Self::CutOffInstance => {
                world.network.cut_off(target, None);
                tokio::time::sleep(random.millis(CUT_MS.0, CUT_MS.1)).await;
                world.network.rejoin(target, None);
            }
            Self::CutOffPair(shard) => cut_off_pair(world, random, shard).await,
            Self::FailOver => {
                let former = world.redis.group().primary(0).await;
                world.redis.group().fail_over().await;
                world.redis.group().wait_until_replaced(0, former).await;
                tokio::time::sleep(random.millis(BESIDE_MS.0, BESIDE_MS.1)).await;
            }
            Self::SentinelsAway => {
                let sentinels = &world.redis.group().sentinels[1..];
                sentinels.iter().for_each(crate::servers::Process::freeze);
                tokio::time::sleep(random.millis(SENTINELS_AWAY_MS.0, SENTINELS_AWAY_MS.1)).await;
                sentinels.iter().for_each(crate::servers::Process::thaw);
            }
        }
    }
}

async fn kill_primary(world: &mut World, random: &mut Random, shard: usize) {
    let group = world.redis.group();
    let killed = group.primary(shard).await;
    group.nodes[killed].process.kill();
    group.wait_until_replaced(shard, killed).await;
    world.wait_until_ready().await;
    tokio::time::sleep(random.millis(0, 1_000)).await;
    let group = world.redis.group();
    group.nodes[killed].restart().await;
    group.wait_until_whole().await;
}

/// The instances must warn of it.
async fn several_writers(world: &World, random: &mut Random) {
    let nodes = world.galera.as_ref().expect("the run has a Galera cluster").addresses();
    lead_each(world, |instance| nodes[instance % nodes.len()]).await;
    tokio::time::sleep(random.millis(WRITERS_MS.0, WRITERS_MS.1)).await;
    let warn = || world.every_report(|report| report["warnings"].to_string().contains("several MySQL servers at once"));
    crate::servers::until("the instances warn of several writers", warn).await;
    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, world.mariadb.port));
    lead_each(world, |_| front).await;
}

/// Leads instances to MySQL at these addresses. Their connections break.
async fn lead_each(world: &World, address: impl Fn(usize) -> SocketAddr) {
    for (number, instance) in world.instances.iter().enumerate() {
        instance.mysql.lead_to_address(address(number));
        instance.mysql.set(Mode::Reset);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.instances.iter().for_each(|instance| instance.mysql.set(Mode::Pass));
}

async fn cut_off_pair(world: &mut World, random: &mut Random, shard: usize) {
    const INSTANCE: usize = 0;
    let primary = world.redis.group().primary(shard).await;
    // Many answers before the cut promise that MySQL has the claims. The answers after the cut cannot.
    world.crowd.let_many_wait(true);
    tokio::time::sleep(ANSWERED_AS_STORED).await;
    world.crowd.let_many_wait(false);
    world.note_cut_off(INSTANCE, shard);
    world.network.cut_off(INSTANCE, Some(primary));
    tokio::time::sleep(random.millis(CUT_MS.0, CUT_MS.1)).await;
    world.network.rejoin(INSTANCE, Some(primary));
    world.redis.group().wait_until_whole().await;
}
