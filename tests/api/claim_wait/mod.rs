//! Answers that wait until MySQL has committed the claim, by the header `Claim-Wait: stored` or for all.

mod losses;

use std::time::{Duration, Instant};

use couponrush::domain::{CouponId, Durability};
use couponrush::redis::{Attempt, Taken};
use serde_json::json;
use tokio::task::JoinSet;

use crate::helpers::{Answer, Client, Customer, Stores, TestApp, customers, eventually, proof, rush, without_rates};

const RUSH: &str = "/api/users/shop/coupons/rush";
const PATIENCE: Duration = Duration::from_secs(20);
/// For an answer that does not wait, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1_200);
const CLAIMS: &str = "SELECT COUNT(*) FROM claims";

/// `shop/rush` of 500 units, and 40 customers.
async fn selling(app: &TestApp) -> Vec<Customer> {
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 500).await;
    customers(&app.stores, "crowd", 40).await
}

async fn start() -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_with(without_rates).await;
    let crowd = selling(&app).await;
    (app, crowd)
}

async fn claim_with(client: &Client, customer: &Customer, wait: &str) -> Answer {
    let request = client.request("PATCH", RUSH).header("Authorization", &customer.token);
    Answer::of(request.header("Claim-Wait", wait)).await
}

async fn claim_stored(client: &Client, customer: &Customer) -> Answer {
    claim_with(client, customer, "stored").await
}

/// Claims of all customers at once, each waiting for the commit.
fn all_wait(client: &Client, crowd: &[Customer]) -> JoinSet<(Customer, Answer)> {
    let mut tasks = JoinSet::new();
    for customer in crowd.iter().cloned() {
        let client = client.clone();
        tasks.spawn(async move {
            let answer = claim_stored(&client, &customer).await;
            (customer, answer)
        });
    }
    tasks
}

/// Attempts that wait for MySQL's commit, or will wait.
fn waiting(app: &TestApp) -> usize {
    app.instances[0].claiming().ledger.state().waiters.places().0
}

async fn until_waiting(app: &TestApp, count: usize) {
    eventually("the attempts wait for the commit", || async {
        let in_flight = app.instances[0].claiming().gate.in_flight();
        waiting(app) == count && in_flight == 0
    })
    .await;
}

fn assert_unknown(answer: &Answer) {
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unknown-outcome"), "{answer:?}");
    assert!(answer.header("Claim-Durability").is_empty() && answer.header("Claim-Token").is_empty(), "{answer:?}");
}

fn assert_stored(answer: &Answer, status: u16) {
    assert_eq!((answer.status, answer.header("Claim-Durability")), (status, "stored"), "{answer:?}");
}

/// The number of rows of the answered claim.
async fn rows_of(stores: &Stores, customer: &Customer, answer: &Answer) -> i64 {
    let (user, seq) = (customer.user.id, proof(answer).seq);
    stores.number(&format!("{CLAIMS} WHERE user_id = {user} AND seq = {seq}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_says_what_is_certain_and_waits_only_when_asked_to() {
    let (app, crowd) = start().await;
    let lock = app.stores.lock_table("claims").await;
    let granted = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((granted.status, granted.header("Claim-Durability")), (201, "granted"), "{granted:?}");
    let again = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((again.status, again.header("Claim-Durability")), (204, "granted"), "{again:?}");
    drop(lock);

    let stored = claim_stored(app.client(), &crowd[1]).await;
    assert_stored(&stored, 201);
    assert_eq!(rows_of(&app.stores, &crowd[1], &stored).await, 1, "MySQL has the claim when it is answered");
    app.settle().await;
    let again = claim_stored(app.client(), &crowd[1]).await;
    assert_stored(&again, 204);
    assert_eq!(again.header("Claim-Token"), stored.header("Claim-Token"));

    for value in ["granted", "Stored", "", "5"] {
        let refused = claim_with(app.client(), &crowd[2], value).await;
        let message = "Claim-Wait should be stored, or absent.".to_owned();
        assert_eq!(refused.error(), (400, message, "bad-request".to_owned()), "{value}");
        assert_eq!(refused.json()["field"], "Claim-Wait");
    }
    app.settle().await;
    assert_eq!(app.stores.number(CLAIMS).await, 2, "a refused request claims nothing");
    let absent = claim_with(app.client(), &crowd[2], "stored").await;
    assert_eq!(absent.status, 201);
    let request = app.client().request("PATCH", "/api/users/shop/coupons/none").header("Claim-Wait", "stored");
    let refused = Answer::of(request.header("Authorization", &crowd[3].token)).await;
    assert_eq!((refused.result(), refused.header("Claim-Durability")), ("no-such-coupon", ""), "{refused:?}");
    let page = app.instances[0].ops.get("/metrics", "").await.text;
    assert!(
        page.contains("couponrush_commit_waiting 0\n") && page.contains("couponrush_commit_waiting_max 20000\n"),
        "{page}"
    );
    assert!(page.contains("couponrush_commit_wait_duration_seconds_count 3\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purchase_says_what_is_certain_in_the_same_header() {
    let (app, crowd) = start().await;
    let product = app.stores.number("SELECT id FROM coupons").await;
    let buy = async |customer: &Customer, wait: Option<&str>| {
        let request = app.client().request("POST", "/sec/kill").header("Authorization", &customer.token);
        let request = wait.into_iter().fold(request, |request, wait| request.header("Claim-Wait", wait));
        Answer::of(request.body(json!({ "product_id": product }).to_string())).await
    };
    for (customer, wait, word) in [(&crowd[0], None, "granted"), (&crowd[1], Some("stored"), "stored")] {
        for (code, status) in [(200, 200), (1010, 400)] {
            let answer = buy(customer, wait).await;
            assert_eq!((answer.status, answer.json()["code"].as_u64()), (status, Some(code)), "{answer:?}");
            assert_eq!(answer.header("Claim-Durability"), word, "{answer:?}");
            if word == "stored" {
                assert_eq!(app.stores.number(&format!("{CLAIMS} WHERE user_id = {}", customer.user.id)).await, 1);
            }
        }
    }
    let refused = buy(&crowd[2], Some("granted")).await;
    assert_eq!((refused.status, refused.json()["code"].as_u64()), (400, Some(1001)), "{refused:?}");
    let lock = app.stores.lock_table("claims").await;
    let unknown = buy(&crowd[3], Some("stored")).await;
    assert_eq!((unknown.status, unknown.json()["code"].as_u64()), (503, Some(1008)), "{unknown:?}");
    assert!(unknown.header("Claim-Durability").is_empty(), "{unknown:?}");
    drop(lock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_the_setting_every_claim_is_stored_when_it_is_answered() {
    let app = TestApp::start_with(|args| args.answer_when = Durability::Stored).await;
    let crowd = selling(&app).await;
    for customer in &crowd[..5] {
        let answer = app.client().claim("shop", "rush", &customer.token).await;
        assert_stored(&answer, 201);
        assert_eq!(rows_of(&app.stores, customer, &answer).await, 1);
        let again = app.client().claim("shop", "rush", &customer.token).await;
        assert_stored(&again, 204);
        assert_eq!(again.header("Claim-Token"), answer.header("Claim-Token"));
    }
    let got = rush(&[app.client().clone()], &crowd, ("shop", "rush"), 16, PATIENCE).await;
    assert_eq!(app.stores.number(CLAIMS).await, 40, "nothing waits in the ledger after the last answer");
    assert!(got.iter().all(|got| got.answer.as_ref().is_some_and(|got| got.header("Claim-Durability") == "stored")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_wait_for_one_commit_outside_of_the_gate() {
    let (app, _) = start().await;
    let crowd = customers(&app.stores, "many", 300).await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd);
    until_waiting(&app, 300).await;
    let batches = app.instances[0].claiming().ledger.state().batches.claims.distribution().count;
    drop(lock);
    for (customer, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
        assert_eq!(rows_of(&app.stores, &customer, &answer).await, 1);
    }
    let after = app.instances[0].claiming().ledger.state().batches.claims.distribution().count;
    assert!(after - batches <= 3, "{} transactions", after - batches);
    assert_eq!(waiting(&app), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_was_stored_for_another_request_is_found_in_mysql() {
    let (app, crowd) = start().await;
    let coupon = CouponId(u64::try_from(app.stores.number("SELECT id FROM coupons").await).expect("an id"));
    let (connection, live) = (app.stores.connection().await, app.stores.live().await);
    let attempt = Attempt::new(coupon, crowd[0].user.id);
    // As after a handler was dropped. The next request hands the claim over, and leaves its entry to the sweep.
    let taken = app.stores.stock().take(&connection, &live, &attempt, PATIENCE).await;
    assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
    let granted = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((granted.status, granted.result()), (204, "already-claimed"), "{granted:?}");
    eventually("the claim is stored", || async { app.stores.number(CLAIMS).await == 1 }).await;
    let began = Instant::now();
    assert_stored(&claim_stored(app.client(), &crowd[0]).await, 204);
    assert!(began.elapsed() < AT_ONCE, "answered after {:?}", began.elapsed());
    let mut length = redis::cmd("XLEN");
    let entries: u64 = app.stores.redis(length.arg(app.stores.keys().outbox())).await;
    assert_eq!(entries, 1, "the entry still waits, so the test has shown nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_without_a_place_to_wait_change_nothing() {
    let app = TestApp::start_with(|args| {
        without_rates(args);
        args.waiting_max = 3;
    })
    .await;
    let crowd = selling(&app).await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd[..3]);
    until_waiting(&app, 3).await;
    let refused = claim_stored(app.client(), &crowd[3]).await;
    assert_eq!((refused.status, refused.error().2.as_str()), (503, "overloaded"), "{refused:?}");
    assert!(!refused.header("Retry-After").is_empty(), "{refused:?}");
    let granted = app.client().claim("shop", "rush", &crowd[4].token).await;
    assert_eq!(granted.status, 201, "claims that do not wait go on");
    drop(lock);
    for (_, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
    }
    app.settle().await;
    let holds = format!("{CLAIMS} WHERE user_id = {}", crowd[3].user.id);
    assert_eq!(app.stores.number(&holds).await, 0, "a refused attempt took no unit");
    assert_stored(&claim_stored(app.client(), &crowd[3]).await, 201);
}
