//! Two releases side by side, a roll-back, and raising the format.

use couponrush::config::KnownFormat;
use couponrush::domain::Format;
use couponrush::mysql::shards;

use crate::helpers::{Customer, Got, Stores, TestApp, customers, eventually, raise_format, rush, without_rates};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
/// The beat of release 0.1.0, which knows format 1 only.
const BEAT_OF_0_1_0: &str = "INSERT INTO instances \
    (instance, process, beat_at, acknowledged_epoch, oldest_entry, redis_run_id, redis_address) \
    VALUES ('old/10.0.0.1:1', 'feed', NOW(3), 0, NULL, '', '') ON DUPLICATE KEY UPDATE process = VALUES(process), \
    beat_at = NOW(3)";

async fn app(format: KnownFormat) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_with(|args| {
        without_rates(args);
        args.format = format;
    })
    .await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 1_000).await;
    let crowd = customers(&app.stores, "crowd", 400).await;
    (app, crowd)
}

async fn start(app: &mut TestApp, format: KnownFormat) {
    app.args.format = format;
    app.start_another().await;
}

async fn stop(app: &mut TestApp, instance: usize) {
    app.instances[instance].stop().await;
    app.instances.remove(instance);
}

async fn shard(stores: &Stores) -> (u8, u8) {
    let row = shards::read(&stores.db, "s0").await.expect("MySQL answers");
    (row.format.0, row.wanted_format.0)
}

/// Customers of `crowd` claim on all instances.
async fn claim(app: &TestApp, crowd: &[Customer]) {
    let clients: Vec<_> = app.instances.iter().map(|instance| instance.client.clone()).collect();
    let got = rush(&clients, crowd, ("shop", "rush"), 8, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_releases_sell_side_by_side_until_the_format_is_raised() {
    let (mut app, crowd) = app(KnownFormat::Previous).await;
    assert_eq!(shard(&app.stores).await, (1, 1), "a database of the previous release keeps its format");
    start(&mut app, KnownFormat::Newest).await;
    claim(&app, &crowd[..100]).await;
    let epoch = app.stores.live().await.epoch;
    let (done, printed) = raise_format(&app.stores).await;
    let label = app.stores.texts("SELECT label AS value FROM instances WHERE format = 1").await.concat();
    assert!(!done && printed.contains(&format!("do not know format 2: {label}. Stop them.")), "{printed}");
    assert_eq!((shard(&app.stores).await, app.stores.live().await.epoch), ((1, 1), epoch), "nothing has changed");

    // A roll-back is free.
    stop(&mut app, 1).await;
    claim(&app, &crowd[100..150]).await;
    start(&mut app, KnownFormat::Newest).await;
    stop(&mut app, 0).await;
    let (done, printed) = raise_format(&app.stores).await;
    assert!(done && printed.contains("the data has format 2"), "{printed}");
    assert_eq!(shard(&app.stores).await, (2, 2));
    assert!(app.stores.live().await.epoch > epoch, "format and epoch are raised together");
    eventually("the service is ready", || app.instances[0].ops.is_ready()).await;
    claim(&app, &crowd[150..200]).await;

    let (done, printed) = raise_format(&app.stores).await;
    assert!(done && printed == "the data has format 2 already\n", "{printed}");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_raised_database_refuses_the_previous_release() {
    let (mut app, crowd) = app(KnownFormat::Newest).await;
    assert_eq!(shard(&app.stores).await, (2, 2), "a new database starts at the newest format");
    app.args.format = KnownFormat::Previous;
    let error = couponrush::app::Application::build(&app.args).await.err().expect("the start is refused");
    let sentence = "this release knows data up to format 1, but `couponrush raise-format` has raised the database to \
                    format 2: start a release that knows it";
    assert_eq!(error.to_string(), sentence);
    let refused = app.stores.try_execute(BEAT_OF_0_1_0).await.expect_err("a constraint refuses the beat");
    assert!(refused.contains("this_release_does_not_know_format_2"), "{refused}");
    claim(&app, &crowd[..50]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_raise_that_died_halfway_refuses_the_previous_release_and_can_be_repeated() {
    let (mut app, crowd) = app(KnownFormat::Previous).await;
    start(&mut app, KnownFormat::Newest).await;
    stop(&mut app, 0).await;
    let constraint = "ALTER TABLE instances ADD CONSTRAINT this_release_does_not_know_format_2 CHECK (format >= 2)";
    app.stores.execute(constraint).await;
    assert!(app.stores.try_execute(BEAT_OF_0_1_0).await.is_err());
    claim(&app, &crowd[..50]).await;
    let (done, printed) = raise_format(&app.stores).await;
    assert!(done, "{printed}");
    assert_eq!(shard(&app.stores).await, (Format::NEWEST.0, Format::NEWEST.0));
}
