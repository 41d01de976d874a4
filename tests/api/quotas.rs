//! What one merchant, and all merchants together, may have: units of open coupons, and current and coming sales. `creating.rs` has the number of coupons.

use std::time::Duration;

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, TestApp, eventually_within, now_seconds};

/// MySQL is asked for the totals every five seconds.
const SOON: Duration = Duration::from_secs(15);
const TEN: &str = "/api/users/shop/coupons/ten";

/// A service with limits of 100 units and 2 sales, the saler `shop` and another one.
async fn app() -> (TestApp, String, String) {
    let app = TestApp::start_with(|args| {
        args.quotas.saler_units_max = Some(100);
        args.quotas.saler_sales_max = Some(2);
    })
    .await;
    let (shop, cafe) = (app.user("shop", Kind::Saler).await, app.user("cafe", Kind::Saler).await);
    (app, shop, cafe)
}

fn quota(answer: &Answer) -> (u16, String, String) {
    answer.error()
}

fn too_many_units() -> (u16, String, String) {
    (400, "Too many units in all your coupons.".to_owned(), "quota".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_has_so_many_units_in_all_open_coupons_and_others_have_theirs() {
    let (app, shop, cafe) = app().await;
    let client = app.client();
    let create = async |saler: &str, token: &str, name: &str, amount: u32| {
        client
            .post(
                &format!("/api/users/{saler}/coupons"),
                token,
                &json!({"name": name, "amount": amount, "stock": 1, "description": ""}),
            )
            .await
    };
    assert_eq!(create("shop", &shop, "ten", 60).await.status, 201);
    assert_eq!(quota(&create("shop", &shop, "more", 41).await), too_many_units());
    assert_eq!(create("shop", &shop, "more", 40).await.status, 201);
    assert_eq!(create("cafe", &cafe, "ten", 100).await.status, 201);
    let change = async |body: Value| client.put(TEN, &shop, &body).await;
    assert_eq!(quota(&change(json!({"amount": 61})).await), too_many_units());
    assert_eq!(change(json!({"amount": 50})).await.status, 200, "less is always allowed");
    assert_eq!(change(json!({"amount": 60, "description": "d"})).await.status, 200);
    assert_eq!(
        app.stores.texts("SELECT CAST(amount AS CHAR) AS value FROM coupons ORDER BY id").await,
        ["60", "40", "100"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_has_so_many_sales_that_are_not_over_and_may_stop_and_change_them() {
    let (app, shop, _) = app().await;
    let client = app.client();
    client.create_coupon("shop", &shop, "ten", 10).await;
    let now = now_seconds();
    let sale = |start: u64, end: u64| json!({"activity_name": "a", "product_id": 1, "start_time": start, "end_time": end, "total": 0, "speed": 0});
    let create = async |start: u64, end: u64| client.post("/activity/create", &shop, &sale(start, end)).await;
    assert_eq!(create(1, 2).await.status, 200, "a sale that is over does not count");
    assert_eq!(create(now, now + 100).await.status, 200);
    assert_eq!(create(now + 200, now + 300).await.status, 200);
    let refused = create(now + 400, now + 500).await;
    assert_eq!((refused.status, refused.json()["code"].as_u64()), (400, Some(1001)));
    assert_eq!(refused.json()["msg"], "Too many current and coming sales.");
    let update = async |body: Value| client.post("/activity/update", &shop, &body).await;
    assert_eq!(update(json!({"activity_id": 2, "status": 1})).await.status, 200);
    assert_eq!(update(json!({"activity_id": 3, "end_time": now + 350})).await.status, 200);
    let revived = update(json!({"activity_id": 1, "start_time": now + 400, "end_time": now + 500})).await;
    assert_eq!(revived.status, 400, "a sale that comes back counts");
    assert_eq!(update(json!({"activity_id": 3, "start_time": 3, "end_time": 4})).await.status, 200);
    assert_eq!(create(now + 400, now + 500).await.status, 200, "there is a place again");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_merchants_together_have_so_many_coupons_and_the_last_tenth_is_for_small_ones() {
    let app = TestApp::start_with(|args| {
        (args.quotas.coupons_max, args.quotas.units_max) = (Some(30), Some(1_000));
    })
    .await;
    let (client, publishing) = (app.client(), &app.instances[0].shared.offering.publishing);
    let (shop, cafe) = (app.user("shop", Kind::Saler).await, app.user("cafe", Kind::Saler).await);
    eventually_within(SOON, "the coupons are counted", || async { publishing.open_offers().known().is_some() }).await;
    for n in 0..27 {
        client.create_coupon("shop", &shop, &format!("coupon-{n}"), 10).await;
    }
    let create = async |saler: &str, token: &str, name: &str, amount: u32| {
        let body = json!({"name": name, "amount": amount, "stock": 1, "description": ""});
        client.post(&format!("/api/users/{saler}/coupons"), token, &body).await
    };
    let refused = create("shop", &shop, "more", 10).await;
    assert_eq!(
        (refused.status, refused.error().2.as_str()),
        (503, "overloaded"),
        "the last tenth is for small merchants"
    );
    assert!(!refused.header("Retry-After").is_empty());
    let product = json!({"product_name": "more", "product_total": 1});
    let refused = client.post("/product/create", &shop, &product).await;
    assert_eq!((refused.status, refused.json()["code"].as_u64()), (503, Some(1009)));
    for name in ["a", "b", "c"] {
        assert_eq!(create("cafe", &cafe, name, 10).await.status, 201);
    }
    assert_eq!(create("cafe", &cafe, "d", 10).await.status, 503, "all 30 exist");
    let change = async |body: Value| client.put("/api/users/shop/coupons/coupon-0", &shop, &body).await;
    assert_eq!(
        change(json!({"amount": 611})).await.status,
        503,
        "900 of 1000 units are for merchants with many coupons"
    );
    assert_eq!(change(json!({"amount": 610})).await.status, 200);
    let raised = client.put("/api/users/cafe/coupons/a", &cafe, &json!({"amount": 110})).await;
    assert_eq!(raised.status, 200, "the last tenth");
    let page = app.instances[0].ops.get("/metrics", "").await.text;
    for line in ["open_coupons 30", "open_coupons_max 30", "open_units 1000", "open_units_max 1000"] {
        assert!(page.contains(&format!("\ncouponrush_{line}\n")), "{line}");
    }
    // What is archived makes room, at the next count.
    assert_eq!(change(json!({"archived": true})).await.status, 200);
    let is_counted = || async { publishing.open_offers().known().is_some_and(|open| open.coupons == 29) };
    eventually_within(SOON, "the archived coupon does not count", is_counted).await;
    assert_eq!(create("cafe", &cafe, "d", 10).await.status, 201);
    assert_eq!(change(json!({"archived": false})).await.status, 503, "a coupon that comes back counts");
}
