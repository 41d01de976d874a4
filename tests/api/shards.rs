//! Several shards: coupons are spread, every route finds them, and a closed shard harms only its own coupons.

use couponrush::domain::{Kind, ShardId};
use couponrush::mysql::shards;
use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{Client, Stores, TestApp, eventually, run_command, terms, without_rates};

const SHARDS: u8 = 3;

async fn start(shards: u8, instances: usize) -> TestApp {
    let mut app = TestApp::start_with(|args| {
        without_rates(args);
        args.shards = shards;
    })
    .await;
    for _ in 1..instances {
        app.start_another().await;
    }
    app
}

/// Creates coupons `c0`, `c1`... of `shop`.
async fn create(client: &Client, shop: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        client.create_coupon("shop", shop, &format!("c{number}"), 5).await;
    }
}

/// The number of coupons of each shard that has any.
async fn spread(app: &TestApp) -> Vec<String> {
    app.stores.texts("SELECT CONCAT(shard, ' ', COUNT(*)) AS value FROM coupons GROUP BY shard ORDER BY shard").await
}

/// The id of a coupon of `shop` that is in this shard.
async fn product_in(app: &TestApp, shard: &str) -> u64 {
    let sql = format!("SELECT CAST(MIN(id) AS SIGNED) AS value FROM coupons WHERE shard = '{shard}'");
    app.stores.number(&sql).await.try_into().expect("the shard has a coupon")
}

async fn name_of(app: &TestApp, product: u64) -> String {
    app.stores.texts(&format!("SELECT name AS value FROM coupons WHERE id = {product}")).await.remove(0)
}

async fn names(client: &Client, user: &str, token: &str, page: u32) -> Vec<String> {
    let answer = client.get(&format!("/api/users/{user}/coupons?page={page}"), token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let list = answer.json();
    let names = list["data"].as_array().expect("a list").iter();
    names.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn coupons_are_spread_evenly_and_claims_and_lists_find_them_on_every_instance() {
    let app = start(SHARDS, 2).await;
    let (shop, ann) = (app.user("shop", Kind::Saler).await, app.user("ann", Kind::Customer).await);
    create(app.client(), &shop, 0..27).await;
    assert_eq!(spread(&app).await, ["s0 9", "s1 9", "s2 9"]);

    let newest_first: Vec<String> = (0..27).rev().map(|number| format!("c{number}")).collect();
    for number in 0..27_usize {
        let name = format!("c{number}");
        let claimed = app.instances[number % 2].client.claim("shop", &name, &ann).await;
        let again = app.instances[1 - number % 2].client.claim("shop", &name, &ann).await;
        assert_eq!((claimed.result(), again.result()), ("claimed", "already-claimed"), "{name}");
        assert_eq!(claimed.header("Claim-Token"), again.header("Claim-Token"), "{name}");
    }
    assert_eq!(app.client().claim("shop", "none", &ann).await.result(), "no-such-coupon");
    for instance in &app.instances {
        for (user, token) in [("shop", &shop), ("ann", &ann)] {
            assert_eq!(names(&instance.client, user, token, 1).await, newest_first[..20], "{user}");
            assert_eq!(names(&instance.client, user, token, 2).await, newest_first[20..], "{user}");
        }
    }
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) AS value FROM claims").await, 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_an_archived_coupon_and_a_sale_reach_the_shard_of_the_coupon() {
    let app = start(SHARDS, 2).await;
    let (shop, ann) = (app.user("shop", Kind::Saler).await, app.user("ann", Kind::Customer).await);
    create(app.client(), &shop, 0..3).await;
    for shard in ["s0", "s1", "s2"] {
        let product = product_in(&app, shard).await;
        let path = format!("/api/users/shop/coupons/{}", name_of(&app, product).await);
        for body in [json!({"amount": 9}), json!({"amount": 3})] {
            assert_eq!(app.client().put(&path, &shop, &body).await.status, 200, "{shard}: {body}");
        }
        app.instances[0].schedule(couponrush::domain::CouponId(product), &terms(-10, 600)).await.expect("a sale");
        for (instance, code) in [(0, 200), (1, 400)] {
            let client = &app.instances[instance].client;
            let bought = client.post("/sec/kill", &ann, &json!({"product_id": product})).await;
            assert_eq!(bought.status, code, "{shard}: {}", bought.text);
            let sale = client.get(&format!("/sec/info?product_id={product}"), "").await.json();
            assert_eq!(sale["data"]["amount"], json!(3), "{shard}: {sale}");
        }
        let events = app.client().request("GET", &format!("/sec/events?product_id={product}")).send().await;
        assert_eq!(events.expect("the service answers").status(), 200, "{shard}");
    }
    let sales = app.client().get("/sec/list", "").await.json();
    assert_eq!(sales["data"].as_array().map(Vec::len), Some(3), "{sales}");

    let product = product_in(&app, "s2").await;
    let path = format!("/api/users/shop/coupons/{}", name_of(&app, product).await);
    app.settle().await;
    for archived in [true, false] {
        let changed = app.client().put(&path, &shop, &json!({"archived": archived})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        assert_eq!(names(app.client(), "ann", &ann, 1).await.len(), 3, "archived: {archived}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_cannot_be_loaded_holds_up_no_other() {
    let app = start(2, 2).await;
    let (shop, ann) = (app.user("shop", Kind::Saler).await, app.user("ann", Kind::Customer).await);
    create(app.client(), &shop, 0..4).await;
    let (open, closed) = (product_in(&app, "s0").await, product_in(&app, "s1").await);
    let (open, closed) = (name_of(&app, open).await, name_of(&app, closed).await);
    for name in [&open, &closed] {
        assert_eq!(app.client().claim("shop", name, &ann).await.result(), "claimed");
    }
    app.settle().await;

    // A rebuild of the second shard waits for this lock at its first step.
    let second = ShardId::new(1).expect("a number below the maximum");
    let lock = app.stores.lock_where("shards", "shard = 's1'").await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys_of(second).live())).await;
    let ben = app.user("ben", Kind::Customer).await;
    for instance in &app.instances {
        eventually("the second shard is closed", || async {
            let report = instance.ops.get("/readyz", "").await.json();
            report["shards"][1]["gate"]["state"] == json!("recovering")
        })
        .await;
    }
    for instance in &app.instances {
        assert_eq!(instance.client.claim("shop", &open, &ann).await.result(), "already-claimed");
        assert_eq!(instance.client.claim("shop", &closed, &ann).await.status, 503);
        for (user, token, count) in [("shop", &shop, 4), ("ann", &ann, 2)] {
            let listed = names(&instance.client, user, token, 1).await;
            assert_eq!(listed.len(), count, "{user}: the part of the closed shard comes from MySQL");
            assert!(listed.contains(&closed), "{listed:?}");
        }
        let unknown = instance.client.claim("shop", "none", &ann).await;
        assert_eq!(unknown.status, 503, "the closed shard may have the coupon");
        assert!(instance.ops.is_ready().await, "a shard can be claimed from");
        let report = instance.ops.get("/readyz", "").await.json();
        assert_eq!(report["shards"][0]["gate"]["state"], json!("open"));
        assert_eq!(report["gate"]["state"], json!("recovering"), "the state of the first shard with trouble");
        let metrics = instance.ops.get("/metrics", "").await.text;
        assert!(metrics.contains("couponrush_shard_open{shard=\"s1\"} 0\n"), "{metrics}");
    }
    assert_eq!(app.client().claim("shop", &open, &ben).await.result(), "claimed");
    // A new coupon goes to the shard that can be claimed from, although it has more coupons.
    create(app.client(), &shop, 4..6).await;
    assert_eq!(spread(&app).await, ["s0 4", "s1 2"]);

    drop(lock);
    eventually("the second shard is loaded", || async {
        app.client().claim("shop", &closed, &ben).await.result() == "claimed"
    })
    .await;
    assert_eq!(app.client().claim("shop", &closed, &ann).await.result(), "already-claimed");
    assert_eq!(app.client().claim("shop", "none", &ann).await.result(), "no-such-coupon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_added_while_the_service_runs_and_gets_the_next_coupons() {
    let app = start(1, 2).await;
    let (shop, ann) = (app.user("shop", Kind::Saler).await, app.user("ann", Kind::Customer).await);
    create(app.client(), &shop, 0..2).await;
    app.stores.own_shards(2).await;
    let (is_added, output) = run_command(&app.stores, "shards", &["add"]).await;
    assert!(is_added, "{output}");
    eventually("both instances know the shard", || async {
        app.stores.number("SELECT COUNT(*) AS value FROM instances WHERE shard = 's1'").await == 2
    })
    .await;
    for instance in &app.instances {
        eventually("the shard is open", || async {
            let report = instance.ops.get("/readyz", "").await.json();
            report["shards"][1]["gate"]["state"] == json!("open")
        })
        .await;
    }
    let (_, listed) = run_command(&app.stores, "shards", &["list"]).await;
    assert!(listed.contains("s1 is loaded, epoch 1, 0 open coupons"), "{listed}");
    create(app.client(), &shop, 2..4).await;
    assert_eq!(spread(&app).await, ["s0 2", "s1 2"]);
    for instance in &app.instances {
        for number in 0..4 {
            // A worker connects to the shard within a second.
            eventually("the coupon can be claimed", || async {
                let claimed = instance.client.claim("shop", &format!("c{number}"), &ann).await;
                assert_ne!(claimed.result(), "no-such-coupon", "c{number}");
                claimed.status != 503
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_make_the_shards_of_a_new_database_once() {
    let app = start(1, 0).await;
    let stores = Stores::create(None).await;
    stores.own().await;
    let starts = (0..8).map(|_| shards::start_with(&stores.db, 3));
    for started in join_all(starts).await {
        started.expect("MySQL answers");
    }
    assert_eq!(stores.shards().await.len(), 3);
    shards::start_with(&app.stores.db, 3).await.expect("MySQL answers");
    assert_eq!(app.stores.shards().await.len(), 1, "a shard was loaded before");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_an_instance_does_not_know_gets_no_coupons() {
    let app = start(2, 1).await;
    let shop = app.user("shop", Kind::Saler).await;
    app.stores
        .execute(
            "INSERT INTO instances (instance, process, beat_at, format) VALUES ('p', 'p', NOW(3) + INTERVAL 1 HOUR, 2)",
        )
        .await;
    create(app.client(), &shop, 0..2).await;
    assert_eq!(spread(&app).await, ["s0 2"], "a process does not know the second shard");
}
