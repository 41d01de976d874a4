//! Recovery under load: Redis is flushed, killed, or without scripts while the service runs.

use std::time::{Duration, Instant};

use couponrush::claim::Doubt;
use couponrush::domain::{CouponId, Epoch};
use couponrush::redis::{Attempt, Live, Taken};
use tokio::task::JoinHandle;

use crate::helpers::{
    Client, Customer, Got, RedisServer, Stores, TestApp, customers, eventually, proof, rush, without_rates,
};

const PATIENCE: Duration = Duration::from_secs(30);
const UNITS: u32 = 3_000;

/// A service with a separate Redis server, a coupon `shop/rush`, and a crowd of 500 more customers than units.
async fn selling(redis: &RedisServer) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", UNITS as usize + 500).await;
    (app, crowd)
}

/// Starts a crowd of customers. They claim, and repeat attempts answered with 503.
fn start_rush(clients: &[Client], crowd: &[Customer]) -> JoinHandle<Vec<Got>> {
    let (clients, crowd) = (clients.to_vec(), crowd.to_vec());
    tokio::spawn(async move { rush(&clients, &crowd, ("shop", "rush"), 16, PATIENCE).await })
}

async fn until_rows(app: &TestApp, count: i64) {
    eventually("so many claims are rows", || async { app.stores.number("SELECT COUNT(*) FROM claims").await >= count })
        .await;
}

/// Asserts that every unit was sold once, to the customer with its token, and that the rest got `sold-out`.
async fn assert_exact(app: &TestApp, crowd: &[Customer], got: &[Got]) {
    let with_unit = got.iter().filter(|got| got.has_unit()).count();
    let sold_out = got.iter().filter(|got| got.result() == "sold-out").count();
    assert_eq!((with_unit, sold_out), (UNITS as usize, 500));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
    let rows = app.stores.texts("SELECT CONCAT(user_id, ':', seq) AS value FROM claims").await;
    let rows: std::collections::HashSet<String> = rows.into_iter().collect();
    for (customer, got) in crowd.iter().zip(got).filter(|(_, got)| got.has_unit()) {
        let row = format!("{}:{}", customer.user.id, proof(got.answer.as_ref().expect("answered")).seq);
        assert!(rows.contains(&row), "{got:?} is not stored");
    }
    assert_eq!(rows.len(), UNITS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forgotten_scripts_are_loaded_again_and_nobody_notices() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    app.stores.redis::<()>(redis::cmd("SCRIPT").arg("FLUSH")).await;
    assert_eq!(app.client().list("shop", &crowd[0].token).await.status, 200);
    let running = start_rush(&[app.client().clone()], &crowd);
    while !running.is_finished() {
        app.stores.redis::<()>(redis::cmd("SCRIPT").arg("FLUSH")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let got = running.await.expect("the crowd does not panic");
    assert_exact(&app, &crowd, &got).await;
    let gate = &app.instances[0].ops.get("/readyz", "").await.json()["gate"];
    assert_eq!(gate["rebuilds"], 1, "it was no loss: {gate}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_under_load_loses_and_oversells_nothing() {
    let redis = RedisServer::start().await;
    let (mut app, crowd) = selling(&redis).await;
    app.start_another().await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];
    let running = start_rush(&clients, &crowd);
    for rows in [300, 1_200] {
        until_rows(&app, rows).await;
        app.stores.redis::<()>(&redis::cmd("FLUSHALL")).await;
    }
    // While units are left, no customer may get `no-such-coupon` or `sold-out`.
    let got = running.await.expect("the crowd does not panic");
    assert_exact(&app, &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_redis_is_being_loaded_everything_is_unavailable() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    assert_eq!(app.client().claim("shop", "rush", &crowd[0].token).await.status, 201);
    app.settle().await;
    // Recovery waits for the shard's row in MySQL.
    let lock = app.stores.lock_table("shards").await;
    app.stores.redis::<()>(&redis::cmd("FLUSHALL")).await;
    for _ in 0..20 {
        let customer = &crowd[1];
        let name = customer.user.name.as_str();
        for answer in [
            app.client().claim("shop", "rush", &customer.token).await,
            app.client().claim("shop", "nothing-of-that-name", &customer.token).await,
            app.client().list(name, &customer.token).await,
            app.client().list("shop", &customer.token).await,
        ] {
            assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{answer:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(lock);
    let opened = Instant::now();
    let got = rush(&[app.client().clone()], &crowd[..2], ("shop", "rush"), 1, PATIENCE).await;
    assert_eq!((got[0].result(), got[1].result()), ("already-claimed".to_owned(), "claimed".to_owned()));
    assert!(opened.elapsed() < Duration::from_secs(15), "it took {:?}", opened.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_killed_and_restarted_under_load_loses_and_oversells_nothing() {
    let mut redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let running = start_rush(&[app.client().clone()], &crowd);
    for rows in [300, 1_200] {
        until_rows(&app, rows).await;
        redis.kill();
        redis.restart().await;
        let back = Instant::now();
        eventually("it sells again", || app.instances[0].ops.is_ready()).await;
        assert!(back.elapsed() < Duration::from_secs(8), "it took {:?}", back.elapsed());
    }
    let got = running.await.expect("the crowd does not panic");
    assert_exact(&app, &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_comes_back_empty_or_older_under_load_loses_and_oversells_nothing() {
    let mut redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let running = start_rush(&[app.client().clone()], &crowd);
    until_rows(&app, 300).await;
    let older = redis.save();
    until_rows(&app, 600).await;
    redis.kill();
    redis.empty();
    redis.restart().await;
    // The first file is of an earlier loading, the second file of the present loading.
    until_rows(&app, 1_200).await;
    redis.kill();
    redis.bring_back(&older);
    redis.restart().await;
    until_rows(&app, 1_500).await;
    let older = redis.save();
    until_rows(&app, 1_900).await;
    redis.kill();
    redis.bring_back(&older);
    redis.restart().await;
    let got = running.await.expect("the crowd does not panic");
    assert_exact(&app, &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_with_claims_that_mysql_lacks_waits_for_them() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let lock = app.stores.lock_table("claims").await;
    let clients = [app.client().clone()];
    let first = rush(&clients, &crowd[..200], ("shop", "rush"), 16, PATIENCE).await;
    app.stores.redis::<()>(&redis::cmd("FLUSHALL")).await;
    eventually("the gate is closed", || async { !app.instances[0].ops.is_ready().await }).await;
    drop(lock);
    let got = rush(&clients, &crowd, ("shop", "rush"), 16, PATIENCE).await;
    let again = got[..200].iter().zip(&first);
    for (again, first) in again {
        let (again, first) = (again.answer.as_ref().expect("answered"), first.answer.as_ref().expect("answered"));
        assert_eq!(again.result(), "already-claimed");
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    }
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::from(UNITS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_in_the_hands_of_a_sweep_are_waited_for() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let (connection, live, stock) = (app.stores.connection().await, app.stores.live().await, app.stores.stock());
    for customer in &crowd[..100] {
        let user = customer.user.id;
        let taken = stock.take(&connection, &live, &Attempt::new(CouponId(1), user), Duration::from_secs(5)).await;
        assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
    }
    let lock = app.stores.lock_table("claims").await;
    flush_and_break_off(&app).await;
    drop(lock);
    assert_kept(&app, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_in_the_channel_are_waited_for() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let lock = app.stores.lock_table("claims").await;
    let got = rush(&[app.client().clone()], &crowd[..100], ("shop", "rush"), 16, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
    flush_and_break_off(&app).await;
    drop(lock);
    assert_kept(&app, 100).await;
}

/// Flushes Redis while the ledger waits for MySQL. From then on the waiting claims exist only in the program's memory.
/// The ledger's transaction is killed again and again, because a rebuild must not depend on a lock held by it.
async fn flush_and_break_off(app: &TestApp) {
    let inserting = "FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'INSERT INTO c%'";
    let count = format!("SELECT COUNT(*) {inserting}");
    eventually("the ledger waits for MySQL", || async { app.stores.number(&count).await == 1 }).await;
    app.stores.redis::<()>(&redis::cmd("FLUSHALL")).await;
    eventually("the gate is closed", || async { !app.instances[0].ops.is_ready().await }).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        for id in app.stores.texts(&format!("SELECT CAST(id AS CHAR) AS value {inserting}")).await {
            app.stores.kill_connection(&id).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn assert_kept(app: &TestApp, count: i64) {
    eventually("it sells again", || app.instances[0].ops.is_ready()).await;
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_under_another_loading_than_what_redis_holds_changes_nothing() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let (connection, live, stock) = (app.stores.connection().await, app.stores.live().await, app.stores.stock());
    let (keys, user) = (app.stores.keys(), crowd[0].user.id);
    for other in [Live::new(&live.run_id, Epoch(live.epoch.0 + 1)), Live::new("another", live.epoch)] {
        let taken = stock.take(&connection, &other, &Attempt::new(CouponId(1), user), Duration::from_secs(5)).await;
        assert!(matches!(taken, Ok(Taken::NotLoaded)), "{taken:?}");
    }
    let mut claimed = redis::cmd("HGET");
    claimed.arg(keys.coupon(CouponId(1))).arg("claimed");
    assert_eq!(app.stores.redis::<u32>(&claimed).await, 0);
    assert_eq!(app.stores.redis::<u32>(redis::cmd("EXISTS").arg(keys.holder(user))).await, 0);
    assert_eq!(app.stores.redis::<u32>(redis::cmd("XLEN").arg(keys.outbox())).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_of_a_loading_before_the_last_hold_up_no_recovery() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let lock = app.stores.lock_table("claims").await;
    let clients = [app.client().clone()];
    let first = rush(&clients, &crowd[..50], ("shop", "rush"), 8, PATIENCE).await;
    // As after an instance began a rebuild and died: the claims here are late, and only a recovery can settle them.
    app.stores.execute("UPDATE shards SET epoch = epoch + 1, next_epoch = epoch + 2, state = 'recovering'").await;
    drop(lock);
    let got = rush(&clients, &crowd[..60], ("shop", "rush"), 8, PATIENCE).await;
    for (again, first) in got.iter().zip(&first) {
        let (again, first) = (again.answer.as_ref().expect("answered"), first.answer.as_ref().expect("answered"));
        assert_eq!(again.result(), "already-claimed");
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    }
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 60);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outcome_that_was_unknown_is_final_before_long() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    // Every worker has the coupon's name in memory from now on.
    let got = rush(&[app.client().clone()], &crowd[40..60], ("shop", "rush"), 8, PATIENCE).await;
    assert!(got.iter().all(|got| got.result() == "claimed"), "{got:?}");
    redis.freeze();
    let got = rush(&[app.client().clone()], &crowd[..40], ("shop", "rush"), 40, Duration::ZERO).await;
    let mut results: Vec<String> = got.iter().map(Got::result).collect();
    results.dedup();
    assert_eq!(results, ["unknown-outcome"]);
    // The commands wait in the socket. Redis reads them after their deadline.
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.thaw();
    let connection = app.stores.connection().await;
    let mut claimed = redis::cmd("HGET");
    claimed.arg(app.stores.keys().coupon(CouponId(1))).arg("claimed");
    assert!(connection.call(&redis::cmd("PING"), PATIENCE).await.is_ok());
    assert_eq!(app.stores.redis::<u32>(&claimed).await, 20);
    let got = rush(&[app.client().clone()], &crowd[..40], ("shop", "rush"), 4, PATIENCE).await;
    assert!(got.iter().all(|got| got.result() == "claimed"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_coupon_and_a_contradicting_claim_start_a_recovery() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    let clients = [app.client().clone()];
    rush(&clients, &crowd[..20], ("shop", "rush"), 4, PATIENCE).await;
    app.settle().await;
    let keys = app.stores.keys();
    let coupon = keys.coupon(CouponId(1));
    app.stores.redis::<u32>(redis::cmd("DEL").arg(coupon)).await;
    let answer = app.client().claim("shop", "rush", &crowd[20].token).await;
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"));
    let got = rush(&clients, &crowd[..30], ("shop", "rush"), 4, PATIENCE).await;
    assert_eq!(got.iter().filter(|got| got.result() == "already-claimed").count(), 20);
    app.settle().await;

    // A user's hold is lost, and the user is granted a second unit. MySQL refuses the claim, and the unit is sold
    // again.
    app.stores.redis::<u32>(redis::cmd("DEL").arg(keys.holder(crowd[5].user.id))).await;
    let second = app.client().claim("shop", "rush", &crowd[5].token).await;
    assert_eq!((second.result(), proof(&second).seq), ("claimed", 31));
    eventually("the loss was seen and mended", || async {
        app.instances[0].ops.get("/readyz", "").await.json()["gate"]["rebuilds"] == 3
    })
    .await;
    let got = rush(&clients, &crowd[..31], ("shop", "rush"), 1, PATIENCE).await;
    assert_eq!(got[5].result(), "already-claimed");
    assert_eq!(proof(got[30].answer.as_ref().expect("answered")).seq, 31);
    assert_eq!(app.stores.texts("SELECT claim AS value FROM poisoned_claims").await.len(), 1);
    app.stores.execute("DELETE FROM poisoned_claims").await;
}

/// Every attempt can report a doubt. Comparisons must not depend on the number of attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_number_of_doubts_causes_one_comparison_a_second_more() {
    let redis = RedisServer::start().await;
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, without_rates).await;
    // Every probe asks for the role: once a second by three links, by the rounds of recovery, and by rounds for doubts.
    let probes = || async {
        let stats: String = redis.command(&["INFO", "commandstats"]).await;
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_role:calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse::<u32>().expect("a number"))
    };
    let (before, began) = (probes().await, Instant::now());
    while began.elapsed() < Duration::from_secs(4) {
        app.instances[0].claiming().gate.doubt(Doubt::NotLoaded);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let probed = probes().await - before;
    assert!((12..=25).contains(&probed), "{probed} probes in 4 s");
}
