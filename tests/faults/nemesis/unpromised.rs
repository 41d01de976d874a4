//! The one loss that nobody can make good, to see that it makes no others: Redis loses its memory while an instance is frozen
//! for so long that the others take it for dead. What only those two knew is promised to nobody.

use std::time::Duration;

use super::redis::flush;
use crate::random::Random;
use crate::servers::until;
use crate::world::World;

/// The instance that is frozen.
const FROZEN: usize = 0;
/// The instance that rebuilds.
const OTHER: usize = 1;
/// Until what the frozen instance has answered has arrived.
const ANSWERED: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// In the middle of its claims; it wakes up once the others sell again.
    Claiming,
    /// With entries of the outbox that it has read and not stored; it wakes up when the other has loaded Redis, and nobody
    /// has been sold their units yet.
    Sweeping,
}

impl Frozen {
    pub async fn prepare(self, world: &mut World) {
        match self {
            Self::Claiming => {
                world.ready_for_a_loss().await;
                world.instances[FROZEN].process.freeze();
            }
            Self::Sweeping => {
                // What both leave in the outbox is there for it to sweep, and nobody else does.
                world.kill(FROZEN);
                world.revive_to_stop(FROZEN, "swept-read");
                world.kill(OTHER);
                until("the sweeper stops", || async { world.instances[FROZEN].process.is_frozen() }).await;
            }
        }
        tokio::time::sleep(ANSWERED).await;
    }

    pub async fn strike(self, world: &mut World, random: &mut Random) {
        flush(world).await;
        match self {
            Self::Claiming => {
                // Until they have noticed.
                tokio::time::sleep(Duration::from_secs(1)).await;
                world.ready_but(Some(FROZEN)).await;
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.instances[FROZEN].process.thaw();
            }
            Self::Sweeping => {
                world.revive_to_stop(OTHER, "rebuild-finished");
                until("the other instance stops", || async { world.instances[OTHER].process.is_frozen() }).await;
                world.instances[FROZEN].process.thaw();
                // Until it has tried what it has read.
                tokio::time::sleep(random.millis(1_000, 2_000)).await;
                world.instances[OTHER].process.thaw();
            }
        }
    }
}
