//! Recovery at the start: Redis is empty, still has all data, or is older than MySQL.

use std::collections::BTreeMap;
use std::time::Duration;

use couponrush::base::now_seconds;
use couponrush::domain::CouponId;
use serde_json::json;

use crate::helpers::{Client, Customer, Got, RedisServer, Stores, TestApp, customers, eventually, proof, rush};

const PATIENCE: Duration = Duration::from_secs(20);

/// A service with a separate Redis server and two coupons: `shop/rush` with 100 units, and the scheduled coupon
/// `shop/later`.
async fn selling(redis: &RedisServer) -> TestApp {
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 100).await;
    let later = json!({"name": "later", "amount": 7, "description": "x", "stock": 3, "scheduled": true});
    let answer = app.client().post("/api/users/shop/coupons", &saler, &later).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    // A change gives the coupons different revisions.
    let answer = app.client().put("/api/users/shop/coupons/rush", &saler, &json!({"description": "changed"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app
}

async fn claim_all(client: &Client, crowd: &[Customer]) -> Vec<Got> {
    rush(std::slice::from_ref(client), crowd, ("shop", "rush"), 8, PATIENCE).await
}

/// Asserts that a repeated claim returns the first claim, for every customer.
async fn assert_same(client: &Client, crowd: &[Customer], first: &[Got]) {
    for (first, again) in first.iter().zip(claim_all(client, crowd).await) {
        let (first, again) = (
            first.answer.as_ref().expect("the customer was answered"),
            again.answer.expect("the customer was answered"),
        );
        assert_eq!((again.status, again.result()), (204, "already-claimed"), "{again:?}");
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    }
}

/// The shard's data in Redis without parts that change by themselves: `live`, the sweeper's lock, and the counters in
/// entry ids.
async fn contents(stores: &Stores, crowd: &[Customer]) -> BTreeMap<String, BTreeMap<String, String>> {
    let keys = stores.keys();
    let mut contents = BTreeMap::new();
    let hashes = [keys.coupon(CouponId(1)), keys.coupon(CouponId(2)), keys.names()];
    let holders = crowd.iter().map(|customer| keys.holder(customer.user.id));
    for key in hashes.into_iter().chain(holders).map(|key| key.to_string()) {
        let mut fields: BTreeMap<String, String> = stores.redis(redis::cmd("HGETALL").arg(&key)).await;
        for value in fields.values_mut().filter(|_| key.contains(":holder:")) {
            let (entry, activity) = value.rsplit_once(':').expect("a hold has a colon");
            *value = format!("{} {activity}", entry.split('-').next().expect("a split has a first part"));
        }
        contents.insert(key, fields);
    }
    contents
}

/// The service's report about rebuilds: their number, loaded coupons, loaded claims.
async fn rebuilds(app: &TestApp) -> (u64, u64, u64) {
    let gate = &app.instances[0].ops.get("/readyz", "").await.json()["gate"];
    let number = |name: &str| gate[name].as_u64().expect("the report has the field");
    (number("rebuilds"), number("loaded_coupons"), number("loaded_claims"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_redis_is_loaded_from_mysql_before_anybody_is_served() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 100).await;
    let first = claim_all(app.client(), &crowd[..60]).await;
    app.settle().await;
    let before = contents(&app.stores, &crowd).await;
    app.stop().await;
    redis.kill();
    redis.empty();
    redis.restart().await;

    app.start_another().await;
    assert_eq!(contents(&app.stores, &crowd).await, before);
    assert_eq!(rebuilds(&app).await, (1, 2, 60));
    assert_same(app.client(), &crowd[..60], &first).await;
    let mine = app.client().list(crowd[0].user.name.as_str(), &crowd[0].token).await.json();
    assert_eq!(mine["data"][0]["name"], "rush", "{mine}");
    let answer = app.client().claim("shop", "later", &crowd[0].token).await;
    assert_eq!(answer.result(), "not-on-sale");

    // New seqs continue after the loaded claims.
    let rest = claim_all(app.client(), &crowd[60..]).await;
    let mut seqs: Vec<u32> =
        rest.iter().map(|got| proof(got.answer.as_ref().expect("the customer was answered")).seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (61..=100).collect::<Vec<u32>>());
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_restarted_with_its_data_is_not_loaded_again() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 50).await;
    let first = claim_all(app.client(), &crowd).await;
    app.settle().await;
    let before = contents(&app.stores, &crowd).await;
    app.stop().await;
    redis.kill();
    redis.restart().await;
    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (1, 2, 0), "coupons are published again and no claim is loaded");
    assert_eq!(contents(&app.stores, &crowd).await, before);
    assert_same(app.client(), &crowd, &first).await;
    // No rebuild happens while Redis keeps running.
    app.stop().await;
    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (0, 0, 0));
    app.stop().await;
    app.start_another().await;
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_with_an_older_file_is_brought_to_what_mysql_has() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 80).await;
    let mut first = claim_all(app.client(), &crowd[..30]).await;
    app.settle().await;
    app.stop().await;
    redis.kill();
    let older = redis.save();
    redis.restart().await;

    // A file of the present loading. Only the end is missing.
    app.start_another().await;
    let epoch = app.stores.live().await.epoch;
    first.extend(claim_all(app.client(), &crowd[30..60]).await);
    app.settle().await;
    app.stop().await;
    redis.kill();
    redis.bring_back(&older);
    redis.restart().await;
    app.start_another().await;
    assert!(app.stores.live().await.epoch > epoch);
    assert_same(app.client(), &crowd[..60], &first).await;

    // A file of an earlier loading. All data in the file is dropped.
    app.stop().await;
    redis.kill();
    redis.bring_back(&older);
    redis.restart().await;
    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (1, 2, 60));
    assert_same(app.client(), &crowd[..60], &first).await;
    let rest = claim_all(app.client(), &crowd[60..]).await;
    assert!(rest.iter().all(Got::has_unit));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT MAX(seq) FROM claims").await, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_older_file_of_the_same_loading_gets_only_what_it_lacks() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 50).await;
    let mut first = claim_all(app.client(), &crowd[..20]).await;
    app.settle().await;
    let older = redis.save();
    first.extend(claim_all(app.client(), &crowd[20..]).await);
    app.settle().await;
    app.stop().await;
    redis.kill();
    redis.bring_back(&older);
    redis.restart().await;
    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (1, 2, 30));
    assert_same(app.client(), &crowd, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holes_are_sold_last_and_in_the_end_there_are_none() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 120).await;
    claim_all(app.client(), &crowd[..50]).await;
    app.settle().await;
    app.stop().await;
    // As after a loss of Redis with claims that were never answered.
    app.stores.execute("DELETE FROM claims WHERE seq IN (3, 17, 18)").await;
    app.stores.execute("UPDATE coupons SET left_count = left_count + 3 WHERE name = 'rush'").await;
    redis.kill();
    redis.empty();
    redis.restart().await;
    app.start_another().await;
    let holes = app.stores.keys().holes(CouponId(1)).to_string();
    let listed: Vec<u32> = app.stores.redis(redis::cmd("LRANGE").arg(&holes).arg(0).arg(-1)).await;
    assert_eq!(listed, [3, 17, 18]);

    let mut seqs = Vec::new();
    for customer in &crowd[50..103] {
        let got = claim_all(app.client(), std::slice::from_ref(customer)).await;
        seqs.push(proof(got[0].answer.as_ref().expect("the customer was answered")).seq);
        if seqs.len() == 20 {
            // The remaining holes survive a restart with the data.
            app.settle().await;
            app.stop().await;
            redis.kill();
            redis.restart().await;
            app.start_another().await;
        }
    }
    let expected: Vec<u32> = (51..=100).chain([3, 17, 18]).collect();
    assert_eq!(seqs, expected);
    assert_eq!(claim_all(app.client(), &crowd[103..104]).await[0].result(), "sold-out");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims WHERE seq BETWEEN 1 AND 100").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_outbox_is_drained_before_the_epoch_is_raised_and_before_anything_is_loaded() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 60).await;
    let mut first = claim_all(app.client(), &crowd[..10]).await;
    app.settle().await;
    // As after the clock of Redis is set back: entry ids are now an hour ahead of the clock.
    let (outbox, id) = (app.stores.keys().outbox().to_string(), format!("{}-0", (now_seconds() + 3_600) * 1_000));
    app.stores.redis::<String>(redis::cmd("XADD").arg(&outbox).arg(&id).arg("c").arg("")).await;
    app.stores.redis::<u32>(redis::cmd("XDEL").arg(&outbox).arg(&id)).await;
    // Claims known only to Redis.
    let lock = app.stores.lock_table("claims").await;
    first.extend(claim_all(app.client(), &crowd[10..30]).await);
    app.stop().await;
    drop(lock);
    assert_eq!(app.stores.redis::<u32>(redis::cmd("GET").arg(app.stores.keys().waiting())).await, 20);
    redis.kill();
    redis.restart().await;
    app.stores.redis::<String>(redis::cmd("SET").arg(app.stores.keys().live()).arg("another:1")).await;
    // The trigger records the number of rows when the epoch is raised. Claims that become late must be among them.
    app.stores.execute("CREATE TABLE raised (claims INT)").await;
    app.stores
        .execute(
            "CREATE TRIGGER raising AFTER UPDATE ON shards FOR EACH ROW INSERT INTO raised \
             SELECT rows_found FROM (SELECT COUNT(*) AS rows_found FROM claims) AS counted WHERE NEW.epoch <> OLD.epoch",
        )
        .await;

    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (1, 2, 30));
    assert_eq!(app.stores.number("SELECT MIN(claims) FROM raised").await, 30);
    assert_same(app.client(), &crowd[..30], &first).await;
    let rest = claim_all(app.client(), &crowd[30..]).await;
    assert!(rest.iter().all(Got::has_unit));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 60);
    assert_eq!(app.stores.number("SELECT MAX(seq) FROM claims").await, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_with_a_claim_that_mysql_refuses_is_loaded_from_nothing() {
    let mut redis = RedisServer::start().await;
    let mut app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 20).await;
    let first = claim_all(app.client(), &crowd).await;
    app.settle().await;
    app.stop().await;
    // As if Redis had lost a user's hold and had granted the user a second unit.
    let (keys, user, epoch) = (app.stores.keys(), crowd[4].user.id, app.stores.live().await.epoch);
    let mut add = redis::cmd("XADD");
    add.arg(keys.outbox()).arg("*").arg("c").arg(format!("1:{user}:21:1:0:{epoch}"));
    let entry: String = app.stores.redis(&add).await;
    let hold = format!("21:{entry}:0");
    app.stores.redis::<u32>(redis::cmd("HSET").arg(keys.holder(user)).arg("1").arg(hold)).await;
    app.stores.redis::<u32>(redis::cmd("HSET").arg(keys.coupon(CouponId(1))).arg("claimed").arg(21)).await;
    redis.kill();
    redis.restart().await;
    app.start_another().await;
    assert_eq!(rebuilds(&app).await, (1, 2, 20));
    assert_same(app.client(), &crowd, &first).await;
    assert_eq!(app.stores.texts("SELECT claim AS value FROM poisoned_claims").await.len(), 1);
    app.stores.execute("DELETE FROM poisoned_claims").await;
}

/// The first rebuild loses its connections after it has raised the epoch. The second must still find that Redis has
/// all data of the last loading.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_connection_during_a_restart_without_loss_does_not_load_everything_again() {
    let mut redis = RedisServer::start().await;
    let app = selling(&redis).await;
    let crowd = customers(&app.stores, "crowd", 60).await;
    let first = claim_all(app.client(), &crowd[..50]).await;
    app.settle().await;
    let before = app.stores.live().await;
    // The rebuild waits for this lock when it loads the claims.
    let lock = app.stores.lock_table("claims").await;
    redis.kill();
    redis.restart().await;
    eventually("the epoch is raised", || async { app.stores.live().await.epoch > before.epoch }).await;
    redis.command::<u32>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    drop(lock);
    eventually("the gate opens", || async { app.client().is_ready().await }).await;
    assert!(app.stores.live().await.epoch.0 >= before.epoch.0 + 2, "there were two rebuilds");
    assert_eq!(rebuilds(&app).await.2, 0, "no claim is loaded again");
    assert_same(app.client(), &crowd[..50], &first).await;
    let rest = claim_all(app.client(), &crowd[50..]).await;
    assert!(rest.iter().all(Got::has_unit));
    app.settle().await;
}
