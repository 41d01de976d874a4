//! Claims: one user, many users, many instances.

use std::collections::BTreeSet;

use crate::helpers::{TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_answered_once_and_stored_once() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    let ann = client.user("ann", "customer").await;
    client.create_coupon("shop", &saler, "ten", 3).await;

    let first = client.claim("shop", "ten", &ann).await;
    assert_eq!((first.status, first.text.as_str(), first.result()), (201, r#"{"errMsg":""}"#, "claimed"));
    let again = client.claim("shop", "ten", &ann).await;
    assert_eq!((again.status, again.text.as_str(), again.result()), (204, "", "already-claimed"));
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));

    eventually("the claim is a row", || async { app.stores.number("SELECT COUNT(*) FROM claims").await == 1 }).await;
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rush_for_few_units_sells_each_exactly_once() {
    const UNITS: u32 = 50;
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    client.create_coupon("shop", &saler, "rush", UNITS).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let token = client.user(&format!("customer-{n}"), "customer").await;
            client.claim("shop", "rush", &token).await.result().to_owned()
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| *result == "claimed").count(), UNITS as usize);
    assert_eq!(results.iter().collect::<BTreeSet<_>>().len(), 2, "all others are sold-out: {results:?}");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT MAX(seq) FROM claims").await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 0);
}
