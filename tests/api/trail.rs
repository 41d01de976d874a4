//! The audit trail: who did what, when, and from where.

use std::time::Duration;

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, PASSWORD, TestApp, eventually_within};

const SOON: Duration = Duration::from_secs(10);

/// The entries of a query, newest first.
async fn entries(app: &TestApp, admin: &str, query: &str) -> Vec<Value> {
    let answer = app.client().get(&format!("/admin/audit{query}"), admin).await;
    if answer.status == 204 {
        return Vec::new();
    }
    answer.json()["data"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

/// Waits for the entries of a query, and returns the given fields of each.
async fn fields(app: &TestApp, admin: &str, query: &str, count: usize, names: &[&str]) -> Vec<Vec<Value>> {
    let all = || async { entries(app, admin, query).await.len() >= count };
    eventually_within(SOON, "the trail has the entries", all).await;
    let all = entries(app, admin, query).await;
    all.iter().map(|entry| names.iter().map(|name| entry[name].clone()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_on_the_trail_with_user_object_address_and_request_id() {
    let app = TestApp::start_with(|args| args.admission.trusted_proxies = "127.0.0.1".parse().expect("a proxy")).await;
    let (shop, admin) = (app.user("shop", Kind::Saler).await, app.user("root", Kind::Admin).await);
    let create = app.client().request("POST", "/api/users/shop/coupons").header("Authorization", &shop);
    let create = create.header("X-Forwarded-For", "192.0.2.9").header("X-Request-Id", "till-7");
    let answer = Answer::of(create.body(r#"{"name":"ten","amount":10,"stock":1,"description":""}"#)).await;
    assert_eq!((answer.status, answer.header("X-Request-Id")), (201, "till-7"));
    let switch = app.instances[0].ops.put("/admin/switches", &admin, &json!({"claim": true})).await;
    assert_eq!(switch.status, 200);

    let names = ["user", "kind", "event", "object", "address", "request_id", "status", "repeated"];
    let found = fields(&app, &admin, "?user=shop", 1, &names).await;
    let expected = json!(["shop", "saler", "createCoupon", "/api/users/shop/coupons", "192.0.2.9", "till-7", 201, 0]);
    assert_eq!(json!(found), json!([expected]));
    let found = fields(&app, &admin, "?event=changeSwitches", 1, &["user", "kind", "request_id"]).await;
    let id = switch.header("X-Request-Id");
    assert_eq!(json!(found), json!([["root", "admin", id]]));
    assert_eq!(entries(&app, &admin, "?user=shop&page=2").await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_on_the_trail_once_a_minute_and_reads_and_claims_are_not() {
    let app = TestApp::start().await;
    let (shop, ann) = (app.user("shop", Kind::Saler).await, app.user("ann", Kind::Customer).await);
    let admin = app.user("root", Kind::Admin).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    for _ in 0..5 {
        assert_eq!(app.client().put("/api/users/shop/coupons/ten", &ann, &json!({"amount": 5})).await.status, 401);
    }
    app.client().claim("shop", "ten", &ann).await;
    app.client().list("ann", &ann).await;
    let found = fields(&app, &admin, "?user=ann", 1, &["event", "status"]).await;
    assert!(found.len() <= 2, "one entry, and a second one if the minute was over meanwhile: {found:?}");
    assert!(found.iter().all(|entry| *entry == [json!("changeCoupon"), json!(401)]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_on_the_trail_by_the_name_that_was_sent_and_no_password_is() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    assert_eq!(app.client().register("ann", "customer").await.status, 201);
    assert_eq!(app.client().log_in("ann", PASSWORD).await.status, 200);
    assert_eq!(app.client().log_in("ann", "a wrong password").await.status, 401);
    assert_eq!(app.client().log_in("a password as a name", "x").await.status, 401);
    let found = fields(&app, &admin, "?user=ann", 3, &["event", "status"]).await;
    assert_eq!(json!(found), json!([["logIn", 401], ["logIn", 200], ["register", 201]]));
    let all = "SELECT CONCAT_WS(' ', actor, event, object, request_id) AS value FROM audit_trail";
    let all = app.stores.texts(all).await.join("\n");
    assert!(!all.contains(PASSWORD) && !all.contains("password"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logouts_without_a_session_are_not_on_the_trail_and_guesses_are_under_the_name_they_are_for() {
    let app = TestApp::start().await;
    let (eve, admin) = (app.user("eve", Kind::Customer).await, app.user("root", Kind::Admin).await);
    assert_eq!(app.client().register("shop", "saler").await.status, 201);
    for _ in 0..3 {
        assert_eq!(app.client().post("/api/auth/logout", "", &json!({})).await.status, 200);
    }
    let guess = json!({"username": "shop", "password": "a guess"});
    assert_eq!(app.client().post("/api/auth", &eve, &guess).await.status, 401);
    assert_eq!(app.client().post("/api/auth/logout", &eve, &json!({})).await.status, 200);
    let found = fields(&app, &admin, "?event=logOut", 1, &["user"]).await;
    assert_eq!(json!(found), json!([["eve"]]));
    let found = fields(&app, &admin, "?user=shop", 2, &["event", "kind"]).await;
    assert_eq!(json!(found), json!([["logIn", ""], ["register", ""]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_wait_for_mysql_and_old_ones_go() {
    let mut app = TestApp::start().await;
    let (shop, admin) = (app.user("shop", Kind::Saler).await, app.user("root", Kind::Admin).await);
    // Without the table, every write fails at once.
    app.stores.execute("RENAME TABLE audit_trail TO away").await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    app.stores.execute("RENAME TABLE away TO audit_trail").await;
    assert_eq!(fields(&app, &admin, "?user=shop", 1, &["status"]).await, [[json!(201)]]);
    app.stores.execute("UPDATE audit_trail SET at_ms = at_ms - 91 * 86400000").await;
    app.stop().await;
    app.start_another().await;
    let are_gone = || async { entries(&app, &admin, "").await.is_empty() };
    eventually_within(SOON, "entries of 91 days ago are deleted", are_gone).await;
}
