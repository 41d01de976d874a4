//! A crowd that claims few units, and the resulting rows in MySQL.

use std::time::Duration;

use crate::helpers::{TestApp, audit, customers, proof, rush};

/// How long a customer repeats an attempt answered with 503.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_thousand_customers_exactly_one_thousand_get_the_thousand_units() {
    const UNITS: u32 = 1_000;
    let mut app = TestApp::start().await;
    app.start_another().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", UNITS).await;
    let crowd = customers(&app.stores, "crowd", 10_000).await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];

    let got = rush(&clients, &crowd, ("shop", "rush"), 128, PATIENCE).await;

    // On a slow machine an answer may miss its deadline. The next attempt then finds the granted claim.
    let with_unit = got.iter().filter(|got| got.has_unit()).count();
    let sold_out = got.iter().filter(|got| got.result() == "sold-out").count();
    assert_eq!((with_unit, sold_out), (1_000, 9_000));
    let claimed = got.iter().filter(|got| got.result() == "claimed").count();
    assert!(claimed == 1_000 || got.iter().any(|got| got.maybe_granted), "{claimed} answers of 201");
    app.settle().await;
    let count = app.stores.number("SELECT COUNT(*) FROM claims WHERE seq BETWEEN 1 AND 1000").await;
    assert_eq!((count, app.stores.number("SELECT COUNT(*) FROM claims").await), (1_000, 1_000));
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 0);
    for (customer, got) in crowd.iter().zip(&got).filter(|(_, got)| got.has_unit()) {
        let answer = got.answer.as_ref().expect("a result comes from an answer");
        assert_eq!(proof(answer).user, customer.user.id, "the claim belongs to its customer");
    }
    // A holder gets the claim again, even when all units are sold.
    let holder = got.iter().position(|got| got.result() == "claimed").expect("a customer was granted a claim");
    let first = got[holder].answer.as_ref().expect("a result comes from an answer");
    let again = rush(&clients, &crowd[holder..=holder], ("shop", "rush"), 1, PATIENCE).await;
    assert_eq!(again[0].result(), "already-claimed");
    let again = again[0].answer.as_ref().expect("a result comes from an answer");
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    let (holds, output) = audit(&app.stores, &[]).await;
    assert!(holds && output.contains("1000 claims in MySQL"), "{output}");
}
