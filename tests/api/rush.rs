//! A crowd for few units, and what is left of it in MySQL.

use std::time::Duration;

use crate::helpers::{TestApp, audit, customers, proof, rush};

/// How long a customer asks again who is answered 503.
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

    // On a machine that is slow enough an answer may come too late to be a 201; then asking again has found the claim.
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
        let answer = got.answer.as_ref().expect("it has a result");
        assert_eq!(proof(answer).user, customer.user.id, "each is given his own unit");
    }
    // Whoever has a unit is told so, sold out or not.
    let holder = got.iter().position(|got| got.result() == "claimed").expect("somebody was");
    let first = got[holder].answer.as_ref().expect("it has a result");
    let again = rush(&clients, &crowd[holder..=holder], ("shop", "rush"), 1, PATIENCE).await;
    assert_eq!(again[0].result(), "already-claimed");
    let again = again[0].answer.as_ref().expect("it has a result");
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    let (holds, said) = audit(&app.stores, &[]).await;
    assert!(holds && said.contains("1000 claims in MySQL"), "{said}");
}
