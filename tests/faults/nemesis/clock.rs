//! Clocks that step forward or back by seconds, and later step back to the time of the machine.

use crate::random::Random;
use crate::world::World;

/// How long a clock is wrong, in ms.
const WRONG_MS: (u64, u64) = (1_500, 4_000);

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
        let clocks = world.clocks.as_ref().expect("a run with this fault has clocks");
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
            clocks.instances[target].set(ahead_s);
        }
        if let Self::Redis(ahead_s) | Self::FrozenRedis(ahead_s) | Self::FrozenApp(ahead_s) = self {
            world.note_clock_steps(ahead_s);
            clocks.redis.set(ahead_s);
        }
        if let Some(process) = frozen {
            tokio::time::sleep(random.millis(300, 3_000)).await;
            process.thaw();
        }
        world.note_clock_stepped();
        tokio::time::sleep(random.millis(WRONG_MS.0, WRONG_MS.1)).await;
        world.note_clock_steps(0);
        clocks.instances[target].set(0);
        clocks.redis.set(0);
        world.note_clock_stepped();
    }
}
