//! The fault suite. It kills, empties, freezes, cuts off and slows down real servers while customers claim. Then a
//! checker compares the customers' answers and the stored data with the invariants. docs/FAULTS.md explains how to run
//! the suite and to read its results.
//!
//! The suite needs redis-server, and mariadbd or mysqld, and the program built with the feature `crash-points`. It starts its own
//! servers.

mod checker;
mod clients;
#[path = "../api/helpers/clock.rs"]
mod clock;
mod clocks;
mod drawn;
mod history;
mod instance;
mod mysql;
mod nemesis;
mod network;
#[path = "../api/helpers/ports.rs"]
mod ports;
mod pressure;
mod proxy;
mod random;
mod run;
mod scenarios;
mod servers;
mod setup;
#[path = "../api/helpers/sql_program.rs"]
mod sql_program;
mod stores;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use checker::{Total, Verdict};
use history::Event;

/// The seed without `FAULTS_SEED`.
const SEED: u64 = 1;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

/// Judges an earlier run again, from the files in its folder.
fn judge(folder: &Path) -> Verdict {
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let event = |line| serde_json::from_str(line).expect("each line is an event");
    let history: Vec<Event> = read("history.jsonl").lines().map(event).collect();
    let settled = serde_json::from_str(&read("settled.json")).expect("a run has written settled.json");
    checker::check(&history, &settled)
}

/// Runs the scenarios named by `FAULTS_RUN`: `short` (the default), `all` with single stores, `cluster`,
/// names of scenarios, or `random`. A `random` run
/// lasts for `FAULTS_SECONDS` and until `FAULTS_COUNT` faults have struck. With `FAULTS_JUDGE` nothing runs: an earlier run is
/// judged again from the files in that folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_invariants_hold_whatever_dies() {
    let chosen = setting("FAULTS_RUN").unwrap_or_else(|| "short".to_owned());
    let seed = number("FAULTS_SEED").unwrap_or(SEED);
    let mut total = Total::default();
    if let Some(folder) = setting("FAULTS_JUDGE") {
        let verdict = judge(Path::new(&folder));
        eprintln!("faults: {folder}: {verdict}");
        assert!(verdict.violations.is_empty(), "invariants are violated");
        return;
    }
    if chosen == "random" {
        let count = number("FAULTS_COUNT").unwrap_or(0);
        let seconds = number("FAULTS_SECONDS").unwrap_or(if count == 0 { 60 } else { 0 });
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until || total.faults < count {
            let (verdict, folder) = run::run_random(seed + total.runs).await;
            total.add(&verdict, &folder);
        }
    }
    for scenario in scenarios::chosen(&chosen) {
        let (verdict, folder) = run::run(scenario, seed).await;
        total.add(&verdict, &folder);
    }
    assert!(total.runs > 0, "FAULTS_RUN={chosen:?} names no scenario: {:?}", scenarios::names());
    eprintln!("faults: {total}");
    assert!(total.broken.is_empty(), "invariants are violated; see {:?}", total.broken);
}
