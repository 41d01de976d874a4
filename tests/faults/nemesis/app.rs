//! Instances that die or hang.

use std::time::Duration;

use crate::random::Random;
use crate::world::World;

/// How long an instance may take to reach its crash point.
pub const CRASH_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppFault {
    Kill,
    KillAll,
    /// All instances, Redis and MySQL.
    KillEverything,
    /// Dies at a crash point on the claim path.
    CrashAt(&'static str),
    Freeze,
    /// Frozen until the others take the instance for dead, while Redis restarts with its data.
    FreezeLong,
}

impl AppFault {
    pub async fn strike(self, world: &mut World, random: &mut Random, target: usize) {
        match self {
            Self::Kill => {
                world.kill(target);
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.revive(target, None);
            }
            Self::KillAll => {
                kill_all(world);
                revive_all(world);
            }
            Self::KillEverything => {
                kill_all(world);
                world.redis.process.kill();
                world.mariadb.process.kill();
                world.mariadb.restart().await;
                world.redis.restart().await;
                revive_all(world);
            }
            Self::CrashAt(point) => {
                // Many claims share a transaction, so the crash points of the ledger are passed less often.
                let nth = if point == "after-script" { 20 + random.below(100) } else { 2 + random.below(20) };
                world.kill(target);
                world.revive(target, Some(&format!("{point}:{nth}")));
                assert!(world.ends_within(target, CRASH_WAIT).await, "instance {target} does not pass {point}");
                world.revive(target, None);
            }
            Self::Freeze => {
                world.instances[target].process.freeze();
                tokio::time::sleep(random.millis(500, 6_000)).await;
                world.instances[target].process.thaw();
            }
            Self::FreezeLong => {
                world.instances[target].process.freeze();
                tokio::time::sleep(Duration::from_secs(12)).await;
                world.redis.process.kill();
                world.redis.restart().await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                world.instances[target].process.thaw();
            }
        }
    }
}

pub fn kill_all(world: &mut World) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
    }
}

pub fn revive_all(world: &mut World) {
    for instance in 0..world.instances.len() {
        world.revive(instance, None);
    }
}
