//! Scenarios, by name. A scenario fixes the faults and their order. The seed decides when faults strike, how long they
//! last, and the customers' attempts. The kernel and the servers are not deterministic, so two runs with the same seed
//! differ.

mod cluster;

use crate::nemesis::{
    AppFault, ClockFault, Fault, Frozen, Lasting, MysqlFault, NetworkFault, OwnerFault, RedisFault, ReleaseFault,
    RowFault, SalerChange, Server, Trigger,
};
use crate::setup::Layout;
use cluster::CLUSTER;

#[derive(Debug)]
pub struct Scenario<'a> {
    pub name: &'static str,
    pub layout: Layout,
    pub instances: usize,
    pub faults: &'a [Fault],
    /// Whether `make test` runs it.
    pub short: bool,
}

const fn scenario(name: &'static str, instances: usize, faults: &'static [Fault]) -> Scenario<'static> {
    Scenario { name, layout: Layout::Single, instances, faults, short: false }
}

const fn short(name: &'static str, instances: usize, faults: &'static [Fault]) -> Scenario<'static> {
    Scenario { name, layout: Layout::Single, instances, faults, short: true }
}

const SCENARIOS: [Scenario<'static>; 38] = [
    scenario("calm", 2, &[]),
    short(
        "kills",
        2,
        &[Fault::App(AppFault::Kill), Fault::Redis(RedisFault::Restart), Fault::App(AppFault::KillEverything)],
    ),
    short(
        "losses",
        2,
        &[
            Fault::Redis(RedisFault::Flush),
            Fault::Redis(RedisFault::Empty),
            Fault::Redis(RedisFault::Older),
            Fault::Redis(RedisFault::Truncated),
        ],
    ),
    short(
        "crashes",
        1,
        &[
            Fault::App(AppFault::CrashAt("after-script")),
            Fault::App(AppFault::CrashAt("before-commit")),
            Fault::App(AppFault::CrashAt("after-commit")),
        ],
    ),
    short(
        "changes",
        2,
        &[
            Fault::Change(SalerChange::Raise),
            Fault::Change(SalerChange::Window),
            Fault::Change(SalerChange::LowerTooFar),
            Fault::Change(SalerChange::RaiseAndCrashAt("change-committed")),
            Fault::Change(SalerChange::LowerAndCrashAt("lowered-in-redis")),
        ],
    ),
    short(
        "archive",
        2,
        &[Fault::Change(SalerChange::Archive), Fault::Redis(RedisFault::Flush), Fault::Change(SalerChange::BringBack)],
    ),
    scenario(
        "archive-crashes",
        2,
        &[
            Fault::Change(SalerChange::ArchiveAndCrashAt("archive-committed")),
            Fault::Change(SalerChange::BringBack),
            Fault::Change(SalerChange::ArchiveAndCrashAt("archive-tombstone")),
            Fault::Redis(RedisFault::Restart),
            Fault::Change(SalerChange::BringBack),
            Fault::Change(SalerChange::Archive),
            Fault::App(AppFault::KillEverything),
            Fault::Redis(RedisFault::Older),
            Fault::Change(SalerChange::BringBack),
        ],
    ),
    scenario(
        "more-crashes",
        2,
        &[
            Fault::App(AppFault::CrashAt("before-insert")),
            Fault::App(AppFault::CrashAt("after-script")),
            Fault::Change(SalerChange::LowerAndCrashAt("lowering-announced")),
            Fault::App(AppFault::KillAll),
            Fault::App(AppFault::CrashAt("after-commit")),
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
            Fault::Redis(RedisFault::FlushTwice),
            Fault::Redis(RedisFault::FlushAndFreezeApp),
            Fault::Redis(RedisFault::FlushTwice),
            Fault::Redis(RedisFault::Older),
        ],
    ),
    scenario(
        "held-up",
        2,
        &[
            Fault::Redis(RedisFault::FlushAndLockCoupon),
            Fault::Redis(RedisFault::FreezeAppThenFlush),
            Fault::Redis(RedisFault::FlushAndLockCoupon),
        ],
    ),
    scenario(
        "cut-off",
        2,
        &[
            Fault::Redis(RedisFault::FlushAndIsolate),
            Fault::Redis(RedisFault::FlushAndCutOffMysql),
            Fault::Network(Server::Both, NetworkFault::LongBlackHole),
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
    short(
        "upgrade",
        2,
        &[
            Fault::Release(ReleaseFault::Upgrade(0)),
            Fault::Release(ReleaseFault::RaiseTooEarly),
            Fault::Redis(RedisFault::Restart),
            Fault::Release(ReleaseFault::Upgrade(1)),
            Fault::Release(ReleaseFault::Raise),
        ],
    ),
    scenario(
        "upgrade-and-roll-back",
        2,
        &[
            Fault::Release(ReleaseFault::UpgradeAfterDeath(1)),
            Fault::Redis(RedisFault::Flush),
            Fault::Release(ReleaseFault::RollBack(1)),
            Fault::App(AppFault::Kill),
            Fault::Release(ReleaseFault::Upgrade(1)),
            Fault::App(AppFault::Freeze),
            Fault::Release(ReleaseFault::Upgrade(0)),
            Fault::Redis(RedisFault::Empty),
            Fault::Release(ReleaseFault::Raise),
            Fault::Release(ReleaseFault::StartOutdated(0)),
        ],
    ),
    scenario(
        "three",
        3,
        &[
            Fault::App(AppFault::Kill),
            Fault::Redis(RedisFault::Flush),
            Fault::Redis(RedisFault::FlushAndFreezeApp),
            Fault::Network(Server::Redis, NetworkFault::BlackHole),
            Fault::Redis(RedisFault::Failover),
            Fault::App(AppFault::KillEverything),
        ],
    ),
    scenario(
        "foreign",
        2,
        &[
            Fault::Owner(OwnerFault::Foreign),
            Fault::Owner(OwnerFault::ForeignAndFlush),
            Fault::Owner(OwnerFault::ForeignAndFlush),
        ],
    ),
    scenario("copied", 2, &[Fault::Owner(OwnerFault::Copy), Fault::Owner(OwnerFault::CopyAndFlush)]),
    scenario("twins", 2, &[Fault::Twins, Fault::Twins]),
    scenario("went-back", 2, &[Fault::WentBack, Fault::WentBack]),
    scenario("woken", 2, &[Fault::Woken("rebuild-loaded"), Fault::Woken("rebuild-finished")]),
    scenario("unpromised", 2, &[Fault::Unpromised(Frozen::Claiming), Fault::Unpromised(Frozen::Claiming)]),
    scenario("everything-lost", 2, &[Fault::EverythingLost, Fault::EverythingLost, Fault::EverythingLost]),
    scenario("swept", 2, &[Fault::Unpromised(Frozen::Sweeping)]),
    scenario(
        "frozen",
        2,
        &[
            Fault::Redis(RedisFault::Freeze),
            Fault::App(AppFault::Freeze),
            Fault::App(AppFault::FreezeLong),
            Fault::Redis(RedisFault::ForgetScripts),
        ],
    ),
    scenario(
        "mysql",
        2,
        &[
            Fault::Mysql(MysqlFault::HangUpInTransactions),
            Fault::Mysql(MysqlFault::Deadlocks),
            Fault::Mysql(MysqlFault::ReadOnly),
            Fault::Mysql(MysqlFault::Restart),
            Fault::Mysql(MysqlFault::Lock),
            Fault::Mysql(MysqlFault::LockCoupon),
            Fault::Mysql(MysqlFault::HangUp),
        ],
    ),
    scenario(
        "switchover",
        2,
        &[
            Fault::Mysql(MysqlFault::Switchover),
            Fault::Mysql(MysqlFault::SwitchoverAndFlush),
            Fault::Mysql(MysqlFault::SwitchoverAndFlush),
            Fault::Mysql(MysqlFault::Switchover),
        ],
    ),
    scenario(
        "edited-rows",
        2,
        &[
            Fault::Rows(RowFault::Edit),
            Fault::Redis(RedisFault::Flush),
            Fault::Change(SalerChange::Raise),
            Fault::Redis(RedisFault::Empty),
            Fault::Rows(RowFault::Mend),
            Fault::Redis(RedisFault::Flush),
        ],
    ),
    scenario(
        "clocks",
        2,
        &[
            Fault::Clock(ClockFault::Redis(10)),
            Fault::Clock(ClockFault::App(3_600)),
            Fault::Clock(ClockFault::Redis(0)),
            Fault::Clock(ClockFault::Redis(-3_600)),
            Fault::Clock(ClockFault::App(-10)),
            Fault::Clock(ClockFault::Redis(0)),
            Fault::Clock(ClockFault::App(-3_600)),
        ],
    ),
    scenario(
        "clocks-of-frozen",
        2,
        &[
            Fault::Clock(ClockFault::FrozenRedis(-10)),
            Fault::Clock(ClockFault::FrozenApp(10)),
            Fault::Clock(ClockFault::FrozenRedis(0)),
            Fault::Clock(ClockFault::FrozenApp(3_600)),
            Fault::Clock(ClockFault::FrozenRedis(-3_600)),
            Fault::Clock(ClockFault::FrozenApp(0)),
        ],
    ),
    short(
        "network",
        2,
        &[
            Fault::Network(Server::Redis, NetworkFault::Resets),
            Fault::Network(Server::Redis, NetworkFault::BlackHole),
            Fault::Network(Server::Mysql, NetworkFault::CutAnswers),
            Fault::Network(Server::Redis, NetworkFault::CutRequests),
        ],
    ),
    scenario(
        "slow-network",
        2,
        &[
            Fault::Network(Server::Redis, NetworkFault::Delays),
            Fault::Network(Server::Redis, NetworkFault::CutAnswers),
            Fault::Network(Server::Both, NetworkFault::Delays),
            Fault::Network(Server::Mysql, NetworkFault::BlackHole),
            Fault::Network(Server::Mysql, NetworkFault::CutRequests),
            Fault::Network(Server::Mysql, NetworkFault::Resets),
        ],
    ),
    scenario(
        "memory",
        2,
        &[
            Fault::Redis(RedisFault::OutOfMemory),
            Fault::Redis(RedisFault::FlushAndRunOut),
            Fault::Redis(RedisFault::Flush),
            Fault::Change(SalerChange::Lower),
        ],
    ),
    short(
        "failover",
        2,
        &[
            Fault::Redis(RedisFault::Failover),
            Fault::Redis(RedisFault::Promotion),
            Fault::Redis(RedisFault::Failover),
            Fault::Redis(RedisFault::Promotion),
        ],
    ),
    scenario(
        "refused",
        2,
        &[
            Fault::Redis(RedisFault::NoReplicas),
            Fault::Redis(RedisFault::FullDisk),
            Fault::Redis(RedisFault::FullDiskWhileSyncing),
        ],
    ),
    scenario(
        "two-at-once",
        2,
        &[
            Fault::During(Lasting::MysqlAway, &Fault::Redis(RedisFault::Flush)),
            Fault::During(Lasting::CouponsLocked, &Fault::Redis(RedisFault::Restart)),
            Fault::During(Lasting::Slow, &Fault::Redis(RedisFault::Older)),
        ],
    ),
    scenario(
        "more-at-once",
        2,
        &[
            Fault::During(Lasting::MysqlLocked, &Fault::App(AppFault::KillAll)),
            Fault::During(Lasting::CutOffFromRedis, &Fault::Redis(RedisFault::Empty)),
            Fault::During(Lasting::MysqlAway, &Fault::App(AppFault::Kill)),
        ],
    ),
];

impl Scenario<'_> {
    fn is_chosen(&self, chosen: &str) -> bool {
        chosen == "short" && self.short || chosen.split(' ').any(|name| name == self.name)
    }
}

/// The scenarios that `FAULTS_RUN` selects: `short`, `all`, `cluster`, or names separated by spaces.
pub fn chosen(chosen: &str) -> Vec<&'static Scenario<'static>> {
    let single = SCENARIOS.iter().filter(|scenario| chosen == "all" || scenario.is_chosen(chosen));
    single.chain(CLUSTER.iter().filter(|scenario| chosen == "cluster" || scenario.is_chosen(chosen))).collect()
}

/// The names of all scenarios.
pub fn names() -> Vec<&'static str> {
    SCENARIOS.iter().chain(&CLUSTER).map(|scenario| scenario.name).collect()
}
