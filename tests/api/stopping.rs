//! Stops and kills in the middle of a rush. Answered claims must survive, and a load balancer must be able to look
//! elsewhere in time.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::helpers::{
    Client, Customer, Got, Relay, Serving, Stores, TestApp, customers, eventually, free_address, proof, rush,
};

const PATIENCE: Duration = Duration::from_secs(20);
const UNITS: u32 = 600;

/// Asserts that every answered claim has a row, and that asking again returns the same claim.
async fn assert_kept(stores: &Stores, client: &Client, crowd: &[Customer], got: &[Got]) {
    let rows = stores.texts("SELECT CONCAT(user_id, ':', seq) AS value FROM claims").await;
    let rows: HashSet<String> = rows.into_iter().collect();
    let answered = |got: &&Got| got.result() == "claimed";
    let (crowd, got): (Vec<_>, Vec<_>) = crowd.iter().cloned().zip(got).filter(|(_, got)| answered(got)).unzip();
    let again = rush(std::slice::from_ref(client), &crowd, ("shop", "rush"), 8, PATIENCE).await;
    for ((customer, got), again) in crowd.iter().zip(got).zip(again) {
        let (first, again) = (got.answer.as_ref().expect("201"), again.answer.expect("the customer was answered"));
        let row = format!("{}:{}", customer.user.id, proof(first).seq);
        assert!(rows.contains(&row), "answered {first:?}, but {row} is not stored");
        assert_eq!((again.status, again.result()), (204, "already-claimed"), "{again:?}");
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_under_load_loses_no_answered_claim() {
    let mut app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", 3_000).await;
    let clients = [app.client().clone()];
    let running = tokio::spawn({
        let crowd = crowd.clone();
        async move { rush(&clients, &crowd, ("shop", "rush"), 8, Duration::ZERO).await }
    });
    while app.stores.number("SELECT COUNT(*) FROM claims").await < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.stop().await;
    let got = running.await.expect("the crowd does not panic");
    let claimed = got.iter().filter(|got| got.result() == "claimed").count();
    assert!((50..3_000).contains(&claimed), "{claimed} claimed");
    assert!(got.iter().any(|got| got.answer.is_none()), "the service stopped only after the rush");

    // The claims must be safe before the next start: MySQL was available during the stop.
    let mut outbox = redis::cmd("XLEN");
    outbox.arg(app.stores.keys().outbox());
    let (rows, waiting) =
        (app.stores.number("SELECT COUNT(*) FROM claims").await, app.stores.redis::<i64>(&outbox).await);
    assert!(
        rows + waiting >= i64::try_from(claimed).expect("the number is small"),
        "{rows} rows, {waiting} in the outbox"
    );
    app.start_another().await;
    app.settle().await;
    assert_kept(&app.stores, &app.instances[0].client.clone(), &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_under_load_loses_no_answered_claim() {
    // The application provides the stores and the checks at the end. The service itself is a child process that can be
    // killed.
    let mut app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 2_500).await;
    app.stop().await;
    let crowd = customers(&app.stores, "crowd", 3_000).await;
    let addresses = [free_address(), free_address()];
    let mut serving = Serving::start_at(&app.stores, addresses).await;
    for round in 0..2 {
        let share = &crowd[round * 1_500..(round + 1) * 1_500];
        let before = app.stores.number("SELECT COUNT(*) FROM claims").await;
        let clients = [serving.client.clone()];
        let running = tokio::spawn({
            let share = share.to_vec();
            async move { rush(&clients, &share, ("shop", "rush"), 1, Duration::ZERO).await }
        });
        while app.stores.number("SELECT COUNT(*) FROM claims").await < before + 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        serving.kill();
        let got = running.await.expect("the crowd does not panic");
        let claimed = got.iter().filter(|got| got.result() == "claimed").count();
        assert!((1..1_500).contains(&claimed), "killed too early or too late: {claimed} claimed");
        serving = Serving::start_at(&app.stores, addresses).await;
        app.settle().await;
        assert_kept(&app.stores, &serving.client, share, &got).await;
    }
    // All customers ask again, and every unit is sold.
    let got = rush(std::slice::from_ref(&serving.client), &crowd, ("shop", "rush"), 16, PATIENCE).await;
    let (with_unit, sold_out) = (
        got.iter().filter(|got| matches!(got.result().as_str(), "claimed" | "already-claimed")).count(),
        got.iter().filter(|got| got.result() == "sold-out").count(),
    );
    assert_eq!((with_unit, sold_out), (2_500, 500));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims WHERE seq <= 2500").await, 2_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_without_mysql_says_how_many_claims_it_leaves_and_the_next_start_stores_them() {
    let mut app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    app.stop().await;
    let crowd = customers(&app.stores, "crowd", 30).await;
    let serving = Serving::start(&app.stores).await;
    let lock = app.stores.lock_table("claims").await;
    let got = rush(std::slice::from_ref(&serving.client), &crowd, ("shop", "rush"), 4, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));
    let (ended_well, log) = serving.terminate().await;
    assert!(ended_well, "{log}");
    assert!(log.contains("30 claims are left in the outbox"), "{log}");
    drop(lock);
    app.start_another().await;
    app.settle().await;
    assert_kept(&app.stores, &app.instances[0].client.clone(), &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_instance_is_not_ready_and_serves_on_until_a_second_signal() {
    let mut app = TestApp::start_with(|args| args.drain_seconds = 300).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "few", 2).await;
    let ann = app.client().user("ann", "customer").await;
    let instance = &app.instances[0];
    assert_eq!(instance.ops.get("/readyz", "").await.json()["draining"], false);
    assert_eq!(instance.client.get("/healthz", "").await.header("Connection"), "");

    let began = Instant::now();
    instance.signal();
    for client in [&instance.client, &instance.ops] {
        eventually("the instance is not ready", || async { !client.is_ready().await }).await;
        let ready = client.get("/readyz", "").await;
        assert_eq!((ready.status, &ready.json()["draining"]), (503, &true.into()));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let metrics = instance.ops.get("/metrics", "").await.text;
    assert!(metrics.contains("couponrush_draining 1\n") && metrics.contains("couponrush_ready 0\n"), "{metrics}");
    let claimed = instance.client.claim("shop", "few", &ann).await;
    assert_eq!((claimed.status, claimed.header("Connection")), (201, "close"));

    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(15), "the second signal did not end the wait");
}

/// Leads `relay` to the instances that are ready, as a load balancer does. Looks every 200 ms.
async fn balance(relay: &Relay, instances: &Mutex<Vec<(Client, SocketAddr)>>) {
    loop {
        let known = instances.lock().expect("no thread panicked").clone();
        let mut ready = Vec::new();
        for (client, address) in &known {
            if client.is_ready().await {
                ready.push(*address);
            }
        }
        relay.lead_to(&ready);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_restart_behind_a_load_balancer_fails_no_claim() {
    let mut app = TestApp::start_with(|args| args.drain_seconds = 1).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "many", 1_000_000).await;
    app.start_another().await;
    let known = |app: &TestApp| -> Vec<_> {
        app.instances.iter().map(|instance| (instance.client.clone(), instance.address)).collect()
    };
    let instances = Arc::new(Mutex::new(known(&app)));
    let relay = Arc::new(Relay::start(&[app.instances[0].address, app.instances[1].address]).await);
    let (balanced, watched) = (Arc::clone(&relay), Arc::clone(&instances));
    let balancing = tokio::spawn(async move { balance(&balanced, &watched).await });
    let (stores, client) = (app.stores.clone(), Client::new(relay.address));
    let (over, mut is_over) = tokio::sync::oneshot::channel::<()>();
    let rushing = tokio::spawn(async move {
        let mut got = Vec::new();
        while is_over.try_recv().is_err() {
            let crowd = customers(&stores, &format!("crowd-{}", got.len()), 100).await;
            got.extend(rush(std::slice::from_ref(&client), &crowd, ("shop", "many"), 8, Duration::ZERO).await);
        }
        got
    });
    for _ in 0..2 {
        let mut old = app.instances.remove(0);
        app.start_another().await;
        *instances.lock().expect("no thread panicked") = known(&app);
        instances.lock().expect("no thread panicked").push((old.client.clone(), old.address));
        old.stop().await;
        *instances.lock().expect("no thread panicked") = known(&app);
    }
    over.send(()).expect("the rush goes on until it is over");
    let got = rushing.await.expect("the rush does not panic");
    balancing.abort();
    // A busy machine may answer an attempt with 503 `overloaded`, with or without a restart.
    let failed: Vec<&Got> =
        got.iter().filter(|got| !["claimed", "overloaded"].contains(&got.result().as_str())).collect();
    assert!(failed.is_empty(), "{} of {} claims failed, for example {:?}", failed.len(), got.len(), failed[0]);
    assert_eq!(relay.refused(), 0, "refused connections");
    assert!(got.len() >= 500, "only {} claims", got.len());
}
