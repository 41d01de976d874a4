//! The fault suite: real servers are killed, emptied, frozen, cut off and slowed down while customers claim, and a checker
//! judges by the invariants what they were told and what is stored. docs/FAULTS.md says how to run it and read it.
//!
//! It needs redis-server and mariadbd, and the program with the feature `crash-points`; it starts servers of its own.

mod checker;
mod clients;
mod history;
mod mysql;
mod nemesis;
mod proxy;
mod random;
mod scenarios;
mod servers;
mod stores;
mod world;

use std::time::{Duration, Instant};

use scenarios::SCENARIOS;

/// Unless `FAULTS_SEED` says otherwise.
const SEED: u64 = 1;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// `FAULTS_RUN`: `short` (unless said otherwise), `all`, `random` for `FAULTS_SECONDS`, or names of scenarios.
#[cfg(feature = "crash-points")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_invariants_hold_whatever_dies() {
    let (what, seed) =
        (setting("FAULTS_RUN").unwrap_or_else(|| "short".to_owned()), number("FAULTS_SEED").unwrap_or(SEED));
    let (mut broken, mut runs) = (Vec::new(), 0);
    if what == "random" {
        let until = Instant::now() + Duration::from_secs(number("FAULTS_SECONDS").unwrap_or(60));
        while Instant::now() < until {
            let (verdict, folder) = scenarios::run_random(seed + runs).await;
            runs += 1;
            broken.extend((!verdict.violations.is_empty()).then_some(folder));
        }
    } else {
        let chosen =
            |name: &str, short: bool| what == "all" || what == "short" && short || what.split(' ').any(|n| n == name);
        for scenario in SCENARIOS.iter().filter(|scenario| chosen(scenario.name, scenario.short)) {
            let (verdict, folder) = scenarios::run(scenario, seed).await;
            runs += 1;
            broken.extend((!verdict.violations.is_empty()).then_some(folder));
        }
    }
    assert!(runs > 0, "FAULTS_RUN={what:?} names no scenario: {:?}", SCENARIOS.map(|scenario| scenario.name));
    assert!(broken.is_empty(), "invariants are violated; see {broken:?}");
}
