//! `/sec/units`: the units of several products in one answer.

use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::eventually;

async fn units(sale: &Sale, query: &str) -> Vec<Value> {
    data(&sale.get(&format!("/sec/units?product_ids={query}"), "").await).as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_units_of_several_products_come_in_one_answer_and_follow_claims() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", couponrush::domain::Kind::Customer).await;
    let (one, two) = (sale.product("one", 10).await, sale.product("two", 20).await);
    sale.activity(one, json!({"total": 4})).await;
    assert_eq!(
        units(&sale, &format!("{two},{one},{two},999")).await,
        [json!({"product_id": one, "left": 4, "claimed": 0}), json!({"product_id": two, "left": 20, "claimed": 0})]
    );
    sale.kill_until_told(0, &ann, one).await;
    let expected = json!({"product_id": one, "left": 3, "claimed": 1});
    eventually("the answer has the claim", || async { units(&sale, &one.to_string()).await == [expected.clone()] })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_1_to_50_products() {
    let sale = Sale::start(1).await;
    let ids = |count: u32| (1..=count).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(units(&sale, &ids(50)).await, [] as [Value; 0]);
    for bad in [&ids(51), "", "1,", "x", "-1", "0", "1.5", "18446744073709551616"] {
        let answer = sale.get(&format!("/sec/units?product_ids={bad}"), "").await;
        assert_eq!(refusal(&answer), (400, 1001), "{bad}");
    }
    assert_eq!(refusal(&sale.get("/sec/units", "").await), (400, 1001));
}
