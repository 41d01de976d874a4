//! `/sec/kill`: what a customer is told, and what is stored of it.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, activity, data, refusal};
use crate::helpers::{Client, eventually, now_seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_a_claim_and_says_the_same_whenever_it_is_repeated() {
    let sale = Sale::start(2).await;
    let [ann, ben]: [String; 2] = sale.app.customers(2).await.try_into().expect("two were asked for");
    let product = sale.product("ten", 5).await;
    let activity = sale.activity(product, json!({})).await;
    let first = sale.kill(0, &ann, product).await;
    let bought = data(&first);
    let user = sale.app.stores.number("SELECT id FROM users WHERE username = 'customer-0'").await;
    assert_eq!(
        (&bought["product_id"], &bought["user_id"], &bought["seq"], &bought["nth"]),
        (&json!(product), &json!(user), &json!(1), &json!(1))
    );
    assert_eq!((&bought["start"], &bought["end"], &bought["status"]), (&json!(true), &json!(false), &json!(0)));
    let again = sale.kill(1, &ann, product).await;
    assert_eq!(refusal(&again), (400, 1010));
    assert_eq!(again.json()["data"], bought, "the same claim");
    let patched = sale.app.client().claim("shop", "ten", &ann).await;
    assert_eq!((patched.result(), json!(patched.header("Claim-Token"))), ("already-claimed", bought["token"].clone()));

    assert_eq!(sale.app.client().claim("shop", "ten", &ben).await.result(), "claimed");
    assert_eq!(refusal(&sale.kill(0, &ben, product).await), (400, 1010), "both ways are one");
    sale.app.settle().await;
    let stored = "SELECT CONCAT_WS('|', seq, nth, activity_id, claimed_at DIV 1000) AS value FROM claims ORDER BY seq";
    let stored = sale.app.stores.texts(stored).await;
    assert_eq!(stored[0], format!("1|1|{activity}|{}", bought["token_time"]));
    assert_eq!(stored.len(), 2);
}
