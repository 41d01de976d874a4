//! Instances that die or hang.

use std::time::Duration;

use crate::random::Random;
use crate::world::World;

/// How long an instance may take to reach the point it dies at.
pub const CRASH_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    Kill,
    KillAll,
    /// All of them, Redis and MySQL.
    KillEverything,
    /// Dies at a named point that claims pass.
    CrashAt(&'static str),
    Freeze,
    /// For so long that it is taken for dead, while Redis restarts with its data.
    FreezeLong,
}

impl App {
    pub async fn strike(self, world: &mut World, random: &mut Random, one: usize) {
        match self {
            Self::Kill => {
                world.kill(one);
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.revive(one, None);
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
                // Many claims make few transactions.
                let nth = if point == "after-script" { 20 + random.below(100) } else { 2 + random.below(20) };
                world.kill(one);
                world.revive(one, Some(&format!("{point}:{nth}")));
                assert!(world.dies(one, CRASH_WAIT).await, "instance {one} does not pass {point}");
                world.revive(one, None);
            }
            Self::Freeze => {
                world.instances[one].process.freeze();
                tokio::time::sleep(random.millis(500, 6_000)).await;
                world.instances[one].process.thaw();
            }
            Self::FreezeLong => {
                world.instances[one].process.freeze();
                tokio::time::sleep(Duration::from_secs(12)).await;
                world.redis.process.kill();
                world.redis.restart().await;
                tokio::time::sleep(random.millis(500, 4_000)).await;
                world.instances[one].process.thaw();
            }
        }
    }
}

fn kill_all(world: &mut World) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
    }
}

fn revive_all(world: &mut World) {
    for instance in 0..world.instances.len() {
        world.revive(instance, None);
    }
}
