//! Runs by name. The faults of one and their order are fixed; its seed decides when they strike, how long they last, and what
//! customers do. What the kernel and the servers make of it differs from run to run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::checker::{self, Verdict};
use crate::nemesis::{App, Change, Fault, Frozen, Lasting, Mysql, Redis, Server, Trigger, Trouble};
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

pub const SCENARIOS: [Scenario; 22] = [
    scenario("calm", 2, &[]),
    short("kills", 2, &[Fault::App(App::Kill), Fault::Redis(Redis::Restart), Fault::App(App::KillEverything)]),
    short(
        "losses",
        2,
        &[
            Fault::Redis(Redis::Flush),
            Fault::Redis(Redis::Empty),
            Fault::Redis(Redis::Older),
            Fault::Redis(Redis::Truncated),
        ],
    ),
    short(
        "crashes",
        1,
        &[
            Fault::App(App::CrashAt("after-script")),
            Fault::App(App::CrashAt("before-commit")),
            Fault::App(App::CrashAt("after-commit")),
        ],
    ),
    short(
        "changes",
        2,
        &[
            Fault::Change(Change::Raise),
            Fault::Change(Change::Window),
            Fault::Change(Change::LowerTooFar),
            Fault::Change(Change::RaiseAndCrashAt("change-committed")),
            Fault::Change(Change::LowerAndCrashAt("lowered-in-redis")),
        ],
    ),
    scenario(
        "more-crashes",
        2,
        &[
            Fault::App(App::CrashAt("before-insert")),
            Fault::App(App::CrashAt("after-script")),
            Fault::Change(Change::LowerAndCrashAt("lowering-announced")),
            Fault::App(App::KillAll),
            Fault::App(App::CrashAt("after-commit")),
        ],
    ),
    scenario(
        "rebuild-crashes",
        1,
        &[
            Fault::Rebuild("rebuild-begun", Trigger::Restart),
            Fault::Rebuild("rebuild-raised", Trigger::Flush),
            Fault::Rebuild("rebuild-drained", Trigger::Restart),
            Fault::Rebuild("rebuild-forgotten", Trigger::Flush),
        ],
    ),
    scenario(
        "rebuild-crashes-of-two",
        2,
        &[
            Fault::Rebuild("rebuild-loaded", Trigger::Flush),
            Fault::Rebuild("rebuild-finished", Trigger::Flush),
            Fault::Rebuild("rebuild-forgotten", Trigger::Flush),
        ],
    ),
    scenario(
        "second-losses",
        2,
        &[
            Fault::Redis(Redis::FlushTwice),
            Fault::Redis(Redis::FlushAndFreezeApp),
            Fault::Redis(Redis::FlushTwice),
            Fault::Redis(Redis::Older),
        ],
    ),
    scenario(
        "held-up",
        2,
        &[
            Fault::Redis(Redis::FlushAndLockCoupon),
            Fault::Redis(Redis::FreezeAppThenFlush),
            Fault::Redis(Redis::FlushAndLockCoupon),
        ],
    ),
    scenario(
        "cut-off",
        2,
        &[
            Fault::Redis(Redis::FlushAndIsolate),
            Fault::Redis(Redis::FlushAndCutOffMysql),
            Fault::Network(Server::Both, Trouble::LongBlackHole),
        ],
    ),
    scenario(
        "overtaken",
        2,
        &[
            Fault::Overtaken("rebuild-loaded", "rebuild-begun"),
            Fault::Overtaken("rebuild-drained", "rebuild-raised"),
            Fault::Overtaken("rebuild-raised", "rebuild-loaded"),
            Fault::Overtaken("rebuild-loaded", "rebuild-begun"),
        ],
    ),
    scenario("woken", 2, &[Fault::Woken("rebuild-loaded"), Fault::Woken("rebuild-finished")]),
    scenario("unpromised", 2, &[Fault::Unpromised(Frozen::Claiming), Fault::Unpromised(Frozen::Claiming)]),
    scenario("swept", 2, &[Fault::Unpromised(Frozen::Sweeping)]),
    scenario(
        "frozen",
        2,
        &[
            Fault::Redis(Redis::Freeze),
            Fault::App(App::Freeze),
            Fault::App(App::FreezeLong),
            Fault::Redis(Redis::ForgetScripts),
        ],
    ),
    scenario(
        "mysql",
        2,
        &[
            Fault::Mysql(Mysql::HangUpInTransactions),
            Fault::Mysql(Mysql::Deadlocks),
            Fault::Mysql(Mysql::ReadOnly),
            Fault::Mysql(Mysql::Restart),
            Fault::Mysql(Mysql::Lock),
            Fault::Mysql(Mysql::LockCoupon),
            Fault::Mysql(Mysql::HangUp),
        ],
    ),
    short(
        "network",
        2,
        &[
            Fault::Network(Server::Redis, Trouble::Resets),
            Fault::Network(Server::Redis, Trouble::BlackHole),
            Fault::Network(Server::Mysql, Trouble::CutAnswers),
            Fault::Network(Server::Redis, Trouble::CutRequests),
        ],
    ),
    scenario(
        "slow-network",
        2,
        &[
            Fault::Network(Server::Redis, Trouble::Delays),
            Fault::Network(Server::Redis, Trouble::CutAnswers),
            Fault::Network(Server::Both, Trouble::Delays),
            Fault::Network(Server::Mysql, Trouble::BlackHole),
            Fault::Network(Server::Mysql, Trouble::CutRequests),
            Fault::Network(Server::Mysql, Trouble::Resets),
        ],
    ),
    scenario(
        "memory",
        2,
        &[
            Fault::Redis(Redis::OutOfMemory),
            Fault::Redis(Redis::FlushAndRunOut),
            Fault::Redis(Redis::Flush),
            Fault::Change(Change::Lower),
        ],
    ),
    scenario(
        "two-at-once",
        2,
        &[
            Fault::During(Lasting::MysqlAway, &Fault::Redis(Redis::Flush)),
            Fault::During(Lasting::CouponsLocked, &Fault::Redis(Redis::Restart)),
            Fault::During(Lasting::Slow, &Fault::Redis(Redis::Older)),
        ],
    ),
    scenario(
        "more-at-once",
        2,
        &[
            Fault::During(Lasting::MysqlLocked, &Fault::App(App::KillAll)),
            Fault::During(Lasting::CutOffFromRedis, &Fault::Redis(Redis::Empty)),
            Fault::During(Lasting::MysqlAway, &Fault::App(App::Kill)),
        ],
    ),
];

impl Scenario {
    /// `what`: `short`, `all`, or names.
    pub fn is_chosen(&self, what: &str) -> bool {
        what == "all" || what == "short" && self.short || what.split(' ').any(|name| name == self.name)
    }
}

/// What a random run draws from; those that take half a minute are left to their scenarios.
const RANDOM: [Fault; 27] = [
    Fault::App(App::Kill),
    Fault::App(App::KillAll),
    Fault::App(App::KillEverything),
    Fault::App(App::CrashAt("after-script")),
    Fault::App(App::CrashAt("before-commit")),
    Fault::App(App::CrashAt("after-commit")),
    Fault::App(App::Freeze),
    Fault::Change(Change::RaiseAndCrashAt("change-committed")),
    Fault::Change(Change::LowerAndCrashAt("lowered-in-redis")),
    Fault::Change(Change::Window),
    Fault::Redis(Redis::Freeze),
    Fault::Redis(Redis::ForgetScripts),
    Fault::Redis(Redis::OutOfMemory),
    Fault::Redis(Redis::FlushTwice),
    Fault::Redis(Redis::FlushAndRunOut),
    Fault::Redis(Redis::FlushAndFreezeApp),
    Fault::Redis(Redis::FlushAndLockCoupon),
    Fault::Mysql(Mysql::HangUpInTransactions),
    Fault::Mysql(Mysql::Restart),
    Fault::Mysql(Mysql::ReadOnly),
    Fault::Mysql(Mysql::Deadlocks),
    Fault::Network(Server::Redis, Trouble::Resets),
    Fault::Network(Server::Redis, Trouble::BlackHole),
    Fault::Network(Server::Redis, Trouble::CutRequests),
    Fault::Network(Server::Redis, Trouble::CutAnswers),
    Fault::Network(Server::Mysql, Trouble::CutAnswers),
    Fault::Network(Server::Both, Trouble::Delays),
];
/// And what it draws alone, or while one of [`LASTING`] goes on.
const DURING: [Fault; 7] = [
    Fault::App(App::Kill),
    Fault::App(App::Freeze),
    Fault::Redis(Redis::Restart),
    Fault::Redis(Redis::Flush),
    Fault::Redis(Redis::Empty),
    Fault::Redis(Redis::Older),
    Fault::Redis(Redis::Truncated),
];
const LASTING: [Lasting; 6] = [
    Lasting::MysqlAway,
    Lasting::MysqlLocked,
    Lasting::CouponsLocked,
    Lasting::CutOffFromMysql,
    Lasting::CutOffFromRedis,
    Lasting::Slow,
];

fn draw(random: &mut Random) -> Fault {
    match random.below(3) {
        0 => *random.pick(&RANDOM),
        1 => *random.pick(&DURING),
        _ => Fault::During(*random.pick(&LASTING), random.pick(&DURING)),
    }
}

/// Runs a scenario and judges it; the history stays in the folder that is given back.
pub async fn run(scenario: &Scenario, seed: u64) -> (Verdict, PathBuf) {
    run_faults(scenario.name, scenario.instances, scenario.faults, seed).await
}

/// Runs faults drawn from the seed.
pub async fn run_random(seed: u64) -> (Verdict, PathBuf) {
    let mut random = Random::new(seed);
    let instances = 1 + random.index(2);
    let faults: Vec<Fault> = (0..RANDOM_FAULTS).map(|_| draw(&mut random)).collect();
    run_faults("random", instances, &faults, seed).await
}

async fn run_faults(name: &str, instances: usize, faults: &[Fault], seed: u64) -> (Verdict, PathBuf) {
    let folder = runs_folder().join(format!("{seed}-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("target can be written");
    let (began, mut random) = (Instant::now(), Random::new(seed));
    let mut world = World::start(&folder, instances).await;
    let (enough, stop) = (CancellationToken::new(), CancellationToken::new());
    let claiming = tokio::spawn(Arc::clone(&world.crowd).claim_until(random.split(), enough.clone()));
    let sampling = tokio::spawn(world.sampling(stop.clone()));
    for fault in faults {
        tokio::time::sleep(random.millis(PAUSE_MS.0, PAUSE_MS.1)).await;
        fault.strike(&mut world, &mut random).await;
        // A loss is noticed by the next attempt.
        tokio::time::sleep(NOTICED).await;
        world.ready().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    enough.cancel();
    claiming.await.expect("customers do not panic");
    let settled = world.settle().await;
    stop.cancel();
    sampling.await.expect("looking does not panic");
    let text = serde_json::to_string(&settled).expect("it is JSON");
    std::fs::write(folder.join("settled.json"), text).expect("the run's folder can be written");
    let verdict = checker::check(&world.recorder.events(), &settled);
    eprintln!("faults: {name}, seed {seed}, {:.1} s: {verdict}", began.elapsed().as_secs_f64());
    (verdict, folder)
}
