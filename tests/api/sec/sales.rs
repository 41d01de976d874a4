//! `/sec/list` and `/sec/info`: the public lists of activities.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, activity, data, refusal};
use crate::helpers::{RedisServer, Stores, eventually, now_seconds};

impl Sale {
    async fn list(&self, instance: usize) -> Value {
        data(&self.app.instances[instance].client.get("/sec/list", "").await)
    }

    /// Waits until the list of an instance equals `wanted`.
    async fn wait_until_listed(&self, instance: usize, state: &str, wanted: &Value) {
        eventually(state, || async { self.list(instance).await == *wanted }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_current_and_coming_activity_is_listed_on_every_instance() {
    let sale = Sale::start(2).await;
    let now = now_seconds();
    let [over, current, coming, sold_out, declared, disabled] = {
        let mut products = [0; 6];
        for (n, product) in products.iter_mut().enumerate() {
            *product = sale.product(&format!("p-{n}"), 9).await;
        }
        products
    };
    sale.activity(over, json!({"start_time": now - 20, "end_time": now - 10})).await;
    let soon = json!({"start_time": now + 900, "end_time": now + 901, "activity_name": "soon", "total": 3});
    let soon_id = sale.activity(coming, soon).await;
    let current_id = sale.activity(current, json!({"start_time": now - 30, "end_time": now + 900, "total": 5})).await;
    let sold_id = sale.activity(sold_out, json!({"start_time": now - 20, "end_time": now + 900, "total": 1})).await;
    let declared_id = sale.activity(declared, json!({"start_time": now - 10, "end_time": now + 900})).await;
    sale.update(declared_id, json!({"status": 2})).await;
    let disabled_id = sale.activity(disabled, json!({})).await;
    sale.update(disabled_id, json!({"status": 1})).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    for product in [current, sold_out] {
        data(&sale.kill(0, &ann, product).await);
    }
    let item = |product: u64, id: u64, n: usize, (start, end): (u64, u64), begun: bool, status: &str, (left, total)| {
        let name = if n == 2 { "soon" } else { "rush" };
        json!({
            "product_id": product, "activity_id": id, "activity_name": name, "saler": "shop", "name": format!("p-{n}"),
            "start_time": start, "end_time": end, "start": begun, "end": false, "status": status, "left": left,
            "total": total, "amount": 9, "buy_limit": 1,
        })
    };
    let (sold, soon) = ("product is sale out", "second kill not start");
    let wanted = json!([
        item(declared, declared_id, 4, (now - 10, now + 900), true, sold, (9, 9)),
        item(sold_out, sold_id, 3, (now - 20, now + 900), true, sold, (0, 1)),
        item(current, current_id, 1, (now - 30, now + 900), true, "success", (4, 5)),
        item(coming, soon_id, 2, (now + 900, now + 901), false, soon, (3, 3)),
    ]);
    for instance in [0, 1] {
        sale.wait_until_listed(instance, "all activities are listed, the nearest first", &wanted).await;
    }
    assert_eq!(data(&sale.get("/sec/list?page=2", "").await), json!([]));
    assert_eq!(data(&sale.get("/sec/list?page=9223372036854775807", "").await), json!([]));
}

/// A fake merchant schedules many sales to hide the sale of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_merchant_with_many_sales_hides_nobodys() {
    let sale = Sale::start(1).await;
    let now = now_seconds();
    let one = sale.product("of the honest shop", 9).await;
    let id = sale.activity(one, json!({"start_time": now + 3_000, "end_time": now + 4_000})).await;
    let many = sale.app.user("many", Kind::Saler).await;
    for n in 0..25 {
        let product = json!({"product_name": format!("p-{n}"), "product_total": 9});
        let product = data(&sale.app.client().post("/product/create", &many, &product).await);
        let product = product["product_id"].as_u64().expect("an id is a number");
        let activity = activity(product, json!({"start_time": now, "end_time": now + 5_000}));
        data(&sale.app.client().post("/activity/create", &many, &activity).await);
    }
    eventually("all are listed", || async { sale.list(0).await.as_array().map(Vec::len) == Some(26) }).await;
    assert_eq!(sale.list(0).await[1]["activity_id"], json!(id), "the other merchant's first sale comes second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_product_shows_its_current_activity_else_the_next_else_the_last() {
    let sale = Sale::start(2).await;
    let now = now_seconds();
    let product = sale.product("ten", 9).await;
    assert_eq!(sale.info(0, product).await, Value::Null, "the product has no activity");
    assert_eq!(sale.info(0, product + 1_000).await, Value::Null, "the product is unknown");
    let shows = async |id: u64, flags: (bool, bool), status: u64| {
        for instance in [0, 1] {
            eventually("the expected activity is shown", || async {
                let info = sale.info(instance, product).await;
                (&info["activity_id"], &info["start"], &info["end"], &info["status"])
                    == (&json!(id), &json!(flags.0), &json!(flags.1), &json!(status))
            })
            .await;
        }
    };
    let window = |start, end| json!({"start_time": start, "end_time": end});
    let last = sale.activity(product, window(now - 200, now - 100)).await;
    shows(last, (false, true), 0).await;
    let next = sale.activity(product, window(now + 1_000, now + 2_000)).await;
    shows(next, (false, false), 0).await;
    let current = sale.activity(product, window(now - 100, now + 1_000)).await;
    shows(current, (true, false), 0).await;
    sale.update(current, json!({"status": 2})).await;
    shows(current, (true, false), 2).await;
    let info = sale.info(0, product).await;
    assert_eq!(info.as_object().map(serde_json::Map::len), Some(14), "{info}");
    assert_eq!(
        (&info["left"], &info["total"], &info["amount"], &info["buy_limit"], &info["saler"], &info["name"]),
        (&json!(9), &json!(9), &json!(9), &json!(1), &json!("shop"), &json!("ten"))
    );
    sale.update(current, json!({"status": 1})).await;
    shows(next, (false, false), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_left_is_the_smaller_of_the_product_s_and_the_activity_s() {
    let sale = Sale::start(1).await;
    let customers = sale.app.customers(6).await;
    let product = sale.product("ten", 5).await;
    let now = now_seconds();
    let first = sale.activity(product, json!({"total": 3})).await;
    for customer in &customers[..2] {
        data(&sale.kill(0, customer, product).await);
    }
    let left = async |left: u64, total: u64| {
        eventually("the expected number of units is left", || async {
            let info = sale.info(0, product).await;
            (&info["left"], &info["total"]) == (&json!(left), &json!(total))
        })
        .await;
    };
    left(1, 3).await;
    sale.update(first, json!({"end_time": now - 5})).await;
    sale.activity(product, json!({"start_time": now - 5, "total": 5})).await;
    left(3, 5).await;
    for customer in &customers[2..5] {
        data(&sale.kill(0, customer, product).await);
    }
    left(0, 5).await;
    assert_eq!(refusal(&sale.kill(0, &customers[5], product).await), (400, 1007));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_that_looks_asks_redis_once_a_while_and_a_list_without_redis_is_no_list() {
    let mut redis = RedisServer::start().await;
    let sale = Sale::start_on(Stores::create(Some(redis.url())).await, 1, None).await;
    let mut products = Vec::new();
    for n in 0..20 {
        let product = sale.product(&format!("p-{n}"), 9).await;
        sale.activity(product, json!({})).await;
        products.push(product);
    }
    let scripts = async || {
        let info: String = sale.app.stores.redis(redis::cmd("INFO").arg("commandstats")).await;
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).map(str::to_owned);
        let calls = line.as_deref().and_then(|line| line.split(',').next()).and_then(|calls| calls.parse::<u64>().ok());
        calls.expect("scripts were called")
    };
    let before = scripts().await;
    let (list, info) = ("/sec/list".to_owned(), format!("/sec/info?product_id={}", products[0]));
    for _ in 0..40 {
        let looks = (0..10).map(|n| sale.get(if n % 2 == 0 { &list } else { &info }, ""));
        for (n, answer) in futures_util::future::join_all(looks).await.iter().enumerate() {
            assert_eq!(data(answer).as_array().map_or(1, Vec::len), if n % 2 == 0 { 20 } else { 1 });
        }
    }
    let asked = scripts().await - before;
    assert!(asked < 60, "{asked} scripts for 400 requests");

    redis.kill();
    let ann = sale.app.user("ann", Kind::Customer).await;
    for path in [list, info] {
        eventually("the list is refused", || async {
            let answer = sale.get(&path, "").await;
            answer.status == 503 && refusal(&answer) == (503, 1009)
        })
        .await;
    }
    let killed = sale.kill(0, &ann, products[0]).await;
    assert!([(503, 1008), (503, 1009)].contains(&refusal(&killed)), "{killed:?}");
    assert_eq!(
        data(&sale.get("/product/list", &sale.shop).await).as_array().map(Vec::len),
        Some(20),
        "product lists need only MySQL"
    );
    redis.restart().await;
    eventually("the list is available again", || async { sale.get("/sec/list", "").await.status == 200 }).await;
    // The code is 1010 if Redis had granted the first attempt before it was killed.
    let (code, answer) = sale.kill_until_told(0, &ann, products[0]).await;
    assert!([200, 1010].contains(&code), "no sale after the restart: {answer:?}");
}
