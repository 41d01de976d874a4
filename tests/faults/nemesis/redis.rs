//! Redis killed, frozen, out of memory, or without its data.

use std::time::Duration;

use crate::mysql;
use crate::proxy::Mode;
use crate::random::Random;
use crate::world::{PLAIN, SEVERAL, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// `kill -9`, then a restart with all data.
    Restart,
    Freeze,
    ForgetScripts,
    OutOfMemory,
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
        !matches!(self, Self::Restart | Self::Freeze | Self::ForgetScripts | Self::OutOfMemory)
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
            _ => self.flush(world, random, target).await,
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

async fn run_out(world: &World, random: &mut Random) {
    let limit = |limit| redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit).clone();
    world.redis.call::<()>(&limit("1mb")).await;
    tokio::time::sleep(random.millis(500, 3_000)).await;
    world.redis.call::<()>(&limit("0")).await;
}

async fn restart(world: &mut World, random: &mut Random, meanwhile: impl FnOnce(&mut World)) {
    world.redis.process.kill();
    meanwhile(world);
    let away: Duration = random.millis(0, 1_500);
    tokio::time::sleep(away).await;
    world.redis.restart().await;
}
