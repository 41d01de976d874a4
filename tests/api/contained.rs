//! Rows edited or deleted by hand, and keys lost by Redis. Each harms only its own coupon or activity.

use std::time::{Duration, Instant};

use couponrush::domain::{CouponId, Kind};
use serde_json::json;

use crate::helpers::{RedisServer, Stores, TestApp, audit, eventually, terms, without_rates};

/// A service with a Redis server of its own, the coupons `shop/good` (id 1) and `shop/bad` (id 2) of 10 units each, and
/// customers. The first customer holds both coupons. The instance has a single worker, so every request meets its cache.
struct Shop {
    app: TestApp,
    shop: String,
    customers: Vec<String>,
    _redis: RedisServer,
}

impl Shop {
    async fn open() -> Self {
        let redis = RedisServer::start().await;
        let stores = Stores::create(Some(redis.url())).await;
        let one_worker = |args: &mut _| {
            without_rates(args);
            args.workers = Some(1);
        };
        let app = TestApp::start_on(stores, one_worker).await;
        let shop = app.user("shop", Kind::Saler).await;
        let customers = app.customers(6).await;
        for name in ["good", "bad"] {
            app.client().create_coupon("shop", &shop, name, 10).await;
            // On a busy machine, the first attempt may be shed.
            eventually("the coupon is claimed", || async {
                let answer = app.client().claim("shop", name, &customers[0]).await;
                ["claimed", "already-claimed"].contains(&answer.result())
            })
            .await;
        }
        app.settle().await;
        Self { app, shop, customers, _redis: redis }
    }

    /// The result of a claim, or the error code.
    async fn claim(&self, name: &str, customer: usize) -> String {
        let answer = self.app.client().claim("shop", name, &self.customers[customer]).await;
        if answer.status == 503 { answer.error().2 } else { answer.result().to_owned() }
    }

    /// Empties Redis and waits for the rebuild.
    async fn reload(&self) {
        let before = self.rebuilds().await;
        self.app.stores.redis::<()>(&redis::cmd("FLUSHALL")).await;
        eventually("the shard is rebuilt", || async {
            self.rebuilds().await > before && self.app.instances[0].ops.is_ready().await
        })
        .await;
    }

    async fn rebuilds(&self) -> u64 {
        let ready = self.app.instances[0].ops.get("/readyz", "").await.json();
        ready["gate"]["rebuilds"].as_u64().expect("the report has the number")
    }

    /// The value of `couponrush_unreadable_rows`.
    async fn unreadable_rows(&self) -> String {
        let page = self.app.instances[0].ops.get("/metrics", "").await.text;
        let value = page.lines().find_map(|line| line.strip_prefix("couponrush_unreadable_rows "));
        value.expect("the page has the metric").to_owned()
    }

    /// Asserts that claims of `bad` get `result`, that `good` is sold, and that no further rebuild starts meanwhile.
    async fn assert_contained(&self, result: &str, customers: std::ops::Range<usize>) {
        let rebuilds = self.rebuilds().await;
        for customer in customers {
            assert_eq!(self.claim("bad", customer).await, result);
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(self.claim("good", customer).await, "claimed");
            assert_eq!(self.claim("bad", 0).await, result, "a holder gets no other answer");
        }
        assert_eq!(self.rebuilds().await, rebuilds, "one coupon must not stop the shard again and again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unreadable_coupon_costs_itself_only_and_is_named() {
    let mut shop = Shop::open().await;
    let admin = shop.app.user("root", Kind::Admin).await;
    shop.app.stores.execute("UPDATE coupons SET amount = 0 WHERE name = 'bad'").await;
    eventually("the row is found before a rebuild needs it", || async { shop.unreadable_rows().await == "1" }).await;
    assert_eq!(shop.claim("bad", 1).await, "claimed", "Redis has the last good values");
    shop.app.settle().await;
    shop.reload().await;
    shop.assert_contained("unavailable", 2..4).await;

    let status = shop.app.client().get("/admin/status", &admin).await.json();
    assert_eq!(status["unreadable_rows"], json!([{"table": "coupons", "id": 2, "column": "amount"}]));
    let (holds, output) = audit(&shop.app.stores, &[]).await;
    assert!(!holds && output.contains("row 2 of coupons: cannot be read: amount is out of range"), "{output}");
    let kill = shop.app.client().send("POST", "/sec/kill", &shop.customers[4], Some("product_id=2")).await;
    assert_eq!(kill.status, 503, "the product exists: {kill:?}");
    for path in ["/product/list", "/api/users/shop/coupons", "/api/users/customer-0/coupons"] {
        let token = if path.contains("customer-0") { &shop.customers[0] } else { &shop.shop };
        let answer = shop.app.client().get(path, token).await;
        assert!(answer.status == 200 && answer.text.contains("good") && !answer.text.contains("\"bad\""), "{answer:?}");
    }

    // An instance that never knew the coupon does not call it unknown.
    let other = shop.app.start_another().await.client.clone();
    eventually("the other instance has found the row", || async {
        other.claim("shop", "bad", &shop.customers[0]).await.status == 503
    })
    .await;

    shop.app
        .stores
        .execute("UPDATE coupons SET amount = 10, revision = revision + 1, changed_at = NOW(3) WHERE name = 'bad'")
        .await;
    eventually("the corrected coupon is sold", || async { shop.claim("bad", 4).await == "claimed" }).await;
    assert_eq!(shop.claim("bad", 0).await, "already-claimed");
    eventually("the row is no longer counted", || async { shop.unreadable_rows().await == "0" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_bad_column_of_a_coupon_is_contained() {
    let shop = Shop::open().await;
    let stores = &shop.app.stores;
    let mends = "UPDATE coupons SET name = 'bad', amount = 10, face_value = 5, description = 'of a test' WHERE id = 2";
    for bad in ["name = 'a/b'", "name = ''", "amount = 4000000000", "face_value = 4000000000"] {
        stores.execute(&format!("UPDATE coupons SET {bad} WHERE id = 2")).await;
        shop.reload().await;
        assert_eq!(shop.claim("good", 0).await, "already-claimed", "{bad}");
        assert_eq!(shop.unreadable_rows().await, "1", "{bad}");
        stores.execute(mends).await;
    }
    // A coupon whose saler is gone.
    stores.execute("UPDATE coupons SET saler_id = 4000000 WHERE id = 2").await;
    shop.reload().await;
    shop.assert_contained("unavailable", 1..2).await;
    stores.execute("UPDATE coupons SET saler_id = (SELECT id FROM users WHERE username = 'shop') WHERE id = 2").await;
    eventually("the corrected coupon is sold", || async { shop.claim("bad", 0).await == "already-claimed" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unreadable_activity_stops_no_start_and_is_not_in_force() {
    let mut shop = Shop::open().await;
    let (good, bad) = (CouponId(1), CouponId(2));
    let instance = &shop.app.instances[0];
    for coupon in [good, bad] {
        instance.schedule(coupon, &terms(-10, 3_600)).await.expect("the window is free");
        instance.schedule(coupon, &terms(3_600, 7_200)).await.expect("the window is free");
    }
    let ids = shop.app.stores.texts("SELECT CAST(id AS CHAR) AS value FROM activities ORDER BY id").await;
    let [_, good_later, bad_now, bad_later] = &ids[..] else { panic!("four activities: {ids:?}") };
    let spoil = format!("UPDATE activities SET end_time = start_time WHERE id IN ({good_later}, {bad_now})");
    shop.app.stores.execute(&spoil).await;
    shop.app.stop().await;
    shop.app.start_another().await;
    assert_eq!(shop.claim("good", 1).await, "claimed", "the readable activity is in force");
    assert_eq!(shop.claim("bad", 1).await, "not-started", "the activity of tomorrow decides");
    assert_eq!(shop.unreadable_rows().await, "2");
    // The last readable activity becomes unreadable, too.
    shop.app.stores.execute(&format!("UPDATE activities SET status = 9 WHERE id = {bad_later}")).await;
    shop.app.stop().await;
    shop.app.start_another().await;
    assert_eq!(shop.claim("bad", 2).await, "not-on-sale");
    assert_eq!(shop.claim("good", 2).await, "claimed");
    let list = shop.app.client().get("/sec/list", "").await;
    assert!(list.status == 200 && list.text.contains("good") && !list.text.contains("bad"), "{list:?}");
    let list = shop.app.client().get("/activity/list", &shop.shop).await;
    assert_eq!((list.status, list.json()["data"].as_array().map(Vec::len)), (200, Some(1)), "{list:?}");
    // Readable activities of the coupon can still be changed and added.
    let again = shop.app.instances[0].schedule(bad, &terms(-5, 600)).await;
    assert!(again.is_ok(), "{again:?}");
    eventually("the new activity is in force", || async { shop.claim("bad", 3).await == "claimed" }).await;
    shop.app
        .stores
        .execute(&format!("DELETE FROM activities WHERE id IN ({good_later}, {bad_now}, {bad_later})"))
        .await;
    eventually("deleted rows are no longer counted", || async { shop.unreadable_rows().await == "0" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_coupon_that_both_stores_lack_is_no_such_coupon() {
    let shop = Shop::open().await;
    shop.app.stores.execute("DELETE FROM coupons WHERE name = 'bad'").await;
    assert_eq!(shop.claim("bad", 1).await, "claimed", "Redis has the coupon until the next loading");
    shop.app.settle().await;
    assert_eq!(shop.app.stores.number("SELECT COUNT(*) FROM claims WHERE coupon_id = 2").await, 2, "nothing is lost");
    shop.reload().await;
    shop.assert_contained("no-such-coupon", 2..4).await;
    let kill = shop.app.client().send("POST", "/sec/kill", &shop.customers[4], Some("product_id=2")).await;
    assert_eq!(kill.json()["code"], 1002, "{kill:?}");
    let mine = shop.app.client().get("/api/users/customer-0/coupons", &shop.customers[0]).await;
    assert!(mine.text.contains("good"), "{mine:?}");
    let (holds, output) = audit(&shop.app.stores, &[]).await;
    assert!(!holds && output.contains("coupon 2: has claims but does not exist"), "{output}");
    // A row inserted again is loaded with its claims, although it was never published.
    let insert = "INSERT INTO coupons (id, saler_id, name, amount, left_count, face_value, description) \
        SELECT 2, id, 'bad', 10, 8, 5, '' FROM users WHERE username = 'shop'";
    shop.app.stores.execute(insert).await;
    eventually("the coupon is loaded", || async { shop.claim("bad", 0).await == "already-claimed" }).await;
    assert_eq!(shop.claim("bad", 5).await, "claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_coupon_that_redis_lost_is_brought_back_by_one_rebuild() {
    let shop = Shop::open().await;
    let key = shop.app.stores.keys().coupon(CouponId(2)).to_string();
    let rebuilds = shop.rebuilds().await;
    shop.app.stores.redis::<u32>(redis::cmd("DEL").arg(&key)).await;
    let list = shop.app.client().get("/api/users/shop/coupons", &shop.shop).await;
    assert!(list.status == 200 && list.text.contains("good"), "{list:?}");
    eventually("the coupon is sold again", || async { shop.claim("bad", 1).await == "claimed" }).await;
    assert_eq!(
        (shop.claim("bad", 0).await, shop.claim("good", 0).await),
        ("already-claimed".into(), "already-claimed".into())
    );
    assert_eq!(shop.rebuilds().await, rebuilds + 1);
    // The coupon is lost again at once, as by a program that deletes the key. It is closed by itself.
    shop.app.stores.redis::<u32>(redis::cmd("DEL").arg(&key)).await;
    shop.assert_contained("unavailable", 2..4).await;
    assert_eq!(shop.rebuilds().await, rebuilds + 1);
    shop.reload().await;
    assert_eq!(shop.claim("bad", 0).await, "already-claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_mysql_is_away_a_missing_coupon_is_closed_alone() {
    let shop = Shop::open().await;
    let rebuilds = shop.rebuilds().await;
    let lock = shop.app.stores.lock_table("coupons").await;
    let key = shop.app.stores.keys().coupon(CouponId(2)).to_string();
    shop.app.stores.redis::<u32>(redis::cmd("DEL").arg(&key)).await;
    for customer in 1..4 {
        let asked = Instant::now();
        assert_eq!(shop.claim("bad", customer).await, "unavailable");
        assert!(asked.elapsed() < Duration::from_secs(1), "the customer waits {:?} for MySQL", asked.elapsed());
        assert_eq!(shop.claim("good", customer).await, "claimed");
    }
    assert_eq!(shop.rebuilds().await, rebuilds);
    drop(lock);
    eventually("the coupon is sold again", || async { shop.claim("bad", 1).await == "claimed" }).await;
}
