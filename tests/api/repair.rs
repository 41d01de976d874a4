//! Repair of coupons that differ between MySQL and Redis, as after a crash between the two writes.

use couponrush::domain::{CouponId, Kind};
use serde_json::{Value, json};

use crate::helpers::{Client, RedisServer, Stores, TestApp, eventually};

const SHOP: &str = "/api/users/shop/coupons";

/// The only coupon offered by `shop`. Null without coupons.
async fn offered(app: &TestApp, token: &str) -> Value {
    let answer = app.client().list("shop", token).await;
    if answer.status == 200 { answer.json()["data"][0].clone() } else { Value::Null }
}

async fn wait_until_published(app: &TestApp) {
    eventually("every revision is published", || async {
        app.stores.number("SELECT COUNT(*) FROM coupons WHERE published_revision <> revision").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_only_mysql_has_can_be_claimed_within_seconds() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    assert_eq!(app.client().claim("shop", "ten", &ann).await.result(), "no-such-coupon");
    let insert = "INSERT INTO coupons (saler_id, name, amount, left_count, face_value, description) \
        SELECT id, 'ten', 2, 2, 10, 'left behind' FROM users WHERE username = 'shop'";
    app.stores.execute(insert).await;
    eventually("the coupon can be claimed", || async {
        app.instances[1].client.claim("shop", "ten", &ann).await.result() == "claimed"
    })
    .await;
    let item = json!({"name": "ten", "stock": 10, "description": "left behind", "amount": 2, "left": 1, "product_id": 1, "scheduled": false});
    assert_eq!(offered(&app, &shop).await, item);
    wait_until_published(&app).await;
    app.settle().await;
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_only_mysql_has_is_published_within_seconds() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(2).await;
    client.create_coupon("shop", &shop, "ten", 1).await;
    assert_eq!(client.claim("shop", "ten", &customers[0]).await.result(), "claimed");
    assert_eq!(client.claim("shop", "ten", &customers[1]).await.result(), "sold-out");
    let update = "UPDATE coupons SET amount = amount + 4, left_count = left_count + 4, description = 'changed', \
        revision = revision + 1, changed_at = NOW(3)";
    app.stores.execute(update).await;
    let item = json!({"name": "ten", "stock": 10, "description": "changed", "amount": 5, "left": 4, "product_id": 1, "scheduled": false});
    eventually("Redis has the change", || async { offered(&app, &shop).await == item }).await;
    wait_until_claimed(client, &customers[1]).await;
    wait_until_published(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_redis_was_lowered_and_mysql_was_not_mysql_wins() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(6).await;
    client.create_coupon("shop", &shop, "ten", 5).await;
    wait_until_published(&app).await;
    let keys = app.stores.keys();
    let key = keys.coupon(CouponId(app.stores.number("SELECT id FROM coupons").await.unsigned_abs()));
    for customer in &customers[..2] {
        assert_eq!(client.claim("shop", "ten", customer).await.result(), "claimed");
    }
    // The state after a crash between the lowering in Redis and the commit in MySQL: the lowering is announced, and
    // Redis is ahead.
    let mut set = redis::cmd("HSET");
    set.arg(key).arg(&["revision", "6", "amount", "2"]);
    app.stores.redis::<()>(&set).await;
    assert_eq!(client.claim("shop", "ten", &customers[2]).await.result(), "sold-out");
    app.stores.execute("UPDATE coupons SET revision = revision + 1, changed_at = NOW(3)").await;
    eventually("MySQL's amount is in force", || async { offered(&app, &shop).await["amount"] == 5 }).await;
    for customer in &customers[2..5] {
        wait_until_claimed(client, customer).await;
    }
    assert_eq!(client.claim("shop", "ten", &customers[5]).await.result(), "sold-out");
    wait_until_published(&app).await;
    assert_eq!(app.stores.number("SELECT amount FROM coupons").await, 5);
    assert!(app.stores.number("SELECT revision FROM coupons").await > 6, "the revision is above the one in Redis");
    let answer = client.put(&format!("{SHOP}/ten"), &shop, &json!({"amount": 6})).await;
    assert_eq!(answer.status, 200);
    wait_until_claimed(client, &customers[5]).await;
}

/// Waits until the customer has a claim. `sold-out` may be said from memory for a moment after the raise.
async fn wait_until_claimed(client: &Client, customer: &str) {
    eventually("the unit is claimed", || async { client.claim("shop", "ten", customer).await.result() == "claimed" })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_published_does_not_keep_the_repair_from_others() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(3).await;
    client.create_coupon("shop", &shop, "ten", 5).await;
    for customer in &customers[..2] {
        assert_eq!(client.claim("shop", "ten", customer).await.result(), "claimed");
    }
    wait_until_published(&app).await;
    // An amount below the claimed units. The program never writes such a row.
    let below = "UPDATE coupons SET amount = 1, left_count = left_count - 4, revision = revision + 1, \
        changed_at = NOW(3) - INTERVAL 1 HOUR";
    app.stores.execute(below).await;
    let insert = "INSERT INTO coupons (saler_id, name, amount, left_count, face_value, description) \
        SELECT id, 'behind it', 2, 2, 10, '' FROM users WHERE username = 'shop'";
    app.stores.execute(insert).await;
    eventually("the second coupon can be claimed", || async {
        client.claim("shop", "behind%20it", &customers[2]).await.result() == "claimed"
    })
    .await;
    let amount: String = {
        let mut get = redis::cmd("HGET");
        get.arg(
            app.stores.keys().coupon(CouponId(app.stores.number("SELECT MIN(id) FROM coupons").await.unsigned_abs())),
        );
        get.arg("amount");
        app.stores.redis(&get).await
    };
    assert_eq!(amount, "5", "Redis keeps the old amount");
    let repaired =
        "UPDATE coupons SET amount = 5, left_count = left_count + 4, revision = revision + 1 WHERE name = 'ten'";
    app.stores.execute(repaired).await;
    wait_until_published(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_unreadable_rows_than_a_round_takes_do_not_keep_the_repair_from_others() {
    let app = TestApp::start().await;
    app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    let columns = "(saler_id, name, amount, left_count, face_value, description, changed_at)";
    let row = |name: &str, amount: u32| {
        format!(
            "((SELECT id FROM users WHERE username = 'shop'), '{name}', {amount}, {amount}, 1, '', NOW(3) - INTERVAL 1 HOUR)"
        )
    };
    let mut rows: Vec<String> = (0..150).map(|n| row(&format!("bad-{n}"), 0)).collect();
    rows.push(row("good", 5));
    app.stores.execute(&format!("INSERT INTO coupons {columns} VALUES {}", rows.join(","))).await;
    eventually("the coupon behind the rows is sold", || async {
        app.client().claim("shop", "good", &ann).await.result() == "claimed"
    })
    .await;
    app.stores.execute("DELETE FROM coupons WHERE amount = 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_redis_refuses_does_not_keep_the_repair_from_others() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    for name in ["broken", "good"] {
        app.client().create_coupon("shop", &shop, name, 5).await;
    }
    wait_until_published(&app).await;
    // Somebody has replaced the coupon's key by a text, so every script that reads it fails.
    let key = app.stores.keys().coupon(CouponId(1)).to_string();
    app.stores.redis::<()>(redis::cmd("SET").arg(&key).arg("x")).await;
    let lag =
        "UPDATE coupons SET description = 'changed', revision = revision + 1, changed_at = NOW(3) - INTERVAL 1 HOUR";
    app.stores.execute(lag).await;
    let published = "SELECT COUNT(*) FROM coupons WHERE name = 'good' AND published_revision = revision";
    eventually("the other coupon is published", || async { app.stores.number(published).await == 1 }).await;
    assert_eq!(app.client().claim("shop", "good", &ann).await.result(), "claimed");
    app.stores.redis::<()>(redis::cmd("DEL").arg(&key)).await;
    eventually("the broken coupon is loaded again", || async {
        app.client().claim("shop", "broken", &ann).await.result() == "claimed"
    })
    .await;
    wait_until_published(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_redis_is_down_nothing_is_created_or_changed_and_what_is_said_is_true() {
    let mut redis = RedisServer::start().await;
    let stores = Stores::create(Some(redis.url())).await;
    let app = TestApp::start_on(stores, |args| args.workers = Some(1)).await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    client.create_coupon("shop", &shop, "ten", 2).await;
    wait_until_published(&app).await;

    redis.kill();
    for _ in 0..3 {
        let answer = client.post(SHOP, &shop, &json!({"name": "new", "amount": 1, "stock": 1})).await;
        assert_eq!((answer.status, answer.header("Retry-After")), (503, "1"), "{answer:?}");
        assert_eq!(answer.json()["code"], "unavailable");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 1, "no coupon was created");
    let put = client.put(&format!("{SHOP}/ten"), &shop, &json!({"amount": 9, "description": "changed"})).await;
    assert_eq!((put.status, put.json()["code"].as_str()), (503, Some("unavailable")));
    let claim = client.claim("shop", "ten", &ann).await;
    assert_eq!((claim.status, claim.result()), (503, ""));
    for path in [SHOP, "/api/users/ann/coupons"] {
        let answer = client.get(path, &ann).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("unavailable")), "no empty list");
    }
    let rows = "SELECT CONCAT_WS('|', name, amount, description, revision) AS value FROM coupons WHERE name = 'ten'";
    assert_eq!(app.stores.texts(rows).await, ["ten|2|of a test|1"]);

    redis.restart().await;
    eventually("sales resume", || async { client.claim("shop", "ten", &ann).await.status == 201 }).await;
    assert_eq!(client.post(SHOP, &shop, &json!({"name": "new", "amount": 1, "stock": 1})).await.status, 201);
    wait_until_published(&app).await;
    app.settle().await;
}
