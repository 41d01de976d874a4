//! The losses beyond the program's promises: Redis loses its memory while an instance is frozen for over 10 s and taken
//! for dead, or while all instances die. Claims known only to Redis and to these instances are lost. All other claims
//! must survive, among them all that were answered as stored.

use std::time::Duration;

use super::app::{kill_all, revive_all};
use super::redis::flush;
use crate::mysql;
use crate::random::Random;
use crate::servers::until;
use crate::world::{COUPONS, World};

/// The number of the frozen instance.
const FROZEN: usize = 0;
/// The number of the rebuilding instance.
const OTHER: usize = 1;
/// Time for the answers of the frozen instance to arrive.
const ANSWERED: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// Frozen while answering claims, and woken up when the rebuilding instance sells again.
    Claiming,
    /// Frozen between reading entries of the outbox and storing them. Woken up when the rebuilding instance has loaded
    /// Redis and before any of the lost units is sold again.
    Sweeping,
}

impl Frozen {
    pub async fn prepare(self, world: &mut World) {
        match self {
            Self::Claiming => {
                world.wait_until_loss_is_covered().await;
                world.instances[FROZEN].process.freeze();
            }
            Self::Sweeping => {
                // Both instances die and leave entries in the outbox for the restarted instance to sweep.
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
                // Time for the rebuilding instance to notice the loss.
                tokio::time::sleep(Duration::from_secs(1)).await;
                world.wait_until_ready_except(Some(FROZEN)).await;
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.instances[FROZEN].process.thaw();
            }
            Self::Sweeping => {
                world.revive_to_stop(OTHER, "rebuild-finished");
                until("the other instance stops", || async { world.instances[OTHER].process.is_frozen() }).await;
                world.instances[FROZEN].process.thaw();
                // Time for the sweeper to try to store the entries.
                tokio::time::sleep(random.millis(1_000, 2_000)).await;
                world.instances[OTHER].process.thaw();
            }
        }
    }
}

/// All instances die and Redis loses its memory at the same moment, while no batch can be stored. Meanwhile many
/// customers ask for an answer after the commit.
pub async fn lose_everything(world: &mut World, random: &mut Random) {
    world.crowd.let_many_wait(true);
    tokio::time::sleep(random.millis(500, 2_000)).await;
    let ids = COUPONS.map(|coupon| coupon.to_string()).join(",");
    let sql = format!("START TRANSACTION; SELECT id FROM coupons WHERE id IN ({ids}) FOR UPDATE");
    let lock = mysql::hold_lock(&world.mariadb.root_url(), &sql).await;
    tokio::time::sleep(random.millis(200, 1_500)).await;
    kill_all(world);
    world.redis.process.kill();
    drop(lock);
    world.redis.replace_data(None);
    world.redis.restart().await;
    world.crowd.let_many_wait(false);
    revive_all(world);
}
