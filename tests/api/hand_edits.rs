//! Activities that were edited or deleted in MySQL by hand, and a MySQL that hangs while activities change.

use std::time::{Duration, Instant};

use couponrush::domain::CouponId;
use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{Answer, Customer, MysqlServer, Stores, TestApp, customers, eventually, terms, without_rates};

/// The time in which an edit by hand is seen: a read of all rows every 30 s, and a few seconds for a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(35);

/// Scheduled coupons `sale-1` and further, with ids from 1 and an activity each, and customers.
async fn shop(app: &TestApp, coupons: u64, count: usize) -> Vec<Customer> {
    let saler = app.client().user("shop", "saler").await;
    for coupon in 1..=coupons {
        let body = json!({"name": format!("sale-{coupon}"), "amount": 100, "stock": 1, "scheduled": true});
        assert_eq!(app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
        app.instances[0].schedule(CouponId(coupon), &terms(-10, 600)).await.expect("an activity");
    }
    customers(&app.stores, "crowd", count).await
}

async fn claim(app: &TestApp, coupon: u64, customer: &Customer) -> Answer {
    app.client().claim("shop", &format!("sale-{coupon}"), &customer.token).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn activities_edited_or_deleted_by_hand_are_seen_within_half_a_minute() {
    let app = TestApp::start_without_rates().await;
    let crowd = shop(&app, 3, 2).await;
    for coupon in 1..=3 {
        assert_eq!(claim(&app, coupon, &crowd[0]).await.result(), "claimed");
    }
    app.settle().await;
    app.stores.execute("UPDATE activities SET status = 2, changed_at = changed_at WHERE coupon_id = 1").await;
    app.stores.execute("DELETE FROM activities WHERE coupon_id = 2").await;
    let began = Instant::now();
    let shown =
        async |coupon| app.client().get(&format!("/sec/info?product_id={coupon}"), "").await.json()["data"].clone();
    while shown(1).await["status"] != 2 || !shown(2).await.is_null() {
        assert!(began.elapsed() < SEEN_WITHIN, "{} {}", shown(1).await, shown(2).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(claim(&app, 1, &crowd[1]).await.result(), "sold-out");
    assert_eq!(claim(&app, 2, &crowd[1]).await.result(), "not-on-sale");
    assert_eq!(claim(&app, 3, &crowd[1]).await.result(), "claimed");
    // A later activity of the coupon without rows is sold at once.
    app.instances[0].schedule(CouponId(2), &terms(-10, 600)).await.expect("an activity");
    assert_eq!(claim(&app, 2, &crowd[1]).await.result(), "claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mysql_that_hangs_costs_only_attempts_at_coupons_whose_activities_have_changed() {
    const COUPONS: u64 = 12;
    let server = MysqlServer::start().await;
    let app = TestApp::start_on(Stores::create_on(&server.url(), None).await, without_rates).await;
    let crowd = shop(&app, COUPONS, 60).await;
    app.settle().await;
    // Redis names later activities of all coupons but the first than MySQL ever had.
    let set = async |coupon: u64, revision: &str| {
        let key = app.stores.keys().coupon(CouponId(coupon)).to_string();
        let mut hash = redis::cmd("HGET");
        let before: String = app.stores.redis(hash.arg(&key).arg("activity_revision")).await;
        let mut hash = redis::cmd("HSET");
        app.stores.redis::<i64>(hash.arg(&key).arg("activity_revision").arg(revision)).await;
        before
    };
    let mut before = Vec::new();
    for coupon in 2..=COUPONS {
        before.push(set(coupon, "1000").await);
    }
    server.freeze();
    let began = Instant::now();
    let stale = crowd[..50].iter().enumerate().map(|(n, customer)| claim(&app, 2 + n as u64 % (COUPONS - 1), customer));
    let known = crowd[50..].iter().map(|customer| claim(&app, 1, customer));
    let (stale, known) = tokio::join!(join_all(stale), join_all(known));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(stale.iter().all(|answer| answer.status == 503), "{stale:?}");
    assert!(known.iter().all(|answer| answer.result() == "claimed"), "{known:?}");
    let metrics = app.instances[0].ops.get("/metrics", "").await.text;
    let busy = "couponrush_mysql_connections_busy{pool=\"users\"} ";
    let busy = metrics.lines().find_map(|line| line.strip_prefix(busy)).expect("the pool is shown");
    assert!(busy.parse::<u32>().expect("a number") <= 4, "{busy} connections are busy");
    server.thaw();
    for (coupon, revision) in (2..=COUPONS).zip(&before) {
        set(coupon, revision).await;
    }
    for coupon in 2..=COUPONS {
        eventually("the coupon is sold", || async { claim(&app, coupon, &crowd[50]).await.status < 300 }).await;
    }
    app.settle().await;
    // The checks at the end need the server.
    drop(app);
}
