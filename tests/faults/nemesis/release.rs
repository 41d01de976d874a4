//! Upgrades and roll-backs under load. A run with such a fault begins with the previous release everywhere, in format 1.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::instance::program;
use crate::random::Random;
use crate::world::World;

/// How long a start of the previous release is watched after the format was raised.
const WATCHED: Duration = Duration::from_secs(3);
/// How long the raise may be refused. The row of a dead instance goes within 20 s.
const RAISED_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseFault {
    /// The instance stops in order, and starts in the current release.
    Upgrade(usize),
    /// The instance is killed, and starts in the current release.
    UpgradeAfterDeath(usize),
    /// The instance stops in order, and starts in the previous release.
    RollBack(usize),
    /// An operator raises the format too early, and is refused.
    RaiseTooEarly,
    /// An operator raises the format.
    Raise,
    /// The instance is started in the previous release after the raise, by mistake, and then in the current one.
    StartOutdated(usize),
}

impl ReleaseFault {
    pub async fn strike(self, world: &mut World, random: &mut Random) {
        match self {
            Self::Upgrade(instance) => {
                world.instances[instance].process.terminate().await;
                world.instances[instance].set_previous(false);
                world.revive(instance, None);
            }
            Self::UpgradeAfterDeath(instance) => {
                world.kill(instance);
                tokio::time::sleep(random.millis(0, 1_000)).await;
                world.instances[instance].set_previous(false);
                world.revive(instance, None);
            }
            Self::RollBack(instance) => {
                world.instances[instance].process.terminate().await;
                world.instances[instance].set_previous(true);
                world.revive(instance, None);
            }
            Self::RaiseTooEarly => {
                let (done, printed) = raise(world).await;
                assert!(!done && printed.contains("do not know format 2"), "{printed}");
            }
            Self::Raise => {
                let began = Instant::now();
                loop {
                    let (done, printed) = raise(world).await;
                    if done {
                        assert!(printed.contains("the data has format 2"), "{printed}");
                        break;
                    }
                    assert!(began.elapsed() < RAISED_WITHIN, "{printed}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Self::StartOutdated(instance) => {
                world.kill(instance);
                world.instances[instance].set_previous(true);
                world.revive(instance, None);
                tokio::time::sleep(WATCHED).await;
                assert!(!world.is_ready(instance).await, "the previous release sells in format 2");
                world.kill(instance);
                world.instances[instance].set_previous(false);
                world.revive(instance, None);
            }
        }
    }
}

/// Types the command. Returns whether it succeeded, and its output.
async fn raise(world: &World) -> (bool, String) {
    let mut command = Command::new(program());
    command.args(["raise-format", "--mysql-url", &world.mariadb.url(world.mariadb.port)]).env("RUST_LOG", "info");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the task does not panic");
    let output = output.expect("the program is built");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), printed)
}
