//! `changed_by` and `redeemed_by`: rows name who changed them.

use couponrush::domain::Kind;
use serde_json::json;

use super::{Sale, activity, data};
use crate::helpers::eventually;

const COUPON: &str = "SELECT changed_by AS value FROM coupons";
const ACTIVITY: &str = "SELECT changed_by AS value FROM activities";

#[tokio::test(flavor = "multi_thread")]
async fn coupons_and_activities_name_who_changed_them_last() {
    let sale = Sale::start(1).await;
    let stores = &sale.app.stores;
    let admin = sale.app.user("root", Kind::Admin).await;
    let product = sale.product("ten", 5).await;
    assert_eq!(stores.texts(COUPON).await, ["shop"]);
    let made = data(&sale.post("/activity/create", &admin, &activity(product, json!({}))).await);
    assert_eq!((stores.texts(ACTIVITY).await, stores.texts(COUPON).await), (vec!["root".into()], vec!["root".into()]));
    let client = sale.app.client();
    for amount in [6, 4] {
        stores.execute("UPDATE coupons SET changed_by = ''").await;
        let changed = client.put("/api/users/shop/coupons/ten", &sale.shop, &json!({"amount": amount})).await;
        assert_eq!((changed.status, stores.texts(COUPON).await), (200, vec!["shop".into()]), "{amount} units");
    }
    assert_eq!(stores.texts(ACTIVITY).await, ["root"], "the activity was not changed");
    sale.update(made["activity_id"].as_u64().expect("an id"), json!({"buy_limit": 2})).await;
    assert_eq!(data(&sale.get("/activity/list", &sale.shop).await)[0]["changed_by"], "shop");
    let archived = client.put("/api/users/shop/coupons/ten", &sale.shop, &json!({"archived": true})).await;
    assert_eq!((archived.status, stores.texts(COUPON).await), (200, vec!["shop".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_keeps_the_name_of_who_changed_the_coupon() {
    let sale = Sale::start(1).await;
    let stores = &sale.app.stores;
    sale.product("ten", 5).await;
    let before = stores.number("SELECT revision FROM coupons").await;
    // As after a crash between both stores.
    stores.execute("UPDATE coupons SET revision = revision + 1, changed_at = NOW(3) - INTERVAL 10 SECOND").await;
    eventually("the coupon is repaired", || async {
        stores.number(&format!("SELECT COUNT(*) FROM coupons WHERE NOT lags AND revision > {before} + 1")).await == 1
    })
    .await;
    assert_eq!(stores.texts(COUPON).await, ["shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_names_who_redeemed_it_first() {
    let sale = Sale::start(1).await;
    let admin = sale.app.user("root", Kind::Admin).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    sale.app.settle().await;
    let claims = "/api/users/shop/coupons/ten/claims";
    let shown = sale.get(claims, &sale.shop).await.json()["data"][0].clone();
    assert!(shown["redeemed_at"].is_null() && shown.get("redeemed_by").is_none(), "{shown}");
    let body = json!({"token": bought["token"]});
    for token in [&sale.shop, &admin] {
        data(&sale.post("/sec/redeem", token, &body).await);
        assert_eq!(sale.get(claims, &sale.shop).await.json()["data"][0]["redeemed_by"], "shop");
    }
    let export = sale.get(&format!("{claims}.csv"), &sale.shop).await.text;
    assert_eq!(export.lines().next(), Some("username,seq,nth,claimed_at,activity_id,redeemed_at"), "programs read it");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_keys_are_named_and_not_their_saler() {
    let sale = Sale::start(1).await;
    let (stores, client) = (&sale.app.stores, sale.app.client());
    let till = sale.app.staff(("shop", &sale.shop), "till", &["redeem"]).await;
    let (key, secret) = sale.app.key(("shop", &sale.shop), &["manage"]).await;
    let product = json!({"product_name": "of a key", "product_total": 5});
    let product = data(&client.post("/product/create", &format!("Bearer {secret}"), &product).await);
    assert_eq!(stores.texts(COUPON).await, [format!("key:{key}")]);
    let made = activity(product["product_id"].as_u64().expect("an id"), json!({}));
    assert_eq!(client.post("/activity/create", &format!("Bearer {secret}"), &made).await.status, 200);
    assert_eq!(stores.texts(ACTIVITY).await, [format!("key:{key}")]);
    let ann = sale.app.user("ann", Kind::Customer).await;
    let bought = data(&client.post("/sec/kill", &ann, &json!({"product_id": product["product_id"]})).await);
    sale.app.settle().await;
    assert_eq!(client.post("/sec/redeem", &till, &json!({"token": bought["token"]})).await.status, 200);
    assert_eq!(stores.texts("SELECT redeemed_by AS value FROM claims").await, ["till"]);
}
