//! Refusals from memory: correct refusals that need no call of Redis.

use std::time::{Duration, Instant};

use couponrush::domain::CouponId;
use serde_json::json;

use crate::helpers::{Customer, Instance, RedisServer, Stores, TestApp, customers, eventually, terms, without_rates};

const COUPON: CouponId = CouponId(1);

async fn shop(amount: u32, scheduled: bool) -> (TestApp, String, Vec<Customer>) {
    shop_on(Stores::create(None).await, amount, scheduled).await
}

async fn shop_on(stores: Stores, amount: u32, scheduled: bool) -> (TestApp, String, Vec<Customer>) {
    let app = TestApp::start_on(stores, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    let body = json!({"name": "sale", "amount": amount, "stock": 1, "scheduled": scheduled});
    assert_eq!(app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
    let crowd = customers(&app.stores, "crowd", 60).await;
    (app, saler, crowd)
}

/// The `Claim-Result`. Empty if a busy machine made the service answer 503.
async fn claim(instance: &Instance, customer: &Customer) -> String {
    instance.client.claim("shop", "sale", &customer.token).await.result().to_owned()
}

/// Claims for `customer` until an attempt is refused from memory. All attempts must be refused with `result`.
async fn wait_for_refusal_from_memory(instance: &Instance, customer: &Customer, result: &str) {
    let refused = || instance.claiming().refusals.figures().0;
    let before = refused();
    eventually("the attempt is refused from memory", || async {
        let refusal = claim(instance, customer).await;
        assert!([result, ""].contains(&refusal.as_str()), "{refusal}");
        refused() > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sold_out_is_said_from_memory_to_those_who_hold_nothing_and_holders_get_their_claim() {
    let (app, saler, crowd) = shop(20, false).await;
    let instance = &app.instances[0];
    let mut tokens = Vec::new();
    for holder in &crowd[..20] {
        tokens.push(instance.client.claim("shop", "sale", &holder.token).await.header("Claim-Token").to_owned());
    }
    wait_for_refusal_from_memory(instance, &crowd[20], "sold-out").await;
    for (holder, token) in crowd.iter().zip(&tokens) {
        let again = instance.client.claim("shop", "sale", &holder.token).await;
        assert_eq!((again.result(), again.header("Claim-Token")), ("already-claimed", token.as_str()));
    }

    // A raised amount can be claimed as soon as it is answered. A busy machine may answer an attempt with 503.
    for (raise, customer) in crowd[30..40].iter().enumerate() {
        let amount = json!({"amount": 21 + raise});
        let raised = instance.client.put("/api/users/shop/coupons/sale", &saler, &amount).await;
        assert_eq!(raised.status, 200, "{raised:?}");
        let mut result = claim(instance, customer).await;
        while result.is_empty() {
            result = claim(instance, customer).await;
        }
        assert!(["claimed", "already-claimed"].contains(&result.as_str()), "{amount}: {result}");
        wait_for_refusal_from_memory(instance, &crowd[20], "sold-out").await;
        assert_eq!(claim(instance, customer).await, "already-claimed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_refused_from_memory_while_redis_is_lost_or_away() {
    let (app, _, crowd) = shop(5, false).await;
    let instance = &app.instances[0];
    for holder in &crowd[..5] {
        assert_eq!(claim(instance, holder).await, "claimed");
    }
    wait_for_refusal_from_memory(instance, &crowd[5], "sold-out").await;
    app.settle().await;
    app.stores
        .redis::<()>(redis::cmd("SET").arg(app.stores.keys().live()).arg("rebuild:nobody").arg("PX").arg(1_500))
        .await;
    eventually("the gate closes", || async { claim(instance, &crowd[5]).await.is_empty() }).await;
    let refused = instance.claiming().refusals.figures().0;
    assert_eq!(instance.client.claim("shop", "sale", &crowd[5].token).await.status, 503);
    assert_eq!(instance.claiming().refusals.figures().0, refused);
    eventually("the shard is loaded again", || async { claim(instance, &crowd[5]).await == "sold-out" }).await;
    wait_for_refusal_from_memory(instance, &crowd[5], "sold-out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_compared_with_redis_refuses_nobody() {
    let redis = RedisServer::start().await;
    let (app, _, crowd) = shop_on(Stores::create(Some(redis.url())).await, 2, false).await;
    let instance = &app.instances[0];
    for holder in &crowd[..2] {
        assert_eq!(claim(instance, holder).await, "claimed");
    }
    app.settle().await;
    wait_for_refusal_from_memory(instance, &crowd[2], "sold-out").await;
    redis.freeze();
    let frozen = Instant::now();
    // The last comparison before the freeze counts for 200 ms.
    while claim(instance, &crowd[2]).await == "sold-out" {
        assert!(frozen.elapsed() < Duration::from_millis(400), "a sold-out refusal without a recent comparison");
    }
    redis.thaw();
    eventually("the refusals are compared with Redis again", || async {
        claim(instance, &crowd[2]).await == "sold-out"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn before_the_first_sale_everybody_is_refused_from_memory_and_the_start_is_not_missed() {
    let (app, _, crowd) = shop(50, true).await;
    let instance = &app.instances[0];
    wait_for_refusal_from_memory(instance, &crowd[0], "not-on-sale").await;
    let soon = terms(4, 60);
    instance.schedule(COUPON, &soon).await.expect("the activity can be created");
    wait_for_refusal_from_memory(instance, &crowd[0], "not-started").await;
    let start = soon.window.start() * 1_000;
    loop {
        let (before, result) = (couponrush::base::now_ms(), claim(instance, &crowd[0]).await);
        if result == "claimed" {
            assert!(couponrush::base::now_ms() >= start, "a claim before the start");
            break;
        }
        assert!(["not-started", ""].contains(&result.as_str()), "{result}");
        assert!(before < start + 500, "the sale does not open at its start");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_activity_that_has_sold_its_total_is_refused_from_memory_until_it_gets_more() {
    let (app, _, crowd) = shop(50, true).await;
    let instance = &app.instances[0];
    let mut few = terms(-10, 600);
    few.total = 2;
    let id = instance.schedule(COUPON, &few).await.expect("the activity can be created");
    for holder in &crowd[..2] {
        assert_eq!(claim(instance, holder).await, "claimed");
    }
    wait_for_refusal_from_memory(instance, &crowd[2], "sold-out").await;
    instance.reschedule(id, |terms| terms.total = 3).await.expect("the activity can be changed");
    let since = Instant::now();
    while claim(instance, &crowd[2]).await != "claimed" {
        assert!(since.elapsed() < Duration::from_secs(1), "a raised total stays closed");
    }
    instance
        .reschedule(id, |terms| terms.window = crate::helpers::terms(-20, -10).window)
        .await
        .expect("the activity can be ended");
    wait_for_refusal_from_memory(instance, &crowd[3], "ended").await;
    assert_eq!(claim(instance, &crowd[2]).await, "already-claimed");
}
