//! Interrupted rebuilds.

use std::time::Duration;

use super::app::CRASH_WAIT;
use super::redis::flush;
use crate::servers::until;
use crate::world::World;

/// The cause of a rebuild. With [`Self::Flush`], an instance must not die before the rebuild has drained it: claims
/// known only to Redis and a dead instance are not promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Restart,
    Flush,
}

/// Gives every instance a crash point in the rebuild. Starting an instance does not rebuild, because Redis keeps its data.
pub async fn arm(world: &mut World, point: &str) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, Some(&format!("{point}:1")));
        world.wait_until_ready().await;
    }
    world.wait_until_loss_is_covered().await;
}

/// The first instance rebuilds and stops at `first`. The second instance takes over and stops at `second`. Then both go
/// on. `first` must come after the draining of the first instance: claims known only to that instance and Redis are not
/// promised.
pub async fn overtake(world: &mut World, first: &str, second: &str) {
    let (first_instance, other) = (0, 1);
    world.kill(first_instance);
    world.kill(other);
    world.revive_to_stop(first_instance, first);
    world.wait_until_loss_is_covered_except(Some(other)).await;
    flush(world).await;
    until("the first instance stops", || async { world.instances[first_instance].process.is_frozen() }).await;
    world.revive_to_stop(other, second);
    until("the other instance stops", || async { world.instances[other].process.is_frozen() }).await;
    world.instances[first_instance].process.thaw();
    // Time for the first instance to try the next step.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.instances[other].process.thaw();
}

/// An instance sleeps through a loss of Redis and wakes up with unstored claims, unaware of the loss. At that time the
/// rebuilding instance has reached `point`.
pub async fn wake_into(world: &mut World, point: &str) {
    let (sleeper, rebuilder) = (0, 1);
    world.kill(rebuilder);
    world.revive_to_stop(rebuilder, point);
    world.wait_until_loss_is_covered().await;
    world.freeze_for_long(sleeper).await;
    flush(world).await;
    until("the other instance stops", || async { world.instances[rebuilder].process.is_frozen() }).await;
    world.instances[sleeper].process.thaw();
    // Time for the sleeper to try to store the claims.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.instances[rebuilder].process.thaw();
}

impl Trigger {
    pub async fn strike(self, world: &mut World, point: &str) {
        match self {
            Self::Flush => flush(world).await,
            Self::Restart => {
                world.redis.process.kill();
                world.redis.restart().await;
            }
        }
        assert!(world.any_ends_within(CRASH_WAIT).await, "no instance passes {point}");
        // All instances have the crash point. Killing the survivors loses nothing: the rebuild has drained them, or
        // Redis kept its data.
        for instance in 0..world.instances.len() {
            world.kill(instance);
            world.revive(instance, None);
        }
    }
}
