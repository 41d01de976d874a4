//! What one merchant may have: units of open coupons, and current and coming sales. `creating.rs` has the number of coupons.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, TestApp, now_seconds};

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
