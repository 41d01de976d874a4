//! Who is turned away before the claim, and by which code.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_too_fast_or_finds_selling_switched_off_is_told_so_and_buys_nothing() {
    let sale = Sale::start(2).await;
    let admin = sale.app.user("root", Kind::Admin).await;
    let [ann, ben]: [String; 2] = sale.app.customers(2).await.try_into().expect("two were asked for");
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let put = async |path: &str, body: Value| {
        let answer = sale.app.client().put(path, &admin, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let told = async |instance: usize, token: &str, expected: (u16, u64)| {
        eventually("he is turned away", || async {
            let answer = sale.kill(instance, token, product).await;
            answer.status != 200 && refusal(&answer) == expected
        })
        .await;
    };
    put("/admin/switches", json!({"claim": false})).await;
    // At once where it was changed; elsewhere within a second, meanwhile nobody asks.
    told(0, &ann, (503, 1009)).await;
    put("/admin/switches", json!({})).await;
    put("/admin/blacklist/users/customer-0", json!({"seconds": 600})).await;
    told(0, &ann, (403, 1001)).await;
    put("/admin/limits", json!({"user_per_second": 1, "user_per_minute": 1})).await;
    data(&sale.kill(0, &ben, product).await);
    told(0, &ben, (429, 1004)).await;
    let answer = sale.kill(0, &ben, product).await;
    let wait: u64 = answer.header("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    sale.app.settle().await;
    assert_eq!(sale.stored().await[3], 1, "who was turned away bought nothing");
}
