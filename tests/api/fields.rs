//! `field` in the body of an error: the name of the one field that is to blame.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{PASSWORD, TestApp};

/// A request's method, path and body, and the `field` of its error. An empty field means that the error has none.
type Row = (&'static str, &'static str, Value, &'static str);

const COUPONS: &str = "/api/users/shop/coupons";
const TEN: &str = "/api/users/shop/coupons/ten";
const BLOCK: &str = "/admin/blacklist/users/shop";

async fn assert_blamed(app: &TestApp, token: &str, rows: Vec<Row>) {
    for (method, path, body, field) in rows {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = app.client().send(method, path, token, Some(&body)).await;
        let place = format!("{method} {path} {body}: {answer:?}");
        assert!((400..500).contains(&answer.status), "{place}");
        assert_eq!(answer.json()["field"].as_str().unwrap_or_default(), field, "{place}");
    }
}

fn registration(key: &str, value: impl Into<Value>) -> Value {
    let mut body = json!({"username": "new", "password": PASSWORD, "kind": "customer"});
    body[key] = value.into();
    body
}

fn coupon(key: &str, value: impl Into<Value>) -> Value {
    let mut body = json!({"name": "new", "amount": 10, "description": "d", "stock": 5});
    body[key] = value.into();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_registration_names_its_field() {
    let app = TestApp::start().await;
    app.user("shop", Kind::Saler).await;
    let register = |body, field| ("POST", "/api/users", body, field);
    let rows = vec![
        register(registration("username", ""), "username"),
        register(registration("username", "n".repeat(65)), "username"),
        register(registration("username", "a/b"), "username"),
        register(registration("username", "shop"), "username"),
        register(registration("username", 1), "username"),
        register(registration("USERNAME", 1), "username"),
        register(registration("password", ""), "password"),
        register(registration("password", "p".repeat(257)), "password"),
        register(registration("password", json!(["p"])), "password"),
        register(registration("kind", ""), "kind"),
        register(registration("kind", "admin"), "kind"),
        register(registration("kind", true), "kind"),
        register(json!([]), ""),
        register(Value::Null, ""),
    ];
    assert_blamed(&app, "", rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_names_its_field_and_a_refused_login_names_none() {
    let app = TestApp::start().await;
    let ann = app.client().user("ann", "customer").await;
    let change = |body, field| ("PUT", "/api/users/ann/password", body, field);
    let log_in = |body| ("POST", "/api/auth", body, "");
    let rows = vec![
        change(json!({"old": PASSWORD, "new": ""}), "new"),
        change(json!({"old": PASSWORD, "new": "p".repeat(257)}), "new"),
        change(json!({"old": PASSWORD, "new": 1}), "new"),
        change(json!({"old": "wrong", "new": "better"}), "old"),
        change(json!({"old": {}, "new": "better"}), "old"),
        log_in(json!({"username": "ann", "password": "wrong"})),
        log_in(json!({"username": 1, "password": PASSWORD})),
    ];
    assert_blamed(&app, &ann, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_coupon_names_its_field() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    for name in ["ann", "bob"] {
        let customer = app.user(name, Kind::Customer).await;
        assert_eq!(app.client().claim("shop", "ten", &customer).await.status, 201);
    }
    let rows = vec![
        ("POST", COUPONS, coupon("name", ""), "name"),
        ("POST", COUPONS, coupon("name", "a/b"), "name"),
        ("POST", COUPONS, coupon("name", "ten"), "name"),
        ("POST", COUPONS, coupon("name", 1), "name"),
        ("POST", COUPONS, coupon("amount", 0), "amount"),
        ("POST", COUPONS, coupon("amount", "10"), "amount"),
        ("POST", COUPONS, coupon("description", "d".repeat(256)), "description"),
        ("POST", COUPONS, coupon("stock", -1), "stock"),
        ("POST", COUPONS, coupon("stock", 1.5), "stock"),
        ("POST", COUPONS, coupon("scheduled", "yes"), "scheduled"),
        ("POST", "/api/users/ann/coupons", coupon("name", "new"), ""),
        ("PUT", TEN, json!({"amount": 0}), "amount"),
        ("PUT", TEN, json!({"amount": "20"}), "amount"),
        ("PUT", TEN, json!({"amount": 1}), "amount"),
        ("PUT", TEN, json!({"description": "d".repeat(256)}), "description"),
        ("PUT", TEN, json!({"scheduled": 1}), "scheduled"),
        ("PUT", TEN, json!({}), ""),
        ("GET", "/api/users/shop/coupons?page=x", Value::Null, "page"),
        ("GET", "/api/users/shop/coupons/ten/claims?page=1.5", Value::Null, "page"),
        ("GET", "/api/users/nobody/coupons", Value::Null, ""),
    ];
    assert_blamed(&app, &shop, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_claim_names_its_header() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    for nth in ["0", "101", "x"] {
        let request = app.client().request("PATCH", TEN).header("Authorization", &ann).header("Claim-Nth", nth);
        let answer = crate::helpers::Answer::of(request).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some("Claim-Nth")), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_setting_or_block_names_its_field() {
    let app = TestApp::start().await;
    app.user("shop", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    let rows = vec![
        ("PUT", "/admin/limits", json!({"user_per_second": -1}), "user_per_second"),
        ("PUT", "/admin/limits", json!({"user_per_second": 1, "ip_per_minute": "x"}), "ip_per_minute"),
        ("PUT", "/admin/limits", json!({"allow_ips": ["nowhere"]}), "allow_ips"),
        ("PUT", "/admin/limits", json!({"allow_referers": "shop.example"}), "allow_referers"),
        ("PUT", "/admin/limits", json!([]), ""),
        ("PUT", "/admin/switches", json!({"claim": 0}), "claim"),
        ("PUT", BLOCK, json!({"seconds": 0}), "seconds"),
        ("PUT", BLOCK, json!({"seconds": "60"}), "seconds"),
        ("PUT", "/admin/blacklist/ips/nowhere", json!({"seconds": 60}), "value"),
        ("GET", "/admin/blacklist/ips/nowhere", Value::Null, "value"),
        ("GET", "/admin/blacklist/users/nobody", Value::Null, ""),
        ("GET", "/admin/blacklist?page=x", Value::Null, "page"),
    ];
    assert_blamed(&app, &admin, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_has_no_field_because_its_sentence_begins_with_the_name() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    let rows = [
        ("POST", "/product/create", json!({"product_total": 5}), "product_name"),
        ("POST", "/product/create", json!({"product_name": "p", "product_total": 0}), "product_total"),
        ("POST", "/activity/create", json!({"product_id": 1, "start_time": "x"}), "start_time"),
        ("POST", "/activity/update", json!({"activity_id": 0}), "activity_id"),
        ("POST", "/sec/kill", json!({"product_id": "x"}), "product_id"),
        ("GET", "/sec/list?page=x", Value::Null, "page"),
    ];
    for (method, path, body, name) in rows {
        let answer = app.client().send(method, path, &shop, Some(&body.to_string())).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["code"], body.get("field")), (400, &json!(1001), None), "{answer:?}");
        let sentence = body["msg"].as_str().expect("a sentence");
        assert!(sentence.starts_with(&format!("{name}: ")), "{path}: {sentence}");
    }
}
