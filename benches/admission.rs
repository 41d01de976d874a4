//! Time that admission and the gate add to a claim: `cargo bench --bench admission`.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use couponrush::admission::{Admission, AttemptLimits};
use couponrush::base::{now_ms, now_seconds};
use couponrush::claim::Gate;
use couponrush::domain::{Address, Epoch, RateShare, Subject, UserId};
use couponrush::memory::{Blacklist, BlacklistLimits, LimitShare, Limits, Setting, Settings};
use couponrush::mysql::Db;
use couponrush::redis::Live;
use couponrush::{config, mysql as db};
use criterion::{Criterion, criterion_group, criterion_main};

/// Users of a big sale, and claims per millisecond.
const USERS: u64 = 1_000_000;
const CLAIMS_PER_MS: u64 = 100;
/// The default of the program.
const IN_FLIGHT_MAX: usize = 20_000;

/// Admission with a database that is never queried.
fn admission(limits: &Limits, blocked: u64) -> Admission {
    let wait = Duration::from_secs(1);
    let db_limits = db::DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
    let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, db_limits)
        .expect("a pool opens no connection when it is made");
    let share = LimitShare::new(db.clone(), RateShare::Divided);
    let settings = Settings::new(db.clone(), Limits::default());
    settings.anticipate(&Setting::Limits(limits.clone()));
    let max = usize::try_from(blocked).expect("few");
    let blacklist = Blacklist::new(db, BlacklistLimits { blocks_max: max, offenders_waiting_max: max });
    for n in 0..blocked {
        let subject = match n % 2 {
            0 => Subject::User(UserId(USERS + n)),
            _ => Subject::Address(address(USERS + n)),
        };
        blacklist.block_offender(subject, now_seconds(), 3_600);
    }
    let attempts = AttemptLimits {
        failed_logins_of_name: 10,
        failed_logins_of_address: 100,
        registrations_of_address: 0,
        keys_max: config::RATE_KEYS_MAX,
    };
    Admission::new(Arc::new(settings), Arc::new(blacklist), Arc::new(share), attempts, 0)
}

fn address(n: u64) -> Address {
    Address::new(IpAddr::from(u32::try_from(n).expect("few").to_be_bytes()))
}

/// Reads the clock as a handler does, but passes a simulated time. The simulated time advances at the rate of a busy
/// service. The loop makes ten times as many claims, so with the real time admission would remember ten times as many
/// users.
fn claims(criterion: &mut Criterion) {
    let everything = Limits { ip_per_second: 10, ip_per_minute: 100, ..Limits::default() };
    let cases = [
        ("the default limits, a million users", admission(&Limits::default(), 0)),
        ("limits for addresses too, and 1000 blocks", admission(&everything, 1_000)),
    ];
    for (name, admission) in cases {
        let (start_ms, mut claims) = (now_ms(), 0);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                claims += 1;
                // Successive users are far apart, so that no cache helps.
                let user = claims * 1_037_389 % USERS;
                black_box(now_ms());
                black_box(admission.claim(UserId(user), || address(user), start_ms + claims / CLAIMS_PER_MS))
            });
        });
    }
    let gate = Gate::new(IN_FLIGHT_MAX);
    gate.open(Live::new("the process", Epoch(1)));
    criterion.bench_function("entering and leaving the gate", |bencher| {
        bencher.iter(|| {
            let pass = gate.enter().expect("the gate is open and empty");
            pass.note(black_box(Duration::from_millis(1)));
        });
    });
    let admission = admission(&Limits::default(), 0);
    criterion.bench_function("a user over the limit", |bencher| {
        bencher.iter(|| black_box(admission.claim(UserId(1), || address(1), now_ms())));
    });
}

criterion_group!(benches, claims);
criterion_main!(benches);
