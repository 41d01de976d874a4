//! Stops and kills in the middle of a rush. Answered claims must survive.

use std::collections::HashSet;
use std::time::Duration;

use crate::helpers::{Client, Customer, Got, Serving, Stores, TestApp, customers, free_address, proof, rush};

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
