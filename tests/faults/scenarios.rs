//! Runs by name. The faults of one and their order are fixed; its seed decides when they strike, how long they last, and what
//! customers do. What the kernel and the servers make of it differs from run to run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::checker::{self, Verdict};
use crate::nemesis::{Amount, Fault, Loss, Server, Trouble};
use crate::random::Random;
use crate::servers::runs_folder;
use crate::world::World;

/// The pause before a fault, in ms.
const PAUSE_MS: (u64, u64) = (300, 2_000);
/// An instance that has lost something knows it after this, and is not ready any more.
const NOTICED: Duration = Duration::from_millis(500);
/// Faults of one random run: later ones would strike after everything is sold.
const RANDOM_FAULTS: usize = 6;

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub instances: usize,
    pub faults: &'static [Fault],
    /// In `make test` too.
    pub short: bool,
}

const fn scenario(name: &'static str, instances: usize, faults: &'static [Fault]) -> Scenario {
    Scenario { name, instances, faults, short: false }
}

const fn short(name: &'static str, instances: usize, faults: &'static [Fault]) -> Scenario {
    Scenario { name, instances, faults, short: true }
}

pub const SCENARIOS: [Scenario; 16] = [
    scenario("calm", 2, &[]),
    short("kills", 2, &[Fault::KillApp, Fault::RestartRedis, Fault::KillEverything]),
    short("losses", 2, &[Fault::FlushRedis, Fault::EmptyRedis, Fault::OlderRedis, Fault::TruncateRedis]),
    short(
        "crashes",
        1,
        &[Fault::CrashApp("after-script"), Fault::CrashApp("before-commit"), Fault::CrashApp("after-commit")],
    ),
    short(
        "changes",
        2,
        &[
            Fault::Amount(Amount::Raised),
            Fault::MoveWindow,
            Fault::CrashChange("change-committed", Amount::Raised),
            Fault::CrashChange("lowered-in-redis", Amount::Lowered),
        ],
    ),
    scenario(
        "more-crashes",
        2,
        &[
            Fault::CrashApp("before-insert"),
            Fault::CrashApp("after-script"),
            Fault::CrashChange("lowering-announced", Amount::Lowered),
            Fault::KillEveryApp,
            Fault::CrashApp("after-commit"),
        ],
    ),
    scenario(
        "rebuild-crashes",
        1,
        &[
            Fault::CrashRebuild("rebuild-begun", Loss::Nothing),
            Fault::CrashRebuild("rebuild-raised", Loss::Everything),
            Fault::CrashRebuild("rebuild-drained", Loss::Nothing),
            Fault::CrashRebuild("rebuild-forgotten", Loss::Everything),
        ],
    ),
    scenario(
        "rebuild-crashes-of-two",
        2,
        &[
            Fault::CrashRebuild("rebuild-loaded", Loss::Everything),
            Fault::CrashRebuild("rebuild-finished", Loss::Everything),
            Fault::CrashRebuild("rebuild-forgotten", Loss::Everything),
        ],
    ),
    scenario(
        "second-losses",
        2,
        &[Fault::FlushRedisTwice, Fault::FlushRedisAndFreezeApp, Fault::FlushRedisTwice, Fault::OlderRedis],
    ),
    scenario(
        "held-up",
        2,
        &[Fault::FlushRedisAndLockCoupon, Fault::FreezeAppThenFlushRedis, Fault::FlushRedisAndLockCoupon],
    ),
    scenario("cut-off", 2, &[Fault::FlushRedisAndCutOff, Fault::Proxy(Server::Both, Trouble::LongBlackHole)]),
    scenario("frozen", 2, &[Fault::FreezeRedis, Fault::FreezeApp, Fault::FreezeAppLong, Fault::ForgetScripts]),
    scenario(
        "mysql",
        2,
        &[
            Fault::KillTransactions,
            Fault::Deadlocks,
            Fault::ReadOnlyMysql,
            Fault::RestartMysql,
            Fault::LockMysql,
            Fault::LockCoupon,
            Fault::KillMysqlConnections,
        ],
    ),
    short(
        "network",
        2,
        &[
            Fault::Proxy(Server::Redis, Trouble::Resets),
            Fault::Proxy(Server::Redis, Trouble::BlackHole),
            Fault::Proxy(Server::Mysql, Trouble::CutAnswers),
            Fault::Proxy(Server::Redis, Trouble::CutRequests),
        ],
    ),
    scenario(
        "slow-network",
        2,
        &[
            Fault::Proxy(Server::Redis, Trouble::Delays),
            Fault::Proxy(Server::Redis, Trouble::CutAnswers),
            Fault::Proxy(Server::Both, Trouble::Delays),
            Fault::Proxy(Server::Mysql, Trouble::BlackHole),
            Fault::Proxy(Server::Mysql, Trouble::CutRequests),
            Fault::Proxy(Server::Mysql, Trouble::Resets),
        ],
    ),
    scenario(
        "memory",
        2,
        &[Fault::OutOfMemory, Fault::FlushRedisAndRunOut, Fault::FlushRedis, Fault::Amount(Amount::Lowered)],
    ),
];

impl Scenario {
    /// `what`: `short`, `all`, or names.
    pub fn is_chosen(&self, what: &str) -> bool {
        what == "all" || what == "short" && self.short || what.split(' ').any(|name| name == self.name)
    }
}

/// What a random run draws from; those that take half a minute are left to their scenarios.
const RANDOM: [Fault; 28] = [
    Fault::KillApp,
    Fault::KillEveryApp,
    Fault::CrashApp("after-script"),
    Fault::CrashApp("before-commit"),
    Fault::CrashApp("after-commit"),
    Fault::CrashChange("change-committed", Amount::Raised),
    Fault::CrashChange("lowered-in-redis", Amount::Lowered),
    Fault::FreezeApp,
    Fault::RestartRedis,
    Fault::EmptyRedis,
    Fault::OlderRedis,
    Fault::TruncateRedis,
    Fault::FlushRedis,
    Fault::FlushRedisTwice,
    Fault::FlushRedisAndFreezeApp,
    Fault::FlushRedisAndLockCoupon,
    Fault::FreezeRedis,
    Fault::ForgetScripts,
    Fault::OutOfMemory,
    Fault::KillEverything,
    Fault::KillTransactions,
    Fault::RestartMysql,
    Fault::ReadOnlyMysql,
    Fault::Deadlocks,
    Fault::Proxy(Server::Redis, Trouble::BlackHole),
    Fault::Proxy(Server::Redis, Trouble::CutAnswers),
    Fault::Proxy(Server::Mysql, Trouble::CutAnswers),
    Fault::MoveWindow,
];

/// Runs a scenario and judges it; the history stays in the folder that is given back.
pub async fn run(scenario: &Scenario, seed: u64) -> (Verdict, PathBuf) {
    run_faults(scenario.name, scenario.instances, scenario.faults, seed).await
}

/// Runs faults drawn from the seed.
pub async fn run_random(seed: u64) -> (Verdict, PathBuf) {
    let mut random = Random::new(seed);
    let instances = 1 + random.index(2);
    let faults: Vec<Fault> = (0..RANDOM_FAULTS).map(|_| *random.pick(&RANDOM)).collect();
    run_faults("random", instances, &faults, seed).await
}

async fn run_faults(name: &str, instances: usize, faults: &[Fault], seed: u64) -> (Verdict, PathBuf) {
    let folder = runs_folder().join(format!("{seed}-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("target can be written");
    let (began, mut random) = (Instant::now(), Random::new(seed));
    let mut world = World::start(&folder, instances).await;
    let stop = CancellationToken::new();
    let claiming = tokio::spawn(Arc::clone(&world.crowd).claim_until(random.split(), stop.clone()));
    let sampling = tokio::spawn(world.sampling(stop.clone()));
    for fault in faults {
        tokio::time::sleep(random.millis(PAUSE_MS.0, PAUSE_MS.1)).await;
        fault.strike(&mut world, &mut random).await;
        // A loss is noticed by the next attempt.
        tokio::time::sleep(NOTICED).await;
        world.ready().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let settled = world.settle().await;
    stop.cancel();
    claiming.await.expect("customers do not panic");
    sampling.await.expect("looking does not panic");
    let text = serde_json::to_string(&settled).expect("it is JSON");
    std::fs::write(folder.join("settled.json"), text).expect("the run's folder can be written");
    let verdict = checker::check(&world.recorder.events(), &settled);
    eprintln!("faults: {name}, seed {seed}, {:.1} s: {verdict}", began.elapsed().as_secs_f64());
    (verdict, folder)
}
