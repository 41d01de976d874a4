//! Clocks that step. A clock stays wrong until its next step, or until the end of the faults.

use crate::random::Random;
use crate::world::World;

/// The number is by how many seconds the clock is ahead of the machine's clock after the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    Redis(i64),
    /// The clock of an instance.
    App(i64),
    /// Redis is frozen while its clock steps.
    FrozenRedis(i64),
    /// An instance is frozen while its clock and the clock of Redis step.
    FrozenApp(i64),
}

impl ClockFault {
    pub async fn strike(self, world: &World, random: &mut Random, target: usize) {
        let frozen = match self {
            Self::Redis(_) | Self::App(_) => None,
            Self::FrozenRedis(_) => Some(&world.redis.process),
            Self::FrozenApp(_) => Some(&world.instances[target].process),
        };
        if let Some(process) = frozen {
            process.freeze();
            tokio::time::sleep(random.millis(0, 500)).await;
        }
        if let Self::App(ahead_s) | Self::FrozenApp(ahead_s) = self {
            world.step_clock_of(target, ahead_s);
        }
        if let Self::Redis(ahead_s) | Self::FrozenRedis(ahead_s) | Self::FrozenApp(ahead_s) = self {
            world.step_clock_of_redis(ahead_s);
        }
        if let Some(process) = frozen {
            tokio::time::sleep(random.millis(300, 3_000)).await;
            process.thaw();
        }
        world.note_clock_stepped();
    }
}
