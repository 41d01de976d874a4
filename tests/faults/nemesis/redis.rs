//! Redis killed, frozen, out of memory, or without its data.

use std::time::Duration;

use crate::mysql;
use crate::proxy::Mode;
use crate::random::Random;
use crate::servers::until;
use crate::world::{PLAIN, SEVERAL, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// `kill -9`, then a restart with all data.
    Restart,
    Freeze,
    ForgetScripts,
    OutOfMemory,
    /// Too few replicas for its settings.
    NoReplicas,
    /// The disk is full while the file is synced every second. Redis refuses writes.
    FullDisk,
    /// The disk is full while every answer is synced. Redis ends itself, and is started again with a free disk.
    FullDiskWhileSyncing,
    /// A replica takes over in agreement with the primary, which becomes a replica. Open connections survive.
    Failover,
    /// A replica is promoted while the primary still takes writes. A little later the primary becomes a replica of the
    /// promoted one, or dies. Open connections survive until then.
    Promotion,
    /// The primary dies, a replica is promoted, and the address moves. Then the earlier primary comes back and takes writes.
    Takeover,
    Flush,
    /// Restarted without its append-only file.
    Empty,
    /// Restarted with an earlier copy of its append-only file.
    Older,
    /// Restarted with the last bytes of its append-only file cut off.
    Truncated,
    /// Flushed again during the reload.
    FlushTwice,
    /// Flushed, and out of memory during the reload.
    FlushAndRunOut,
    /// Flushed while an instance is frozen for less than 10 s, too short to be taken for dead.
    FlushAndFreezeApp,
    /// An instance is frozen and taken for dead, and its claims are stored. Then Redis is flushed, and the instance wakes up.
    FreezeAppThenFlush,
    /// Flushed while answered claims wait for a row lock in MySQL.
    FlushAndLockCoupon,
    /// Flushed while an instance is cut off from MySQL. Only its beats in Redis show the instance alive.
    FlushAndCutOffMysql,
    /// Flushed while an instance is cut off from Redis. Only its beats in MySQL show the instance alive.
    FlushAndIsolate,
}

impl RedisFault {
    /// Whether Redis loses data that MySQL may not have yet.
    pub fn loses_memory(self) -> bool {
        !matches!(
            self,
            Self::Restart
                | Self::Freeze
                | Self::ForgetScripts
                | Self::OutOfMemory
                | Self::NoReplicas
                | Self::FullDisk
                | Self::FullDiskWhileSyncing
                | Self::Failover
        )
    }

    pub async fn strike(self, world: &mut World, random: &mut Random, target: usize) {
        match self {
            Self::Restart => restart(world, random, |_| {}).await,
            Self::Empty => restart(world, random, |world| world.redis.replace_data(None)).await,
            Self::Older => {
                let copy = world.redis.copy();
                tokio::time::sleep(random.millis(300, 2_000)).await;
                restart(world, random, |world| world.redis.replace_data(Some(&copy))).await;
            }
            Self::Truncated => {
                let bytes = 1 + random.below(3_000);
                restart(world, random, |world| world.redis.truncate(bytes)).await;
            }
            Self::Freeze => {
                world.redis.process.freeze();
                tokio::time::sleep(random.millis(300, 5_000)).await;
                world.redis.process.thaw();
            }
            Self::ForgetScripts => {
                for _ in 0..5 {
                    world.redis.call::<()>(redis::cmd("SCRIPT").arg("FLUSH")).await;
                    tokio::time::sleep(random.millis(20, 200)).await;
                }
            }
            Self::OutOfMemory => run_out(world, random).await,
            Self::NoReplicas | Self::FullDisk | Self::FullDiskWhileSyncing => self.refuse_writes(world, random).await,
            Self::Failover | Self::Promotion | Self::Takeover => self.fail_over(world, random).await,
            _ => self.flush(world, random, target).await,
        }
    }

    async fn refuse_writes(self, world: &mut World, random: &mut Random) {
        match self {
            Self::NoReplicas => {
                configure(world, "min-replicas-to-write", "1").await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                configure(world, "min-replicas-to-write", "0").await;
            }
            Self::FullDisk => {
                configure(world, "appendfsync", "everysec").await;
                world.redis.limit_files(Some(1));
                tokio::time::sleep(random.millis(1_000, 5_000)).await;
                world.redis.limit_files(None);
                // Before Redis syncs every answer again, it must have written what it could not write.
                until("Redis writes its file", || async {
                    world.redis.info("persistence").await.contains("aof_last_write_status:ok")
                })
                .await;
                configure(world, "appendfsync", "always").await;
            }
            Self::FullDiskWhileSyncing => {
                world.redis.limit_files(Some(1));
                world.redis.process.wait_for_end().await;
                tokio::time::sleep(random.millis(0, 1_500)).await;
                world.redis.restart().await;
            }
            _ => {}
        }
    }

    async fn fail_over(self, world: &mut World, random: &mut Random) {
        let replica = world.start_replica().await;
        if self == Self::Failover {
            let mut failover = redis::cmd("FAILOVER");
            world.redis.call::<()>(failover.arg("TO").arg("127.0.0.1").arg(replica.port)).await;
            until("the replica has taken over", || async { replica.is_primary().await }).await;
            tokio::time::sleep(random.millis(0, 1_500)).await;
            world.move_redis_to(replica);
            return;
        }
        if self == Self::Takeover {
            world.redis.process.kill();
            tokio::time::sleep(random.millis(0, 1_500)).await;
        }
        replica.call::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
        let port = replica.port;
        let former = world.move_redis_to(replica);
        if self == Self::Takeover {
            former.restart().await;
            tokio::time::sleep(random.millis(500, 3_000)).await;
            return;
        }
        tokio::time::sleep(random.millis(0, 2_000)).await;
        if random.below(2) == 0 {
            former.call::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await;
        } else {
            world.end_former_redis();
        }
    }

    async fn flush(self, world: &mut World, random: &mut Random, target: usize) {
        match self {
            Self::FlushTwice => {
                flush(world).await;
                tokio::time::sleep(random.millis(0, 400)).await;
                flush(world).await;
            }
            Self::FlushAndRunOut => {
                flush(world).await;
                run_out(world, random).await;
            }
            Self::FlushAndFreezeApp => {
                world.instances[target].process.freeze();
                tokio::time::sleep(random.millis(0, 500)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(1_000, 5_000)).await;
                world.instances[target].process.thaw();
            }
            Self::FreezeAppThenFlush => {
                world.freeze_for_long(target).await;
                flush(world).await;
                tokio::time::sleep(random.millis(2_000, 5_000)).await;
                world.instances[target].process.thaw();
            }
            Self::FlushAndLockCoupon => {
                let ids = format!("{PLAIN}, {SEVERAL}");
                let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id IN ({ids}) FOR UPDATE");
                let lock = mysql::hold_lock(&world.mariadb.root_url(), &sql).await;
                tokio::time::sleep(random.millis(300, 1_500)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                drop(lock);
            }
            Self::FlushAndCutOffMysql | Self::FlushAndIsolate => {
                let instance = &world.instances[target];
                let proxy = if self == Self::FlushAndCutOffMysql { &instance.mysql } else { &instance.redis };
                proxy.set(Mode::BlackHole);
                tokio::time::sleep(random.millis(500, 2_000)).await;
                flush(world).await;
                tokio::time::sleep(random.millis(11_000, 15_000)).await;
                proxy.set(Mode::Pass);
            }
            _ => flush(world).await,
        }
    }
}

pub async fn flush(world: &World) {
    world.redis.call::<()>(&redis::cmd("FLUSHALL")).await;
}

async fn configure(world: &World, setting: &str, value: &str) {
    world.redis.call::<()>(redis::cmd("CONFIG").arg("SET").arg(setting).arg(value)).await;
}

async fn run_out(world: &World, random: &mut Random) {
    configure(world, "maxmemory", "1mb").await;
    tokio::time::sleep(random.millis(500, 3_000)).await;
    configure(world, "maxmemory", "0").await;
}

async fn restart(world: &mut World, random: &mut Random, meanwhile: impl FnOnce(&mut World)) {
    world.redis.process.kill();
    meanwhile(world);
    let away: Duration = random.millis(0, 1_500);
    tokio::time::sleep(away).await;
    world.redis.restart().await;
}
