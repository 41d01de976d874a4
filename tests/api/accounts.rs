//! Accounts in the hands of operators: approval, disabling, sessions and password links.

use couponrush::config::Merchants;
use couponrush::domain::Kind;
use couponrush::memory::{RevocationLimits, Revocations};
use couponrush::mysql::DbPools;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually, now_seconds};

const SHOP: &str = "/admin/users/shop";

/// A service whose merchants need approval, with the tokens of an admin, of the unapproved saler `shop` and of a customer.
async fn app() -> (TestApp, String, String, String) {
    let app = TestApp::start_with(|args| args.admission.merchants = Some(Merchants::Approved)).await;
    let shop = app.client().user("shop", "saler").await;
    let (admin, ann) = (app.user("root", Kind::Admin).await, app.user("ann", Kind::Customer).await);
    (app, admin, shop, ann)
}

/// The result of an attempt at the saler's coupon.
async fn claim(client: &Client, token: &str) -> String {
    client.claim("shop", "ten", token).await.result().to_owned()
}

/// The result of an attempt by a new customer.
async fn probe(app: &TestApp, client: &Client) -> String {
    let name = format!("probe-{:032x}", rand::random::<u128>());
    claim(client, &app.user(&name, Kind::Customer).await).await
}

async fn change(client: &Client, admin: &str, name: &str, change: Value) -> Answer {
    client.put(&format!("/admin/users/{name}"), admin, &change).await
}

/// The activities of the public list.
async fn listed(client: &Client) -> Vec<Value> {
    client.get("/sec/list", "").await.json()["data"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn coupons_of_a_merchant_are_sold_after_the_approval_and_not_before() {
    let (mut app, admin, shop, ann) = app().await;
    app.start_another().await;
    let client = app.client();
    client.create_coupon("shop", &shop, "ten", 1_000).await;
    let product = client.post("/product/create", &shop, &json!({"product_name": "more", "product_total": 5})).await;
    assert_eq!(product.status, 200, "{product:?}");
    let now = now_seconds();
    let sale = json!({"activity_name": "a", "product_id": 2, "start_time": now - 5, "end_time": now + 600, "total": 0, "speed": 0});
    assert_eq!(client.post("/activity/create", &shop, &sale).await.status, 200);
    let kill =
        async |client: &Client| client.post("/sec/kill", &ann, &json!({"product_id": 2})).await.json()["code"].clone();
    for instance in &app.instances {
        assert_eq!(claim(&instance.client, &ann).await, "not-on-sale");
        assert_eq!(kill(&instance.client).await, json!(1_002), "not on sale");
        assert_eq!(listed(&instance.client).await, [Value::Null; 0]);
    }
    let own = client.get("/api/users/shop", &shop).await.json();
    assert_eq!((&own["kind"], &own["awaits_approval"]), (&json!("saler"), &json!(true)));
    let awaiting = client.get("/admin/users", &admin).await.json();
    assert_eq!(
        (&awaiting["data"][0]["username"], &awaiting["data"][0]["awaits_approval"]),
        (&json!("shop"), &json!(true))
    );

    let approved = change(client, &admin, "shop", json!({"approved": true})).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    let account = approved.json();
    assert_eq!(
        (&account["approved"], &account["awaits_approval"], &account["sales_withheld"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert_eq!(client.get("/admin/users", &admin).await.status, 204);
    let other = app.instances[1].client.clone();
    eventually("the coupon is sold", || async { claim(&other, &ann).await == "claimed" }).await;
    eventually("the sale is open", || async { kill(client).await != json!(1_002) }).await;
    eventually("the sale is listed", || async { !listed(&other).await.is_empty() }).await;
    assert_eq!(listed(&other).await[0]["approved"], json!(true));

    // The approval can be taken back. Who holds a claim is told so.
    assert_eq!(change(client, &admin, "shop", json!({"approved": false})).await.status, 200);
    eventually("the coupon is not sold any more", || async { probe(&app, &other).await == "not-on-sale" }).await;
    assert_eq!(claim(&other, &ann).await, "already-claimed");
    eventually("the sale is not listed", || async { listed(&other).await.is_empty() }).await;
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_of_before_needs_no_approval_and_an_open_service_asks_for_none() {
    let (app, admin, _, ann) = app().await;
    let client = app.client();
    let old = app.user("old", Kind::Saler).await;
    client.create_coupon("old", &old, "ten", 5).await;
    assert_eq!(client.claim("old", "ten", &ann).await.result(), "claimed");
    let account = client.get("/admin/users/old", &admin).await.json();
    assert_eq!((&account["approved"], &account["awaits_approval"]), (&json!(false), &json!(false)));
    let open = TestApp::start().await;
    let shop = open.client().user("shop", "saler").await;
    open.client().create_coupon("shop", &shop, "ten", 5).await;
    let ann = open.user("ann", Kind::Customer).await;
    assert_eq!(claim(open.client(), &ann).await, "claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_merchant_has_no_session_and_sells_nothing_until_an_admin_ends_it() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let (client, other) = (app.client(), app.instances[1].client.clone());
    let (admin, shop) = (app.user("root", Kind::Admin).await, client.user("shop", "saler").await);
    let ann = app.user("ann", Kind::Customer).await;
    client.create_coupon("shop", &shop, "ten", 1_000).await;
    let disabled = change(client, &admin, "shop", json!({"disabled": true})).await.json();
    assert_eq!((&disabled["disabled"], &disabled["sales_withheld"]), (&json!(true), &json!(true)));
    eventually("the session ends", || async { other.list("shop", &shop).await.status == 401 }).await;
    assert_eq!(client.log_in("shop", PASSWORD).await.status, 403);
    eventually("the coupon is not sold", || async { probe(&app, &other).await == "not-on-sale" }).await;
    let on_list = client.get("/admin/blacklist/users/shop", &admin).await.json();
    assert_eq!((&on_list["by"], &on_list["until"]), (&json!("root"), &Value::Null));

    assert_eq!(change(client, &admin, "shop", json!({"disabled": false})).await.json()["disabled"], json!(false));
    eventually("the coupon is sold", || async { claim(&other, &ann).await == "claimed" }).await;
    assert_eq!(client.log_in("shop", PASSWORD).await.status, 200);
    assert_eq!(other.list("shop", &shop).await.status, 401, "ended sessions stay ended");
    app.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_open_again_when_a_block_ends_by_itself() {
    let app = TestApp::start().await;
    let client = app.client();
    let (admin, shop) = (app.user("root", Kind::Admin).await, app.user("shop", Kind::Saler).await);
    client.create_coupon("shop", &shop, "ten", 1_000).await;
    let bob = app.user("bob", Kind::Customer).await;
    let block = json!({"seconds": 4});
    assert_eq!(client.put("/admin/blacklist/users/shop", &admin, &block).await.status, 200);
    eventually("the coupon is not sold", || async { probe(&app, client).await == "not-on-sale" }).await;
    eventually("the coupon is sold", || async { claim(client, &bob).await == "claimed" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_has_left_half_done_is_finished() {
    use couponrush::domain::{Block, BlockReason, Subject, Until, UserId};

    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    client.create_coupon("shop", &shop, "ten", 1_000).await;
    // An instance has stored the block and died.
    let block = Block { until: Until(None), since: now_seconds(), by: "root".to_owned(), reason: BlockReason::Admin };
    couponrush::mysql::blocks::put(&app.stores.db, Subject::User(UserId(1)), &block)
        .await
        .expect("MySQL stores the block");
    eventually("the coupon is not sold", || async { probe(&app, client).await == "not-on-sale" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_ends_the_sessions_of_a_user_or_of_all_on_every_instance() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let (client, other) = (app.client(), app.instances[1].client.clone());
    let (admin, ann, bob) = (
        app.user("root", Kind::Admin).await,
        client.user("ann", "customer").await,
        client.user("bob", "customer").await,
    );
    let end = async |path: &str, admin: &str| client.send("POST", path, admin, None).await.status;
    assert_eq!(end("/admin/users/ann/end-sessions", &admin).await, 200);
    eventually("the session ends", || async { other.list("ann", &ann).await.status == 401 }).await;
    assert_eq!(other.list("bob", &bob).await.status, 204);
    let again = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    assert_eq!(end("/admin/end-sessions", &admin).await, 200);
    let new = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    for (name, token) in [("ann", &again), ("bob", &bob), ("root", &admin)] {
        assert_eq!(client.list(name, token).await.status, 401, "{name}");
        eventually("the session ends everywhere", || async { other.list(name, token).await.status == 401 }).await;
    }
    assert_eq!(other.list("ann", &new).await.status, 204, "a login after the answer counts");
    // A restart forgets nothing.
    app.stop().await;
    app.start_another().await;
    assert_eq!(app.client().list("bob", &bob).await.status, 401);
    assert_eq!(app.client().list("ann", &new).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_sets_a_password_once() {
    let app = TestApp::start().await;
    let client = app.client();
    let (admin, ann) = (app.user("root", Kind::Admin).await, client.user("ann", "customer").await);
    let link = async || {
        let answer = client.send("POST", "/admin/users/ann/password", &admin, None).await;
        let left = answer.json()["expires_at"].as_u64().expect("a time") - now_seconds();
        assert!((3_590..=3_600).contains(&left), "{answer:?}");
        answer.json()["link"].as_str().and_then(|link| link.strip_prefix("/#reset/")).expect("a link").to_owned()
    };
    let reset =
        async |token: &str, new: &str| client.post("/api/auth/reset", "", &json!({"token": token, "new": new})).await;
    let gone = (400, "This link is not valid any more.".to_owned(), "bad-request".to_owned());
    let (first, second) = (link().await, link().await);
    assert_eq!(reset(&first, "short").await.error().1, "Password too short.");
    for forged in ["", "x", &ann, &first[1..]] {
        assert_eq!(reset(forged, "a new password").await.error(), gone, "{forged}");
    }
    assert_eq!(reset(&first, "a new password").await.status, 200);
    assert_eq!(client.list("ann", &ann).await.status, 401, "earlier sessions end");
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 401);
    assert_eq!(client.log_in("ann", "a new password").await.status, 200);
    for used in [&first, &second] {
        assert_eq!(reset(used, "another password").await.error(), gone, "a new password ends all links");
    }
    let third = link().await;
    client.send("POST", "/admin/users/ann/end-sessions", &admin, None).await;
    assert_eq!(reset(&third, "another password").await.error(), gone, "so does the end of the sessions");
    let fourth = link().await;
    client.send("PUT", "/admin/blacklist/users/ann", &admin, None).await;
    assert!([400, 403].contains(&reset(&fourth, "another password").await.status), "a blocked user sets none");
    assert_eq!(client.send("POST", "/admin/users/nobody/password", &admin, None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_refused_and_changes_nothing() {
    let (app, admin, _, ann) = app().await;
    let client = app.client();
    for (name, body, status) in [
        ("nobody", json!({"disabled": true}), 404),
        ("ann", json!({"approved": true}), 400),
        ("root", json!({"disabled": true}), 400),
        ("shop", json!({"approved": 1}), 400),
        ("shop", json!([]), 400),
    ] {
        assert_eq!(change(client, &admin, name, body.clone()).await.status, status, "{name} {body}");
    }
    assert_eq!(change(client, &ann, "shop", json!({"approved": true})).await.status, 403);
    assert_eq!(client.get("/admin/users?after=x", &admin).await.status, 400);
    let account = change(client, &admin, "shop", json!({})).await.json();
    assert_eq!((&account["awaits_approval"], &account["disabled"]), (&json!(true), &json!(false)));
    assert_eq!(client.get(SHOP, &ann).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_list_of_revoked_tokens_keeps_nobody_from_logging_out() {
    let app = TestApp::start().await;
    let limits = RevocationLimits { tokens_max: 1, generations_max: 2, token_seconds_max: 3_600 };
    let dbs = DbPools { users: app.stores.db.clone(), control: app.stores.db.clone() };
    let revocations = Revocations::new(dbs, limits);
    let tokens = couponrush::app::signers(&app.args.tokens).expect("the secret is good").sessions;
    let session = async |name: &str| {
        let token = app.user(name, Kind::Customer).await;
        tokens.verify(&token, now_seconds()).expect("a new token")
    };
    let (ann, bob, eve, late) =
        (session("ann").await, session("bob").await, session("eve").await, session("late").await);
    for session in [&ann, &bob, &eve] {
        revocations.revoke(session, now_seconds()).await.expect("the user logs out");
        assert!(revocations.is_revoked(session));
    }
    let counts = revocations.counts();
    assert_eq!((counts.tokens, counts.generations), (1, 2), "all tokens of the later users have ended");
    assert!(revocations.revoke(&late, now_seconds()).await.is_err(), "both lists are full");
    revocations.revoke(&bob, now_seconds()).await.expect("a user whose earlier tokens have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_lifetime_brings_no_ended_token_back() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    app.user("ann", Kind::Customer).await;
    assert_eq!(app.client().send("POST", "/admin/users/ann/end-sessions", &admin, None).await.status, 200);
    let kept = app.stores.number("SELECT MAX(expires_at) - UNIX_TIMESTAMP() FROM revoked_tokens").await;
    assert!((31_535_900..=31_536_001).contains(&kept), "a year, the longest lifetime there is: {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn merchants_who_may_not_sell_have_so_many_sales_together_and_others_have_theirs() {
    let (app, _, shop, _) = app().await;
    let client = app.client();
    let old = app.user("old", Kind::Saler).await;
    client.create_coupon("shop", &shop, "ten", 5).await;
    client.create_coupon("old", &old, "ten", 5).await;
    let now = now_seconds();
    let rows: Vec<String> = (1..=1_000).map(|n| format!("(1, 'a{n}', {now}, {}, 0, 0)", now + 600)).collect();
    let rows = rows.join(", ");
    app.stores
        .execute(&format!("INSERT INTO activities (coupon_id, name, start_time, end_time, total, speed) VALUES {rows}"))
        .await;
    let cafe = client.user("cafe", "saler").await;
    client.create_coupon("cafe", &cafe, "ten", 5).await;
    let sale = |product: u64, end: u64| json!({"activity_name": "a", "product_id": product, "start_time": now - 5, "end_time": end, "total": 0, "speed": 0});
    let create = async |token: &str, product: u64, end: u64| {
        client.post("/activity/create", token, &sale(product, end)).await.status
    };
    assert_eq!(create(&cafe, 3, now + 600).await, 503);
    assert_eq!(create(&cafe, 3, now - 1).await, 200, "a sale that is over does not count");
    assert_eq!(create(&old, 2, now + 600).await, 200);
}
