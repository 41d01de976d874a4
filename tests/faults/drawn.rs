//! The faults of random runs, drawn from a seed.

use crate::nemesis::{AppFault, ClockFault, Fault, Lasting, MysqlFault, NetworkFault, RedisFault, SalerChange, Server};
use crate::random::Random;

/// Faults in a random run. More faults would strike after all units are sold.
const FAULTS: usize = 6;
/// Faults drawn alone in a random run. Faults of half a minute are left to the scenarios.
const RANDOM: [Fault; 42] = [
    Fault::App(AppFault::Kill),
    Fault::App(AppFault::KillAll),
    Fault::App(AppFault::KillEverything),
    Fault::App(AppFault::CrashAt("after-script")),
    Fault::App(AppFault::CrashAt("before-commit")),
    Fault::App(AppFault::CrashAt("after-commit")),
    Fault::App(AppFault::Freeze),
    Fault::Change(SalerChange::RaiseAndCrashAt("change-committed")),
    Fault::Change(SalerChange::LowerAndCrashAt("lowered-in-redis")),
    Fault::Change(SalerChange::Window),
    Fault::Change(SalerChange::Archive),
    Fault::Change(SalerChange::BringBack),
    Fault::Change(SalerChange::ArchiveAndCrashAt("archive-committed")),
    Fault::Redis(RedisFault::Freeze),
    Fault::Redis(RedisFault::ForgetScripts),
    Fault::Redis(RedisFault::OutOfMemory),
    Fault::Redis(RedisFault::NoReplicas),
    Fault::Redis(RedisFault::FullDisk),
    Fault::Redis(RedisFault::FullDiskWhileSyncing),
    Fault::Redis(RedisFault::Failover),
    Fault::Redis(RedisFault::Promotion),
    Fault::Redis(RedisFault::FlushTwice),
    Fault::Redis(RedisFault::FlushAndRunOut),
    Fault::Redis(RedisFault::FlushAndFreezeApp),
    Fault::Redis(RedisFault::FlushAndLockCoupon),
    Fault::Mysql(MysqlFault::HangUpInTransactions),
    Fault::Mysql(MysqlFault::Restart),
    Fault::Mysql(MysqlFault::ReadOnly),
    Fault::Mysql(MysqlFault::Deadlocks),
    Fault::Mysql(MysqlFault::Switchover),
    Fault::Mysql(MysqlFault::SwitchoverAndFlush),
    Fault::Clock(ClockFault::Redis(10)),
    Fault::Clock(ClockFault::Redis(-10)),
    Fault::Clock(ClockFault::App(3_600)),
    Fault::Clock(ClockFault::App(-3_600)),
    Fault::Clock(ClockFault::FrozenApp(10)),
    Fault::Network(Server::Redis, NetworkFault::Resets),
    Fault::Network(Server::Redis, NetworkFault::BlackHole),
    Fault::Network(Server::Redis, NetworkFault::CutRequests),
    Fault::Network(Server::Redis, NetworkFault::CutAnswers),
    Fault::Network(Server::Mysql, NetworkFault::CutAnswers),
    Fault::Network(Server::Both, NetworkFault::Delays),
];
/// Faults drawn alone in a random run, or together with a condition of [`LASTING`].
const DURING: [Fault; 7] = [
    Fault::App(AppFault::Kill),
    Fault::App(AppFault::Freeze),
    Fault::Redis(RedisFault::Restart),
    Fault::Redis(RedisFault::Flush),
    Fault::Redis(RedisFault::Empty),
    Fault::Redis(RedisFault::Older),
    Fault::Redis(RedisFault::Truncated),
];
const LASTING: [Lasting; 6] = [
    Lasting::MysqlAway,
    Lasting::MysqlLocked,
    Lasting::CouponsLocked,
    Lasting::CutOffFromMysql,
    Lasting::CutOffFromRedis,
    Lasting::Slow,
];

/// The faults of a random run.
pub fn faults(random: &mut Random) -> Vec<Fault> {
    (0..FAULTS).map(|_| draw(random)).collect()
}

fn draw(random: &mut Random) -> Fault {
    match random.below(3) {
        0 => *random.pick(&RANDOM),
        1 => *random.pick(&DURING),
        _ => Fault::During(*random.pick(&LASTING), random.pick(&DURING)),
    }
}
