//! Pages of lists behind page 1,000: `?after=` leads there, and no store counts that far.

use couponrush::domain::{Kind, ShardId};
use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, eventually, now_seconds, without_rates};

async fn start(shards: u8) -> TestApp {
    TestApp::start_with(|args| {
        without_rates(args);
        args.shards = shards;
    })
    .await
}

/// The items of a page. An empty page is 204 in the coupon interface, and an empty list in the flash-sale interface.
async fn items(client: &Client, path: &str, token: &str) -> Vec<Value> {
    let answer = client.get(path, token).await;
    if answer.status == 204 {
        return Vec::new();
    }
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()["data"].as_array().unwrap_or_else(|| panic!("{path}: {answer:?}")).clone()
}

/// The values of `key` on all pages. `?after=` leads from page to page.
async fn walk(client: &Client, path: &str, token: &str, key: &str) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    loop {
        let query = found.last().map_or_else(String::new, |last| format!("?after={last}"));
        let page = items(client, &format!("{path}{query}"), token).await;
        if page.is_empty() {
            return found;
        }
        let page: Vec<u64> = page.iter().map(|item| item[key].as_u64().expect("a number")).collect();
        assert!(!page.iter().any(|item| found.contains(item)), "{path}: {page:?} comes again");
        found.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saler_s_coupons_follow_one_another_in_one_shard_and_in_several() {
    for shards in [1, 3] {
        let app = start(shards).await;
        let (client, shop) = (app.client(), app.user("shop", Kind::Saler).await);
        for n in 0..45 {
            client.create_coupon("shop", &shop, &format!("coupon-{n}"), 5).await;
        }
        let ids = app.stores.texts("SELECT CAST(id AS CHAR) AS value FROM coupons ORDER BY id DESC").await;
        let walked = walk(client, "/api/users/shop/coupons", &shop, "product_id").await;
        assert_eq!(walked.iter().map(u64::to_string).collect::<Vec<_>>(), ids, "{shards} shards");
        assert_eq!(walk(client, "/product/list", &shop, "product_id").await, walked);
        let beside = items(client, &format!("/api/users/shop/coupons?page=7&after={}", walked[24]), &shop).await;
        assert_eq!(beside.len(), 20, "`after` comes before `page`");
        for query in ["page=1001", "after=0", "page=9223372036854775807"] {
            let answer = client.get(&format!("/api/users/shop/coupons?{query}"), &shop).await;
            assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_shard_s_coupons_follow_one_another_from_mysql() {
    let app = start(2).await;
    let (client, shop) = (app.client(), app.user("shop", Kind::Saler).await);
    for n in 0..45 {
        client.create_coupon("shop", &shop, &format!("coupon-{n}"), 5).await;
    }
    let before = walk(client, "/api/users/shop/coupons", &shop, "product_id").await;
    assert_eq!(before.len(), 45);
    // The rebuild of the second shard waits for this lock.
    let lock = app.stores.lock_where("shards", "shard = 's1'").await;
    let second = ShardId::new(1).expect("a number below the maximum");
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys_of(second).live())).await;
    let ops = &app.instances[0].ops;
    eventually("the second shard is closed", || async {
        ops.get("/readyz", "").await.json()["shards"][1]["gate"]["state"] == json!("recovering")
    })
    .await;
    assert_eq!(walk(client, "/api/users/shop/coupons", &shop, "product_id").await, before);
    drop(lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claims_behind_the_thousandth_page_follow_a_seq() {
    let app = start(1).await;
    let (client, shop) = (app.client(), app.user("shop", Kind::Saler).await);
    client.create_coupon("shop", &shop, "ten", 200_000).await;
    let user = app.stores.number("SELECT id FROM users").await;
    // The audit would miss claims that only MySQL has, so the rows are deleted at the end.
    let seqs = [1, 2, 99_999, 100_000, 100_001, 100_250, 100_251];
    let rows: Vec<String> = seqs.iter().zip(1..).map(|(seq, nth)| format!("(1, {seq}, {user}, 1, {nth})")).collect();
    app.stores
        .execute(&format!("INSERT INTO claims (coupon_id, seq, user_id, claimed_at, nth) VALUES {}", rows.join(",")))
        .await;
    let listed = async |query: &str| {
        let claims = items(client, &format!("/api/users/shop/coupons/ten/claims?{query}"), &shop).await;
        claims.iter().map(|claim| claim["seq"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(listed("page=1000").await, [99_999, 100_000]);
    assert_eq!(listed("page=1001").await, [] as [u64; 0], "no page beyond the last one with a number");
    assert_eq!(listed("after=99999&page=1001").await, [100_000, 100_001, 100_250, 100_251]);
    assert_eq!(listed("after=100251").await, [] as [u64; 0]);
    assert_eq!(listed("after=18446744073709551615").await, [] as [u64; 0]);
    assert_eq!(listed("after=0").await, seqs);
    app.stores.execute("DELETE FROM claims").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn activities_and_the_trail_follow_an_id() {
    let app = start(1).await;
    let (client, shop, admin) =
        (app.client(), app.user("shop", Kind::Saler).await, app.user("root", Kind::Admin).await);
    let product = client.post("/product/create", &shop, &json!({"product_name": "ten", "product_total": 5})).await;
    let (product, now) = (product.json()["data"]["product_id"].clone(), now_seconds());
    for n in 1..=3 {
        let activity = json!({"activity_name": "a", "product_id": product, "start_time": now + n * 10,
            "end_time": now + n * 10 + 5, "total": 0, "speed": 0});
        assert_eq!(client.post("/activity/create", &shop, &activity).await.status, 200);
    }
    for token in [&shop, &admin] {
        let all = walk(client, "/activity/list", token, "activity_id").await;
        assert_eq!(all.len(), 3);
        let behind = items(client, &format!("/activity/list?after={}", all[0]), token).await;
        assert_eq!(
            behind.iter().map(|item| item["activity_id"].as_u64()).collect::<Vec<_>>(),
            [Some(all[1]), Some(all[2])]
        );
        assert_eq!(items(client, "/activity/list?page=1001", token).await, [] as [Value; 0]);
    }
    let audit = "/admin/audit?user=shop";
    eventually("the trail has the changes", || async { items(client, audit, &admin).await.len() == 4 }).await;
    let all = items(client, audit, &admin).await;
    assert_eq!(items(client, &format!("{audit}&after={}", all[1]["id"]), &admin).await, all[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_to_follow_is_a_number_or_refused() {
    let app = start(1).await;
    let (client, shop, admin) =
        (app.client(), app.user("shop", Kind::Saler).await, app.user("root", Kind::Admin).await);
    client.create_coupon("shop", &shop, "ten", 5).await;
    for bad in ["x", "-1", "1.5", "18446744073709551616"] {
        for path in ["/api/users/shop/coupons", "/api/users/shop/coupons/ten/claims", "/admin/audit"] {
            let answer = client.get(&format!("{path}?after={bad}"), &admin).await;
            assert_eq!(
                answer.error(),
                (400, "Wrong format of after.".to_owned(), "bad-request".to_owned()),
                "{path} {bad}"
            );
        }
        for path in ["/product/list", "/activity/list"] {
            let answer = client.get(&format!("{path}?after={bad}"), &shop).await;
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(1001)), "{path} {bad}");
        }
    }
}
