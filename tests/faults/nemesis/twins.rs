//! Twins: instances with the same host name and the same address, as on cloned machines.

use super::redis::flush;
use crate::mysql;
use crate::proxy::Mode;
use crate::random::Random;
use crate::servers::until;
use crate::world::World;

/// The twin `sleeper` is frozen with unstored claims while Redis is flushed. The other twin stores all own claims, waits for
/// the sleeper, and is killed and started again. The sleeper goes on before the other twin takes the sleeper for dead.
pub async fn strike(world: &mut World, random: &mut Random, sleeper: usize) {
    let other = (sleeper + 1) % world.instances.len();
    require_rows(world).await;
    // Without connections, the sleeper holds no locks, so the other twin can store claims.
    world.instances[sleeper].mysql.set(Mode::Reset);
    tokio::time::sleep(random.millis(300, 800)).await;
    world.instances[sleeper].process.freeze();
    let epoch = number(world, "SELECT epoch FROM shards").await;
    flush(world).await;
    until("the other twin has stored its claims", || async {
        number(world, "SELECT MAX(acknowledged_epoch) FROM instances").await > epoch
    })
    .await;
    tokio::time::sleep(random.millis(500, 2_000)).await;
    require_rows(world).await;
    world.kill(other);
    world.revive(other, None);
    tokio::time::sleep(random.millis(500, 2_000)).await;
    world.instances[sleeper].mysql.set(Mode::Pass);
    world.instances[sleeper].process.thaw();
}

/// Requires a row of `instances` for each twin, all with the same label.
async fn require_rows(world: &World) {
    let labels = number(world, "SELECT COUNT(DISTINCT label) FROM instances").await;
    assert_eq!(labels, 1, "the instances are no twins");
    let rows = number(world, "SELECT COUNT(*) FROM instances").await;
    let twins = i64::try_from(world.instances.len()).expect("a few instances");
    assert!(rows >= twins, "{twins} twins share {rows} rows of `instances`");
}

async fn number(world: &World, sql: &str) -> i64 {
    let mut connection = mysql::connect(&world.mariadb.root_url()).await.expect("MySQL answers");
    mysql::query_number(&mut connection, sql).await.expect("MySQL answers")
}
