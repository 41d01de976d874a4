//! Who a rebuild waits for: whoever may still have claims in his hands.

use std::time::{Duration, Instant};

use crate::helpers::{TestApp, eventually};

/// A row of another instance that last beat in MySQL two minutes ago.
const SILENT: &str = "INSERT INTO instances (instance, process, beat_at) \
    VALUES ('elsewhere/10.0.0.1:1', 'feed', NOW(3) - INTERVAL 120 SECOND)";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_waits_for_an_instance_that_has_lost_mysql_but_shows_in_redis() {
    let app = TestApp::start().await;
    let keys = app.stores.keys();
    app.stores.execute(SILENT).await;
    app.stores.redis::<()>(redis::cmd("SET").arg(keys.beat("feed")).arg(1).arg("PX").arg(4_000)).await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(keys.live())).await;
    eventually("selling stops", || async { !app.client().is_ready().await }).await;
    let stopped = Instant::now();
    eventually("selling goes on", || async { app.client().is_ready().await }).await;
    // Its last beat, and ten seconds in which it might have shown again.
    assert!(stopped.elapsed() > Duration::from_secs(12), "it was not waited for: {:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_of_a_dead_instance_goes_and_that_of_one_that_shows_in_redis_stays() {
    let app = TestApp::start().await;
    app.stores.execute(SILENT).await;
    app.stores.execute(&SILENT.replace("10.0.0.1", "10.0.0.2").replace("feed", "beef")).await;
    app.stores.redis::<()>(redis::cmd("SET").arg(app.stores.keys().beat("beef")).arg(1)).await;
    let rows = "SELECT process AS value FROM instances WHERE instance LIKE 'elsewhere%'";
    eventually("one row is gone", || async { app.stores.texts(rows).await.len() < 2 }).await;
    assert_eq!(app.stores.texts(rows).await, ["beef"]);
}

/// What is in the outbox may be a dead instance's: until it is stored, a rebuild must listen for who else may have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_of_a_dead_instance_stays_while_the_outbox_has_what_may_be_its() {
    let app = TestApp::start().await;
    let (keys, stores) = (app.stores.keys(), &app.stores);
    // Nobody sweeps while somebody else does.
    stores.redis::<()>(redis::cmd("SET").arg(keys.sweeper()).arg("another").arg("PX").arg(60_000)).await;
    let entry = format!("{}-0", couponrush::now_ms() - 115_000);
    stores.redis::<String>(redis::cmd("XADD").arg(keys.outbox()).arg(entry).arg("c").arg("nonsense")).await;
    stores.execute(SILENT).await;
    let rows = "SELECT COUNT(*) FROM instances WHERE instance LIKE 'elsewhere%'";
    // Long enough for the dead to be looked for twice.
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(stores.number(rows).await, 1, "what it may have left is not stored yet");
    stores.redis::<()>(redis::cmd("DEL").arg(keys.sweeper())).await;
    eventually("it is stored, and the row is gone", || async { stores.number(rows).await == 0 }).await;
    stores.execute("DELETE FROM poisoned_claims").await; // it is none, and was put aside
}
