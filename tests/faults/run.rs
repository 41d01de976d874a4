//! Runs a scenario, or random faults, against a world of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::checker::{self, Verdict};
use crate::drawn;
use crate::random::Random;
use crate::scenarios::Scenario;
use crate::servers::runs_folder;
use crate::setup::{Layout, Setup};
use crate::world::World;

/// The pause before a fault, in ms.
const PAUSE_MS: (u64, u64) = (300, 2_000);
/// Time for an instance to notice missing data in Redis and to report itself as not ready.
const NOTICED: Duration = Duration::from_millis(500);

/// Runs a scenario and judges it. Returns the verdict and the folder with the history.
pub async fn run(scenario: &Scenario<'_>, seed: u64) -> (Verdict, PathBuf) {
    run_faults(scenario, seed).await
}

/// Runs faults drawn from the seed.
pub async fn run_random(seed: u64) -> (Verdict, PathBuf) {
    let mut random = Random::new(seed);
    let instances = 1 + random.index(2);
    let faults = drawn::faults(&mut random);
    let random = Scenario { name: "random", layout: Layout::Single, instances, faults: &faults, short: false };
    run_faults(&random, seed).await
}

async fn run_faults(scenario: &Scenario<'_>, seed: u64) -> (Verdict, PathBuf) {
    let Scenario { name, layout, instances, faults, .. } = *scenario;
    let folder = runs_folder().join(format!("{seed}-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("target can be written");
    let (began, mut random) = (Instant::now(), Random::new(seed));
    let mut world = World::start(&folder, instances, Setup::of(faults, layout, instances, &folder)).await;
    let (stop_claiming, stop_sampling) = (CancellationToken::new(), CancellationToken::new());
    let claiming = tokio::spawn(Arc::clone(&world.crowd).claim_until(random.split(), stop_claiming.clone()));
    let sampling = tokio::spawn(world.sample_until(stop_sampling.clone()));
    for fault in faults {
        tokio::time::sleep(random.millis(PAUSE_MS.0, PAUSE_MS.1)).await;
        if layout != Layout::Single {
            eprintln!("faults: {name}, {:.1} s: {fault:?}", began.elapsed().as_secs_f64());
        }
        fault.strike(&mut world, &mut random).await;
        // An instance notices a loss at its next attempt.
        tokio::time::sleep(NOTICED).await;
        world.wait_until_ready().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop_claiming.cancel();
    claiming.await.expect("customers do not panic");
    let settled = world.settle().await;
    stop_sampling.cancel();
    sampling.await.expect("sampling does not panic");
    let text = serde_json::to_string(&settled).expect("the stores' contents are JSON");
    std::fs::write(folder.join("settled.json"), text).expect("the run's folder can be written");
    let verdict = checker::check(&world.recorder.events(), &settled);
    eprintln!("faults: {name}, seed {seed}, {:.1} s: {verdict}", began.elapsed().as_secs_f64());
    (verdict, folder)
}
