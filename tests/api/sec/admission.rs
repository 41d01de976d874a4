//! Refusals before the claim, with their codes.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_too_fast_or_finds_selling_switched_off_is_told_so_and_buys_nothing() {
    let sale = Sale::start(2).await;
    let admin = sale.app.user("root", Kind::Admin).await;
    let [ann, ben]: [String; 2] = sale.app.customers(2).await.try_into().expect("two customers were created");
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let put = async |path: &str, body: Value| {
        let answer = sale.app.client().put(path, &admin, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let expect_refusal = async |instance: usize, token: &str, expected: (u16, u64)| {
        eventually("the user is turned away", || async {
            let answer = sale.kill(instance, token, product).await;
            answer.status != 200 && refusal(&answer) == expected
        })
        .await;
    };
    put("/admin/switches", json!({"claim": false})).await;
    // The change is in force at once on the first instance, and within a second on the second instance.
    expect_refusal(0, &ann, (503, 1009)).await;
    put("/admin/switches", json!({})).await;
    put("/admin/blacklist/users/customer-0", json!({"seconds": 600})).await;
    let blocked = sale.app.token_of("customer-0").await;
    expect_refusal(0, &blocked, (403, 1001)).await;
    put("/admin/limits", json!({"user_per_second": 1, "user_per_minute": 1})).await;
    data(&sale.kill(0, &ben, product).await);
    expect_refusal(0, &ben, (429, 1004)).await;
    let answer = sale.kill(0, &ben, product).await;
    let wait: u64 = answer.header("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    sale.app.settle().await;
    assert_eq!(sale.stored().await[3], 1, "a user who was turned away bought nothing");
}
