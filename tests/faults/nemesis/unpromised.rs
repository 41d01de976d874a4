//! The one loss that nobody can make good, to see that it makes no others.

use std::time::Duration;

use super::redis::flush;
use crate::random::Random;
use crate::world::World;

/// The instance that is frozen.
const FROZEN: usize = 0;

/// Freezes an instance in the middle of its claims. What it has answered has arrived when this returns.
pub async fn prepare(world: &mut World) {
    world.ready_for_a_loss().await;
    world.instances[FROZEN].process.freeze();
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Takes Redis' memory, and lets the instance wake up once the others sell again.
pub async fn strike(world: &mut World, random: &mut Random) {
    flush(world).await;
    // Until they have noticed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.ready_but(Some(FROZEN)).await;
    tokio::time::sleep(random.millis(0, 1_000)).await;
    world.instances[FROZEN].process.thaw();
}
