//! Coupons leave Redis and come back: at the saler's word, by themselves, and over rebuilds.

use std::collections::BTreeMap;
use std::time::Duration;

use couponrush::domain::{CouponId, Format, Kind, ShardId};
use couponrush::mysql::archive::{self, Finished};
use couponrush::sales::{PublishError, ScheduleError};
use serde_json::{Value, json};

use crate::helpers::{RedisServer, Stores, TestApp, eventually, eventually_within, now_seconds, terms};

const TEN: &str = "/api/users/shop/coupons/ten";
const ROW: &str = "SELECT CONCAT_WS('|', amount, left_count, archived, unloaded, first_archived_at IS NOT NULL, \
    published_revision = revision) AS value FROM coupons ORDER BY id";

/// A service with the coupon `shop/ten` of `amount` units. Returns the tokens of the saler and of customers.
async fn selling(amount: u32, customers: usize) -> (TestApp, String, Vec<String>) {
    selling_on(Stores::create(None).await, amount, customers).await
}

async fn selling_on(stores: Stores, amount: u32, customers: usize) -> (TestApp, String, Vec<String>) {
    let app = TestApp::start_on(stores, |_| {}).await;
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(customers).await;
    app.client().create_coupon("shop", &shop, "ten", amount).await;
    (app, shop, customers)
}

async fn change(app: &TestApp, token: &str, body: Value) -> (u16, String) {
    let answer = app.client().put(TEN, token, &body).await;
    (answer.status, answer.message())
}

async fn changed(app: &TestApp, token: &str, body: Value) {
    assert_eq!(change(app, token, body.clone()).await, (200, String::new()), "{body}");
}

async fn claimed(app: &TestApp, token: &str) -> (String, String) {
    let answer = app.client().claim("shop", "ten", token).await;
    (answer.result().to_owned(), answer.header("Claim-Token").to_owned())
}

/// The hash of the only coupon.
async fn hash(app: &TestApp) -> BTreeMap<String, String> {
    let id = app.stores.number("SELECT id FROM coupons").await.unsigned_abs();
    app.stores.redis(redis::cmd("HGETALL").arg(app.stores.keys().coupon(CouponId(id)))).await
}

/// The number of keys of holders, holes and activities.
async fn keys_of_claims(app: &TestApp) -> usize {
    let pattern = format!("{}*", app.stores.prefix);
    let keys: Vec<String> = app.stores.redis(redis::cmd("KEYS").arg(pattern)).await;
    let is_of_claims = |key: &&String| [":holder:", ":holes:", ":activity:"].iter().any(|word| key.contains(word));
    keys.iter().filter(is_of_claims).count()
}

/// Waits until the claims have left Redis, and MySQL knows it.
async fn is_archived(app: &TestApp) {
    eventually("the coupon is archived", || async {
        app.stores.texts(ROW).await[0].ends_with("|1|1|1|1") && keys_of_claims(app).await == 0
    })
    .await;
    let hash = hash(app).await;
    assert!(!hash.contains_key("amount") && !hash.contains_key("claimed"), "{hash:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_leaves_redis_and_a_raised_amount_brings_it_back_with_its_claims() {
    let (mut app, shop, customers) = selling(3, 6).await;
    app.start_another().await;
    let first = claimed(&app, &customers[0]).await;
    assert_eq!(claimed(&app, &customers[1]).await.0, "claimed");
    changed(&app, &shop, json!({"archived": true})).await;
    assert!(!hash(&app).await.contains_key("amount"), "the answer comes after the tombstone");
    is_archived(&app).await;
    assert_eq!(app.stores.texts(ROW).await, ["3|1|1|1|1|1"]);
    assert_eq!(app.audit().await.findings, []);
    changed(&app, &shop, json!({"amount": 4})).await;
    assert_eq!(app.stores.texts(ROW).await, ["4|2|0|0|1|1"]);
    let again = claimed(&app, &customers[0]).await;
    assert_eq!((again.0.as_str(), again.1), ("already-claimed", first.1));
    let results = [2, 3, 4].map(|n| claimed(&app, &customers[n]));
    let results = futures_util::future::join_all(results).await;
    let granted = results.iter().filter(|result| result.0 == "claimed").count();
    assert_eq!(granted, 2, "{results:?}");
    app.settle().await;
    assert_eq!(
        app.stores.texts("SELECT CAST(seq AS CHAR) AS value FROM claims ORDER BY seq").await,
        ["1", "2", "3", "4"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_and_the_counts_of_activities_come_back() {
    let redis = RedisServer::start().await;
    let (app, shop, customers) = selling_on(Stores::create(Some(redis.url())).await, 4, 6).await;
    let id = CouponId(app.stores.number("SELECT id FROM coupons").await.unsigned_abs());
    let mut sale = terms(-5, 3_600);
    sale.total = 4;
    app.instances[0].schedule(id, &sale).await.expect("the activity is created");
    for customer in &customers[..3] {
        assert_eq!(claimed(&app, customer).await.0, "claimed");
    }
    app.settle().await;
    app.stores.execute("DELETE FROM claims WHERE seq = 2").await;
    app.stores.execute("UPDATE coupons SET left_count = left_count + 1").await;
    let _: String = redis.command(&["FLUSHALL"]).await;
    eventually("Redis is loaded again", || async { keys_of_claims(&app).await == 4 }).await;
    eventually("the shard is live", || async { app.instances[0].ops.is_ready().await }).await;
    changed(&app, &shop, json!({"archived": true})).await;
    is_archived(&app).await;
    changed(&app, &shop, json!({"archived": false})).await;
    assert_eq!(keys_of_claims(&app).await, 4, "two holders, the list of holes, an activity");
    let mut results = Vec::new();
    for customer in [0, 1, 3, 4] {
        // The count of a second is unknown after a loading, but this activity has no quota per second.
        results.push(claimed(&app, &customers[customer]).await.0);
    }
    assert_eq!(results, ["already-claimed", "claimed", "claimed", "sold-out"], "the fourth unit, then the hole");
    app.settle().await;
    let seqs = "SELECT GROUP_CONCAT(seq ORDER BY seq) AS value FROM claims";
    assert_eq!(app.stores.texts(seqs).await, ["1,2,3,4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_coupons_are_archived_by_themselves_and_others_stay() {
    let app = TestApp::start_with(|args| args.archive_after = 1).await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(2).await;
    for name in ["sold", "open", "ended", "disabled", "later", "running"] {
        client.create_coupon("shop", &shop, name, 1).await;
    }
    let closed = json!({"name": "closed", "amount": 1, "stock": 1, "scheduled": true});
    assert_eq!(client.post("/api/users/shop/coupons", &shop, &closed).await.status, 201);
    let id = async |name: &str| {
        let id = app.stores.number(&format!("SELECT id FROM coupons WHERE name = '{name}'")).await;
        CouponId(id.unsigned_abs())
    };
    let instance = &app.instances[0];
    instance.schedule(id("ended").await, &terms(-9, 3)).await.expect("created");
    let disabled = instance.schedule(id("disabled").await, &terms(-9, 3_600)).await.expect("created");
    instance.reschedule(disabled, |terms| terms.status = couponrush::domain::Status::Disabled).await.expect("changed");
    instance.schedule(id("later").await, &terms(3_000, 3_600)).await.expect("created");
    instance.schedule(id("running").await, &terms(-9, 3_600)).await.expect("created");
    assert_eq!(client.claim("shop", "sold", &customers[0]).await.result(), "claimed");
    assert_eq!(client.claim("shop", "ended", &customers[0]).await.result(), "claimed");
    let archived = "SELECT COALESCE(GROUP_CONCAT(name ORDER BY name), '') AS value FROM coupons WHERE archived";
    eventually("three are archived", || async { app.stores.texts(archived).await == ["disabled,ended,sold"] }).await;
    // All activities are read every 30 s.
    eventually_within(Duration::from_secs(45), "their activities have left memory", || async {
        let activities = &instance.shared.selling.activities;
        activities.of(id("ended").await).is_none() && activities.of(id("disabled").await).is_none()
    })
    .await;
    assert!(instance.shared.selling.activities.of(id("later").await).is_some());
    // With a clock of Redis that is two hours ahead, the running sale would be over.
    let ahead = Finished { now: now_seconds() + 7_200, age: Duration::from_secs(1) };
    let found = archive::finished(&app.stores.db, ShardId::FIRST, ahead, 100).await.expect("MySQL answers");
    assert!(!found.contains(&id("running").await), "{found:?}");
    instance.schedule(id("ended").await, &terms(-1, 3_600)).await.expect("a new activity brings the coupon back");
    assert_eq!(app.stores.texts(archived).await, ["disabled,sold"]);
    assert_eq!(client.claim("shop", "ended", &customers[1]).await.result(), "sold-out");
    assert_eq!(client.claim("shop", "ended", &customers[0]).await.result(), "already-claimed");
    instance.reschedule(disabled, |terms| terms.status = couponrush::domain::Status::Normal).await.expect("changed");
    assert_eq!(client.claim("shop", "disabled", &customers[1]).await.result(), "claimed");
    assert_eq!(app.stores.texts(archived).await, ["sold"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_coupons_do_not_count_against_the_limit_of_a_saler() {
    let app = TestApp::start_with(|args| args.quotas.saler_coupons_max = Some(1)).await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 1).await;
    changed(&app, &shop, json!({"archived": true})).await;
    app.client().create_coupon("shop", &shop, "eleven", 1).await;
    assert_eq!(change(&app, &shop, json!({"amount": 2})).await, (400, "Too many coupons.".to_owned()));
    assert_eq!(change(&app, &shop, json!({"archived": false})).await, (400, "Too many coupons.".to_owned()));
    let ten = CouponId(app.stores.number("SELECT id FROM coupons WHERE name = 'ten'").await.unsigned_abs());
    let scheduled = app.instances[0].schedule(ten, &terms(-1, 3_600)).await;
    assert!(matches!(scheduled, Err(ScheduleError::Publish(PublishError::Quota(_)))), "{scheduled:?}");
    let eleven = app.client().put("/api/users/shop/coupons/eleven", &shop, &json!({"archived": true})).await;
    assert_eq!(eleven.status, 200, "{eleven:?}");
    changed(&app, &shop, json!({"amount": 2})).await;
    assert_eq!(app.stores.texts("SELECT name AS value FROM coupons WHERE NOT archived").await, ["ten"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_coupon_can_be_changed() {
    let (app, shop, customers) = selling(5, 2).await;
    assert_eq!(claimed(&app, &customers[0]).await.0, "claimed");
    assert_eq!(claimed(&app, &customers[1]).await.0, "claimed");
    changed(&app, &shop, json!({"amount": 4, "archived": true})).await;
    is_archived(&app).await;
    changed(&app, &shop, json!({"description": "from before"})).await;
    assert_eq!(hash(&app).await["description"], "from before");
    is_archived(&app).await;
    let below = "Amount is below what is claimed already.".to_owned();
    assert_eq!(change(&app, &shop, json!({"amount": 1})).await, (400, below));
    changed(&app, &shop, json!({"amount": 2})).await;
    is_archived(&app).await;
    assert_eq!(app.stores.texts(ROW).await, ["2|0|1|1|1|1"]);
    assert_eq!(hash(&app).await["final_left"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_loads_a_tombstone_without_claims() {
    let redis = RedisServer::start().await;
    let (app, shop, customers) = selling_on(Stores::create(Some(redis.url())).await, 5, 3).await;
    let first = claimed(&app, &customers[0]).await;
    changed(&app, &shop, json!({"archived": true})).await;
    is_archived(&app).await;
    let before = hash(&app).await;
    let _: String = redis.command(&["FLUSHALL"]).await;
    eventually("Redis is loaded again", || async { hash(&app).await == before }).await;
    eventually("the shard is live", || async { app.instances[0].ops.is_ready().await }).await;
    assert_eq!(keys_of_claims(&app).await, 0);
    changed(&app, &shop, json!({"archived": false})).await;
    assert_eq!(claimed(&app, &customers[0]).await, ("already-claimed".to_owned(), first.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_archived_before_the_format_is_raised() {
    let stores = Stores::create(None).await;
    let app = TestApp::start_on(stores, |args| {
        args.format = couponrush::config::KnownFormat::Previous;
        args.archive_after = 1;
    })
    .await;
    assert_eq!(app.args.known_format(), Format::PREVIOUS);
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 1).await;
    let refused = (400, "Archiving is not possible before the next upgrade is complete.".to_owned());
    assert_eq!(change(&app, &shop, json!({"archived": true})).await, refused);
    assert_eq!(app.stores.texts(ROW).await, ["1|1|0|0|0|1"]);
}
