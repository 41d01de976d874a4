//! The fault suite: real servers are killed, emptied, frozen, cut off and slowed down while customers claim, and a checker
//! judges by the invariants what they were told and what is stored. docs/FAULTS.md says how to run it and read it.
//!
//! It needs redis-server and mariadbd, and the program with the feature `crash-points`; it starts servers of its own.

mod checker;
mod clients;
mod history;
mod mysql;
mod nemesis;
#[path = "../api/helpers/ports.rs"]
mod ports;
mod pressure;
mod proxy;
mod random;
mod scenarios;
mod servers;
mod stores;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use checker::{Total, Verdict};
use history::Event;
use scenarios::SCENARIOS;

/// Unless `FAULTS_SEED` says otherwise.
const SEED: u64 = 1;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Judges a run again by what it has left in its folder.
fn judge(folder: &Path) -> Verdict {
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let event = |line| serde_json::from_str(line).expect("a line is an event");
    let history: Vec<Event> = read("history.jsonl").lines().map(event).collect();
    let settled = serde_json::from_str(&read("settled.json")).expect("it was written by a run");
    checker::check(&history, &settled)
}

/// `FAULTS_JUDGE`: no run, but the verdict on what an earlier one has left in this folder. `FAULTS_RUN`: `short` (unless said otherwise), `all`, names of scenarios, or `random`: for `FAULTS_SECONDS` and until
/// `FAULTS_COUNT` faults have struck.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_invariants_hold_whatever_dies() {
    let what = setting("FAULTS_RUN").unwrap_or_else(|| "short".to_owned());
    let seed = number("FAULTS_SEED").unwrap_or(SEED);
    let mut total = Total::default();
    if let Some(folder) = setting("FAULTS_JUDGE") {
        let verdict = judge(Path::new(&folder));
        eprintln!("faults: {folder}: {verdict}");
        assert!(verdict.violations.is_empty(), "invariants are violated");
        return;
    }
    if what == "random" {
        let count = number("FAULTS_COUNT").unwrap_or(0);
        let seconds = number("FAULTS_SECONDS").unwrap_or(if count == 0 { 60 } else { 0 });
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until || total.faults < count {
            let (verdict, folder) = scenarios::run_random(seed + total.runs).await;
            total.add(&verdict, &folder);
        }
    }
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.is_chosen(&what)) {
        let (verdict, folder) = scenarios::run(scenario, seed).await;
        total.add(&verdict, &folder);
    }
    assert!(total.runs > 0, "FAULTS_RUN={what:?} names no scenario: {:?}", SCENARIOS.map(|scenario| scenario.name));
    eprintln!("faults: {total}");
    assert!(total.broken.is_empty(), "invariants are violated; see {:?}", total.broken);
}
