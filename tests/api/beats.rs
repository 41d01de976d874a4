//! A rebuild waits for every instance with claims possibly not stored yet.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use couponrush::domain::{Epoch, Format, ShardId};
use couponrush::mysql::instances::{self, InstanceState, Process};

use crate::helpers::{TestApp, eventually};

/// Inserts the row of an instance with a last beat in MySQL two minutes ago.
const SILENT: &str = "INSERT INTO instances (instance, process, beat_at, format) \
    VALUES ('elsewhere/10.0.0.1:1', 'feed', NOW(3) - INTERVAL 120 SECOND, 2)";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_waits_for_an_instance_that_has_lost_mysql_but_shows_in_redis() {
    let app = TestApp::start().await;
    let keys = app.stores.keys();
    app.stores.execute(SILENT).await;
    app.stores.redis::<()>(redis::cmd("SET").arg(keys.beat("feed")).arg(1).arg("PX").arg(4_000)).await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(keys.live())).await;
    eventually("the gate closes", || async { !app.client().is_ready().await }).await;
    let stopped = Instant::now();
    eventually("the gate opens again", || async { app.client().is_ready().await }).await;
    // At least until the last beat expires, and ten seconds more. The instance could beat again in that time.
    assert!(stopped.elapsed() > Duration::from_secs(12), "the rebuild waited only {:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_of_a_dead_instance_goes_and_that_of_one_that_shows_in_redis_stays() {
    let app = TestApp::start().await;
    app.stores.execute(SILENT).await;
    app.stores.execute(&SILENT.replace("10.0.0.1", "10.0.0.2").replace("feed", "beef")).await;
    app.stores.redis::<()>(redis::cmd("SET").arg(app.stores.keys().beat("beef")).arg(1)).await;
    let rows = "SELECT process AS value FROM instances WHERE instance LIKE 'elsewhere%'";
    eventually("one of the two rows is deleted", || async { app.stores.texts(rows).await.len() < 2 }).await;
    assert_eq!(app.stores.texts(rows).await, ["beef"]);
}

/// Entries of the outbox may belong to a dead instance. Its row must stay until they are stored, so that a rebuild
/// knows the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_of_a_dead_instance_stays_while_the_outbox_has_what_may_be_its() {
    let app = TestApp::start().await;
    let (keys, stores) = (app.stores.keys(), &app.stores);
    // The instance does not sweep while a different process holds the sweeper's key. Without a TTL, because a TTL of over
    // three seconds counts for nothing.
    stores.redis::<()>(redis::cmd("SET").arg(keys.sweeper()).arg("another")).await;
    let entry = format!("{}-0", couponrush::base::now_ms() - 115_000);
    stores.redis::<String>(redis::cmd("XADD").arg(keys.outbox()).arg(entry).arg("c").arg("nonsense")).await;
    stores.execute(SILENT).await;
    let rows = "SELECT COUNT(*) FROM instances WHERE instance LIKE 'elsewhere%'";
    // Time for two searches for dead instances.
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(stores.number(rows).await, 1, "a claim of the dead instance may be in the outbox");
    stores.redis::<()>(redis::cmd("DEL").arg(keys.sweeper())).await;
    eventually("the entry is settled and the row is deleted", || async { stores.number(rows).await == 0 }).await;
    stores.redis::<()>(redis::cmd("DEL").arg(keys.unread())).await; // the entry cannot be read, and is kept
}

/// Cloned machines have the same host name and listen address.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_waits_for_both_of_two_instances_with_the_same_name() {
    let app = TestApp::start().await;
    let stores = &app.stores;
    let twins = ["a1", "b2"].map(|id| Process {
        id: id.to_owned(),
        label: "clone/10.0.0.1:80".to_owned(),
        format: Format::NEWEST,
    });
    let beat = async |twin: &Process, acknowledged| {
        let state = InstanceState {
            beat_number: 0,
            acknowledged: Epoch(acknowledged),
            oldest: None,
            redis_run_id: String::new(),
            redis_address: String::new(),
        };
        instances::beat(&stores.db, twin, &[(ShardId::FIRST, state)]).await.expect("MySQL takes the beat");
    };
    let acknowledged = [AtomicU32::new(0), AtomicU32::new(0)];
    let beats = async {
        loop {
            for (twin, acknowledged) in twins.iter().zip(&acknowledged) {
                beat(twin, acknowledged.load(Ordering::SeqCst)).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let steps = async {
        eventually("both beat", async || stores.number("SELECT COUNT(*) FROM instances").await == 3).await;
        stores.redis::<()>(redis::cmd("DEL").arg(stores.keys().live())).await;
        eventually("the gate closes", || async { !app.client().is_ready().await }).await;
        for acknowledgement in &acknowledged {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(!app.client().is_ready().await, "the rebuild has not waited for both");
            acknowledgement.store(1_000, Ordering::SeqCst);
        }
        eventually("the gate opens again", || async { app.client().is_ready().await }).await;
    };
    tokio::select! {
        () = steps => {}
        () = beats => {}
    }
    for twin in &twins {
        instances::leave(&stores.db, twin).await.expect("MySQL deletes the row");
    }
}
