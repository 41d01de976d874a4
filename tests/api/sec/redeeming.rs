//! `/sec/token` and `/sec/redeem`: a claim at the till.

use couponrush::auth::{ClaimTokens, Secrets};
use couponrush::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, Kind, UserId};
use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::{SECRET, now_seconds};

/// Signs the token of a claim that was never granted, with the service's secret.
fn sign(product: u64, user: u64, seq: u32, nth: u8) -> String {
    let secrets = Secrets::parse("the tests' secret", SECRET).expect("the secret is long enough");
    let claim = Claim {
        coupon: CouponId(product),
        user: UserId(user),
        entry: EntryId { ms: 1_800_000_000_123, counter: 0 },
        seq,
        activity: ActivityId(0),
        epoch: Epoch(1),
        nth,
        claimed_at_ms: 1_800_000_000_123,
    };
    ClaimTokens::new(&secrets.for_claims()).sign(&claim)
}

impl Sale {
    async fn show_token(&self, token: &Value) -> Value {
        data(&self.post("/sec/token", "", &json!({"token": token})).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_redeem_at_once_on_two_instances_one_is_the_first() {
    let sale = Sale::start(2).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 5).await;
    let activity = sale.activity(product, json!({})).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    sale.app.settle().await;
    let mut shown = json!({
        "valid": true, "product_id": product, "saler": "shop", "name": "ten", "user_id": bought["user_id"],
        "activity_id": activity, "seq": 1, "nth": 1, "claimed_at": bought["token_time"], "redeemed_at": null,
    });
    assert_eq!(sale.show_token(&bought["token"]).await, shown);

    let began = now_seconds();
    let body = json!({"token": bought["token"]});
    let all = (0..50).map(|n| sale.post_to(n % 2, "/sec/redeem", &sale.shop, &body));
    let answers: Vec<Value> = futures_util::future::join_all(all).await.iter().map(data).collect();
    assert_eq!(answers.iter().filter(|answer| answer["first"] == json!(true)).count(), 1, "{answers:?}");
    let at = answers[0]["redeemed_at"].as_u64().expect("a time");
    assert!((began..=now_seconds()).contains(&at), "{at}");
    for answer in &answers {
        assert_eq!(answer["redeemed_at"], at, "all answers have the time of the first redemption");
    }
    shown["redeemed_at"] = json!(at);
    assert_eq!(sale.show_token(&bought["token"]).await, shown);
    assert_eq!(
        sale.app.stores.number("SELECT redeemed_at DIV 1000 FROM claims").await,
        i64::try_from(at).expect("the time is small")
    );
    assert_eq!(refusal(&sale.kill(1, &ann, product).await), (400, 1010), "a redeemed claim still counts as bought");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_product_s_saler_and_admins_redeem() {
    let sale = Sale::start(1).await;
    let app = &sale.app;
    let (ann, other) = (app.user("ann", Kind::Customer).await, app.user("other", Kind::Saler).await);
    let admin = app.user("root", Kind::Admin).await;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    app.settle().await;
    let body = json!({"token": bought["token"]});
    for (token, refused) in [("", (401, 401)), (&ann, (403, 403)), (&other, (403, 403))] {
        assert_eq!(refusal(&sale.post("/sec/redeem", token, &body).await), refused);
    }
    assert_eq!(app.stores.number("SELECT COUNT(redeemed_at) FROM claims").await, 0, "a refusal redeems nothing");
    assert_eq!(data(&sale.post("/sec/redeem", &admin, &body).await)["first"], true);
    assert_eq!(data(&sale.post("/sec/redeem", &sale.shop, &body).await)["first"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn white_space_around_a_token_is_ignored() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    sale.app.settle().await;
    let token = bought["token"].as_str().expect("a token");
    for (token, first) in [(format!("{token}\n"), true), (format!("\t {token}\r\n"), false)] {
        assert_eq!(sale.show_token(&json!(token)).await["valid"], true, "{token:?}");
        assert_eq!(data(&sale.post("/sec/redeem", &sale.shop, &json!({"token": token})).await)["first"], first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_proves_no_claim_of_this_service_redeems_nothing() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({"buy_limit": 2})).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    sale.app.settle().await;
    let user = bought["user_id"].as_u64().expect("an id");
    let good = bought["token"].as_str().expect("a token");
    let forged = format!("{}x", &good[..good.len() - 1]);
    for token in ["", "x", "a.b.c", &forged, &ann] {
        assert_eq!(sale.show_token(&json!(token)).await, json!({"valid": false}), "{token}");
        let answer = sale.post("/sec/redeem", &sale.shop, &json!({"token": token})).await;
        assert_eq!(refusal(&answer), (400, 1001), "{token}");
    }
    let of_another_service = sign(product + 1_000, user, 1, 1);
    assert_eq!(sale.show_token(&json!(of_another_service)).await, json!({"valid": false}));
    let answer = sale.post("/sec/redeem", &sale.shop, &json!({"token": of_another_service})).await;
    assert_eq!(refusal(&answer), (404, 404));
    // A claim whose row is missing may have been granted and not be stored yet.
    let not_stored = sign(product, user, 2, 2);
    assert_eq!(sale.show_token(&json!(not_stored)).await["redeemed_at"], Value::Null);
    let answer = sale.post("/sec/redeem", &sale.shop, &json!({"token": not_stored})).await;
    assert_eq!(refusal(&answer), (503, 1009));
    // The unit is stored for another user, or as another nth of the user.
    for token in [sign(product, user + 1, 1, 1), sign(product, user, 1, 2)] {
        let answer = sale.post("/sec/redeem", &sale.shop, &json!({"token": token})).await;
        assert_eq!(refusal(&answer), (400, 1001));
    }
    assert_eq!(sale.app.stores.number("SELECT COUNT(redeemed_at) FROM claims").await, 0, "a refusal redeems nothing");
    assert_eq!(data(&sale.post("/sec/redeem", &sale.shop, &json!({"token": good})).await)["first"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_redeemed_once_mysql_has_it() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    // The lock on the coupon's row stops the ledger, but not reading and redeeming claims.
    let held = sale.app.stores.lock_row("coupons", product).await;
    let bought = data(&sale.kill(0, &ann, product).await);
    let body = json!({"token": bought["token"]});
    assert_eq!(refusal(&sale.post("/sec/redeem", &sale.shop, &body).await), (503, 1009));
    assert_eq!(sale.show_token(&bought["token"]).await["valid"], true, "the token alone proves the claim");
    drop(held);
    sale.app.settle().await;
    assert_eq!(data(&sale.post("/sec/redeem", &sale.shop, &body).await)["first"], true);
}
