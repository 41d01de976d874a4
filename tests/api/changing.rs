//! `PUT /api/users/{saler}/coupons/{name}`: raising, lowering, closing and opening a coupon.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Client, TestApp};

const TEN: &str = "/api/users/shop/coupons/ten";
/// The columns that a change may touch.
const ROWS: &str = "SELECT CONCAT_WS('|', amount, left_count, face_value, description, scheduled) AS value \
    FROM coupons ORDER BY id";

async fn change(client: &Client, token: &str, body: Value) {
    let answer = client.put(TEN, token, &body).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"errMsg":""}"#), "{body}: {answer:?}");
}

async fn refused(client: &Client, path: &str, token: &str, body: &str, row: (u16, &str, &str)) {
    let answer = client.send("PUT", path, token, Some(body)).await;
    assert_eq!(answer.error(), (row.0, row.1.to_owned(), row.2.to_owned()), "{path} {body}");
}

/// The list item of `ten` of `shop`, from every instance.
async fn listed(app: &TestApp, token: &str) -> Vec<Value> {
    let mut items = Vec::new();
    for instance in &app.instances {
        items.push(instance.client.list("shop", token).await.json()["data"][0].clone());
    }
    items
}

/// The fields `amount`, `scheduled`, `claimed` and `description` of the only coupon in Redis.
async fn in_redis(app: &TestApp) -> Vec<String> {
    let id = app.stores.number("SELECT id FROM coupons").await;
    let key = app.stores.keys().coupon(couponrush::domain::CouponId(id.unsigned_abs())).to_string();
    let mut get = redis::cmd("HMGET");
    get.arg(key).arg(&["amount", "scheduled", "claimed", "description"]);
    app.stores.redis(&get).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_amount_reopens_a_coupon_that_was_sold_out_on_every_instance() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(5).await;
    client.create_coupon("shop", &shop, "ten", 2).await;
    let first = client.claim("shop", "ten", &customers[0]).await;
    assert_eq!(client.claim("shop", "ten", &customers[1]).await.result(), "claimed");
    for instance in &app.instances {
        assert_eq!(instance.client.claim("shop", "ten", &customers[2]).await.result(), "sold-out");
    }
    change(client, &shop, json!({"amount": 4})).await;
    assert_eq!(listed(&app, &shop).await.iter().map(|item| &item["left"]).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(app.instances[1].client.claim("shop", "ten", &customers[2]).await.result(), "claimed");
    assert_eq!(client.claim("shop", "ten", &customers[3]).await.result(), "claimed");
    assert_eq!(client.claim("shop", "ten", &customers[4]).await.result(), "sold-out");
    let again = app.instances[1].client.claim("shop", "ten", &customers[0]).await;
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"), "a change leaves claims alone");
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, ["4|0|10|of a test|0"]);
    assert_eq!(app.stores.number("SELECT MAX(seq) FROM claims").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_amount_is_sold_exactly() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(8).await;
    client.create_coupon("shop", &shop, "ten", 100).await;
    for customer in &customers[..3] {
        assert_eq!(client.claim("shop", "ten", customer).await.result(), "claimed");
    }
    change(client, &shop, json!({"amount": 5})).await;
    assert_eq!(listed(&app, &shop).await.iter().map(|item| &item["left"]).collect::<Vec<_>>(), [2, 2]);
    let mut results = Vec::new();
    for (n, customer) in customers[3..].iter().enumerate() {
        results.push(app.instances[n % 2].client.claim("shop", "ten", customer).await.result().to_owned());
    }
    assert_eq!(results, ["claimed", "claimed", "sold-out", "sold-out", "sold-out"]);
    change(client, &shop, json!({"amount": 5})).await;
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, ["5|0|10|of a test|0"]);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 5);
    assert_eq!(in_redis(&app).await[0], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_below_what_is_claimed_is_refused_and_nothing_changes() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(4).await;
    client.create_coupon("shop", &shop, "ten", 10).await;
    for customer in &customers[..3] {
        assert_eq!(client.claim("shop", "ten", customer).await.result(), "claimed");
    }
    let body = json!({"amount": 2, "scheduled": true, "description": "changed"}).to_string();
    let row = (400, "Amount is below what is claimed already.", "bad-request");
    refused(client, TEN, &shop, &body, row).await;
    assert_eq!(in_redis(&app).await, ["10", "0", "3", "of a test"]);
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, ["10|7|10|of a test|0"]);
    assert_eq!(client.claim("shop", "ten", &customers[3]).await.result(), "claimed");
    change(client, &shop, json!({"amount": 4})).await;
    assert_eq!(in_redis(&app).await[0], "4", "an amount equal to the number of claims is allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduling_closes_and_opens_a_coupon_at_once_on_every_instance() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(3).await;
    client.create_coupon("shop", &shop, "ten", 10).await;
    let first = client.claim("shop", "ten", &customers[0]).await;
    for _ in 0..3 {
        change(client, &shop, json!({"scheduled": true})).await;
        for instance in &app.instances {
            let answer = instance.client.claim("shop", "ten", &customers[1]).await;
            assert_eq!((answer.status, answer.result()), (204, "not-on-sale"));
            let held = instance.client.claim("shop", "ten", &customers[0]).await;
            assert_eq!(held.result(), "already-claimed", "a holder is answered before the sale is checked");
            assert_eq!(held.header("Claim-Token"), first.header("Claim-Token"));
        }
        change(client, &shop, json!({"scheduled": false})).await;
    }
    assert_eq!(app.stores.texts(ROWS).await.len(), 1);
    assert_eq!(app.instances[1].client.claim("shop", "ten", &customers[1]).await.result(), "claimed");
    assert_eq!(client.claim("shop", "ten", &customers[2]).await.result(), "claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_touches_what_it_names_and_nothing_else() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    client.create_coupon("shop", &shop, "ten", 10).await;
    let new = "é".repeat(255);
    change(client, &shop, json!({"description": new})).await;
    assert_eq!(app.stores.texts(ROWS).await, [format!("10|10|10|{new}|0")]);
    for item in listed(&app, &shop).await {
        assert_eq!(item["description"], new.as_str());
    }
    change(client, &shop, json!({"AMOUNT": 12, "name": "ignored", "stock": 1})).await;
    assert_eq!(app.stores.texts(ROWS).await, [format!("12|12|10|{new}|0")]);
    change(client, &shop, json!({"amount": 3, "scheduled": true, "description": ""})).await;
    assert_eq!(app.stores.texts(ROWS).await, ["3|3|10||1"]);
    assert_eq!(in_redis(&app).await, ["3", "1", "0", ""]);
    assert_eq!(app.stores.number("SELECT revision - published_revision FROM coupons").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_refused_by_its_row() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 10).await;
    client.create_coupon("other", &other, "theirs", 10).await;

    let good = r#"{"amount":20}"#;
    refused(client, TEN, "", good, (401, "Not Authorized.", "not-logged-in")).await;
    for token in [&ann, &admin] {
        refused(client, TEN, token, good, (401, "Only sellers can change coupons.", "wrong-kind")).await;
    }
    refused(client, TEN, &other, good, (401, "Not your coupon.", "not-yours")).await;
    refused(client, "/api/users/other/coupons/theirs", &shop, good, (401, "Not your coupon.", "not-yours")).await;
    refused(client, "/api/users/nobody/coupons/ten", &shop, good, (401, "Not your coupon.", "not-yours")).await;
    for name in ["theirs", "TEN", "%FF", "a%2Fb", "te%6E%20"] {
        let path = format!("/api/users/shop/coupons/{name}");
        refused(client, &path, &shop, good, (404, "No such coupon.", "not-found")).await;
    }
    for body in ["", "[]", "{", r#"{"amount":"20"}"#, r#"{"amount":1.5}"#, r#"{"scheduled":1}"#, r#"{"description":2}"#]
    {
        refused(client, TEN, &shop, body, (400, "Only receive JSON format.", "bad-request")).await;
    }
    for amount in ["0", "-1", "10000001", "9223372036854775807"] {
        let body = format!("{{\"amount\":{amount}}}");
        refused(client, TEN, &shop, &body, (400, "Amount field wrong format.", "bad-request")).await;
    }
    let long = json!({"description": "d".repeat(256)}).to_string();
    refused(client, TEN, &shop, &long, (400, "Description too long.", "bad-request")).await;
    let nothing = "Nothing to change: amount, scheduled or description is needed.";
    for body in ["{}", r#"{"amount":null}"#, r#"{"name":"x"}"#] {
        refused(client, TEN, &shop, body, (400, nothing, "bad-request")).await;
    }
    assert_eq!(app.stores.texts(ROWS).await, ["10|10|10|of a test|0", "10|10|10|of a test|0"]);
    assert_eq!(app.stores.number("SELECT MAX(revision) FROM coupons").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_and_claims_at_once_end_in_what_was_said_last() {
    const CUSTOMERS: usize = 150;
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(CUSTOMERS).await;
    app.client().create_coupon("shop", &shop, "ten", 20).await;

    let mut claims = tokio::task::JoinSet::new();
    for (n, token) in customers.into_iter().enumerate() {
        let client = app.instances[n % 2].client.clone();
        claims.spawn(async move { (client.claim("shop", "ten", &token).await.result().to_owned(), token) });
    }
    let mut changes = tokio::task::JoinSet::new();
    for (n, amount) in [30, 25, 60, 40, 80, 45, 50, 90].into_iter().enumerate() {
        let (client, shop) = (app.instances[n % 2].client.clone(), shop.clone());
        changes.spawn(async move { client.put(TEN, &shop, &json!({"amount": amount})).await });
    }
    for answer in changes.join_all().await {
        // 400: the amount is below the number of claims. 503: another change came between. In both cases nothing has
        // happened.
        assert!(matches!(answer.status, 200 | 400 | 503), "{answer:?}");
        assert!(answer.status != 503 || answer.json()["code"] == "unavailable", "{answer:?}");
    }
    let results = claims.join_all().await;
    let claimed = results.iter().filter(|(result, _)| result == "claimed").count();
    assert!(results.iter().all(|(result, _)| result == "claimed" || result == "sold-out"), "{results:?}");

    change(app.client(), &shop, json!({"amount": 100})).await;
    let mut sold = claimed;
    for (n, (_, token)) in results.iter().filter(|(result, _)| result != "claimed").enumerate() {
        let answer = app.instances[n % 2].client.claim("shop", "ten", token).await;
        let expected = if sold < 100 { "claimed" } else { "sold-out" };
        assert_eq!(answer.result(), expected, "after {sold}");
        sold += usize::from(expected == "claimed");
    }
    assert_eq!(sold, 100);
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, ["100|0|10|of a test|0"]);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 100);
}
