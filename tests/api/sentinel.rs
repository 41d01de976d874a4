//! Sentinels name the primary of the shard: a failover, and an instance that hears neither MySQL nor the sentinels.

use std::time::{Duration, Instant};

use crate::helpers::{
    Customer, Got, Instance, RedisSentinels, RedisServer, Relay, Stores, TestApp, customers, eventually, rush,
    without_rates,
};

const PATIENCE: Duration = Duration::from_secs(20);
const UNITS: u32 = 600;
/// Longer than the lease.
const AFTER_THE_LEASE: Duration = Duration::from_secs(6);
/// The lease of five seconds, a question, and some time for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);

async fn selling(stores: Stores) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_on(stores, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", UNITS as usize + 50).await;
    (app, crowd)
}

async fn sell(app: &TestApp, crowd: &[Customer]) -> Vec<Got> {
    rush(&[app.client().clone()], crowd, ("shop", "rush"), 8, PATIENCE).await
}

async fn gate(instance: &Instance) -> String {
    let report = instance.ops.get("/readyz", "").await.json();
    report["gate"]["state"].as_str().expect("the gate has a state").to_owned()
}

async fn run_id(redis: &RedisServer) -> String {
    let info: String = redis.command(&["INFO", "server"]).await;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a server has a run id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_is_followed_and_loses_nothing() {
    follow_failover(RedisSentinels::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sentinels_that_want_a_password_get_it() {
    follow_failover(RedisSentinels::start_with_user().await).await;
}

async fn follow_failover(mut redis: RedisSentinels) {
    let (app, crowd) = selling(Stores::create(Some(redis.url())).await).await;
    sell(&app, &crowd[..200]).await;
    let promoted = run_id(&redis.replica).await;

    redis.primary.kill();
    let got = sell(&app, &crowd[200..]).await;
    assert_eq!(got.iter().filter(|got| got.has_unit()).count(), UNITS as usize - 200);
    assert_eq!(app.stores.live().await.run_id, promoted);
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::from(UNITS));
}

/// The earlier primary goes on, takes writes, and keeps its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_that_the_sentinels_do_not_name_is_left() {
    let redis = RedisSentinels::start_with_lasting_primary().await;
    let (app, crowd) = selling(Stores::create(Some(redis.url())).await).await;
    sell(&app, &crowd[..100]).await;
    app.settle().await;
    let promoted = run_id(&redis.replica).await;
    redis.fail_over().await;
    eventually("the promoted replica is loaded", || async { app.stores.live().await.run_id == promoted }).await;
    assert!(redis.primary.takes_writes().await);
    assert!(sell(&app, &crowd[100..150]).await.iter().all(Got::has_unit));

    // Without sentinels nobody connects again, and MySQL extends the lease.
    for sentinel in &redis.sentinels {
        sentinel.freeze();
    }
    let frozen = Instant::now();
    while frozen.elapsed() < AFTER_THE_LEASE {
        assert_eq!(gate(&app.instances[0]).await, "open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for sentinel in &redis.sentinels {
        sentinel.thaw();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_without_mysql_and_sentinels_stops_selling() {
    let redis = RedisSentinels::start().await;
    let direct = Stores::create(Some(redis.url())).await;
    let mysql = Relay::start(&[direct.mysql_address()]).await;
    let (mut app, crowd) = selling(direct.at(mysql.address)).await;
    app.stores = direct;
    let instance = &app.instances[0];
    sell(&app, &crowd[..50]).await;
    app.settle().await;

    mysql.lead_to(&[]);
    app.stores.kill_connections().await;
    tokio::time::sleep(AFTER_THE_LEASE).await;
    assert!(sell(&app, &crowd[50..100]).await.iter().all(Got::has_unit), "the sentinels extend the lease");
    for sentinel in &redis.sentinels {
        sentinel.freeze();
    }
    tokio::time::timeout(CLOSED_WITHIN, async {
        while gate(instance).await != "cut-off" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the lease ends");
    assert_eq!(app.client().claim("shop", "rush", &crowd[100].token).await.error().2, "unavailable");

    mysql.lead_to(&[app.stores.mysql_address()]);
    for sentinel in &redis.sentinels {
        sentinel.thaw();
    }
    eventually("the gate opens", || async { gate(instance).await == "open" }).await;
    assert!(sell(&app, &crowd[100..150]).await.iter().all(Got::has_unit));
}
