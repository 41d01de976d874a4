//! Twins: instances with the same host name and the same address, as on cloned machines.

use super::redis::flush;
use crate::mysql;
use crate::proxy::Mode;
use crate::random::Random;
use crate::servers::until;
use crate::world::World;

/// A twin sleeps with unstored claims while Redis loses its memory. The other twin stores its own claims, waits for the
/// sleeper, dies and starts again. The sleeper wakes up before it is taken for dead.
pub async fn strike(world: &mut World, random: &mut Random, sleeper: usize) {
    let other = (sleeper + 1) % world.instances.len();
    require_rows(world).await;
    // The reset connections leave no transaction open. Its locks would keep the other twin from storing claims.
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

/// Requires that all rows of `instances` have the same label, and that there is one for each twin.
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
