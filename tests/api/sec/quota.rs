//! `speed`: the quota a second, over all instances together.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, interval_at};

use super::{Sale, refusal};

const SPEED: i64 = 100;
/// Attempts a second, and the number of seconds.
const ATTEMPTS: usize = 1_000;
const SECONDS: usize = 5;
/// Attempts that start at the same time.
const BURST: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_instances_together_sell_what_a_second_may_have_and_nearly_all_of_it() {
    let sale = Sale::start(3).await;
    let product = sale.product("ten", 100_000).await;
    sale.activity(product, json!({"speed": SPEED})).await;
    let customers = sale.app.customers(ATTEMPTS * SECONDS).await;
    let mut ticks = interval_at(Instant::now(), Duration::from_secs(1) * u32::try_from(BURST).expect("few") / 1_000);
    let mut attempts = tokio::task::JoinSet::new();
    for (n, customers) in customers.chunks(BURST).enumerate() {
        ticks.tick().await;
        let client = sale.app.instances[n % 3].client.clone();
        for customer in customers {
            let (client, customer) = (client.clone(), customer.clone());
            attempts.spawn(async move { client.post("/sec/kill", &customer, &json!({"product_id": product})).await });
        }
    }
    let mut sold = 0;
    for answer in attempts.join_all().await {
        sold += i64::from(answer.status == 200);
        assert!(
            answer.status == 200 || [(400, 1011), (503, 1008), (503, 1009)].contains(&refusal(&answer)),
            "{answer:?}"
        );
    }
    sale.app.settle().await;
    let by_second =
        "SELECT CAST(COUNT(*) AS CHAR) AS value FROM claims GROUP BY claimed_at DIV 1000 ORDER BY claimed_at DIV 1000";
    let by_second: Vec<i64> =
        sale.app.stores.texts(by_second).await.iter().map(|count| count.parse().expect("a count")).collect();
    let inner = &by_second[1..by_second.len() - 1];
    assert!(by_second.iter().all(|count| *count <= SPEED), "{by_second:?}");
    assert!(inner.len() >= SECONDS - 1 && inner.iter().all(|count| *count >= SPEED * 95 / 100), "{by_second:?}");
    assert!(by_second.iter().sum::<i64>() >= sold, "all answered claims are stored");
}
