//! Rebuilds that end in the middle.

use std::time::Duration;

use super::app::CRASH_WAIT;
use super::redis::flush;
use crate::servers::until;
use crate::world::World;

/// What makes instances rebuild. Before a rebuild has drained them they must not die while Redis is empty: what only both
/// knew is promised to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Restart,
    Flush,
}

/// Lets every instance run towards the point. Their start does not pass it, for Redis is the one that they know.
pub async fn arm(world: &mut World, point: &str) {
    for instance in 0..world.instances.len() {
        world.kill(instance);
        world.revive(instance, Some(&format!("{point}:1")));
        world.ready().await;
    }
    world.ready_for_a_loss().await;
}

/// The first instance rebuilds and stops at `first`; the other takes over and stops at `second`; then both go on. Before the
/// rebuild has drained it, the first one must not stop: what only it and Redis knew would be promised to nobody.
pub async fn overtake(world: &mut World, first: &str, second: &str) {
    let (one, other) = (0, 1);
    world.kill(one);
    world.kill(other);
    world.revive_to_stop(one, first);
    world.ready_for_a_loss_but(Some(other)).await;
    flush(world).await;
    until("the first instance stops", || async { world.instances[one].process.is_frozen() }).await;
    world.revive_to_stop(other, second);
    until("the other instance stops", || async { world.instances[other].process.is_frozen() }).await;
    world.instances[one].process.thaw();
    // Until it has done what it would have done next.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.instances[other].process.thaw();
}

/// An instance sleeps through a loss, and wakes up with claims in its hands when another has come to `point` of its rebuild:
/// nothing has told it yet.
pub async fn wake_into(world: &mut World, point: &str) {
    let (sleeper, rebuilder) = (0, 1);
    world.kill(rebuilder);
    world.revive_to_stop(rebuilder, point);
    world.ready_for_a_loss().await;
    world.freeze_for_long(sleeper).await;
    flush(world).await;
    until("the other instance stops", || async { world.instances[rebuilder].process.is_frozen() }).await;
    world.instances[sleeper].process.thaw();
    // Until it has tried what it holds.
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
        assert!(world.one_dies(CRASH_WAIT).await, "nobody passes {point}");
        // The others are armed as well, and hold nothing: the rebuild had drained them, or Redis has kept it.
        for instance in 0..world.instances.len() {
            world.kill(instance);
            world.revive(instance, None);
        }
    }
}
