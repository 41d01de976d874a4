//! A loss of Redis in the middle of an activity does not change what the activity sells.

use serde_json::json;

use super::{Sale, data, refusal};
use crate::helpers::{RedisServer, Stores};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_activity_sells_its_total_once_though_redis_forgets_everything_meanwhile() {
    let redis = RedisServer::start().await;
    let sale = Sale::start_on(Stores::create(Some(redis.url())).await, 2, None).await;
    let customers = sale.app.customers(20).await;
    let product = sale.product("ten", 50).await;
    sale.activity(product, json!({"total": 10, "speed": 1_000})).await;
    let mut bought = Vec::new();
    for (n, customer) in customers[..6].iter().enumerate() {
        bought.push(data(&sale.kill(n % 2, customer, product).await));
    }
    sale.app.settle().await;
    let () = sale.app.stores.redis(&redis::cmd("FLUSHALL")).await;

    let mut codes = Vec::new();
    for (n, customer) in customers[6..].iter().enumerate() {
        // With a quota, nothing is sold in the second of the loading.
        let code = loop {
            let (code, _) = sale.kill_until_told(n % 2, customer, product).await;
            if code != 1011 {
                break code;
            }
        };
        codes.push(code);
    }
    // The code is 1010 if the answer of the grant was lost.
    assert!(codes[..4].iter().all(|code| [200, 1010].contains(code)), "{codes:?}");
    assert!(codes[4..].iter().all(|code| *code == 1007), "{codes:?}");
    sale.app.settle().await;
    assert_eq!(
        sale.app.stores.number("SELECT COUNT(*) FROM claims").await,
        10,
        "six claims before the loss and four after it"
    );
    for (n, bought) in bought.iter().enumerate() {
        let answer = sale.post("/sec/kill", &customers[n], &json!({"product_id": product, "nth": 1})).await;
        assert_eq!((refusal(&answer), &answer.json()["data"]["token"]), ((400, 1010), &bought["token"]));
    }
}
