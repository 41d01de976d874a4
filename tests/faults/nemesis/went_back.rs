//! MySQL goes back to an earlier state of itself, as with a restored backup. An operator repairs it from Redis.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::instance::program;
use crate::random::Random;
use crate::servers::until;
use crate::world::World;

/// How long the repair may take, with all its looks at the data.
const REPAIRED_WITHIN: Duration = Duration::from_secs(90);

pub async fn strike(world: &mut World, random: &mut Random) {
    world.mariadb.process.kill();
    let copy = world.mariadb.copy();
    world.mariadb.restart().await;
    let stored = world.stored(0).await;
    world.wait_until_ready().await;
    until("claims are stored after the copy", || async { world.stored(0).await > stored }).await;
    tokio::time::sleep(random.millis(500, 3_000)).await;
    world.mariadb.process.kill();
    world.mariadb.replace_data(&copy);
    world.mariadb.restart().await;
    until("every instance has noticed", || async { world.have_gate("mysql-went-back").await }).await;
    // Nothing may be forgotten meanwhile, whatever the instances do.
    tokio::time::sleep(random.millis(0, 3_000)).await;
    repair(world).await;
}

async fn repair(world: &World) {
    let (redis, mysql) = (world.redis.url(world.redis.port), world.mariadb.url(world.mariadb.port));
    let began = Instant::now();
    loop {
        let mut command = Command::new(program());
        command.args(["audit", "--repair", "--redis-url", &redis, "--mysql-url", &mysql]).env("RUST_LOG", "info");
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the task does not panic");
        let output = output.expect("the program is built");
        if output.status.success() {
            return;
        }
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(began.elapsed() < REPAIRED_WITHIN, "not repaired: {printed}");
    }
}
