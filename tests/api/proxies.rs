//! Addresses behind proxies. `X-Forwarded-For` counts only from trusted proxies.

use couponrush::domain::Kind;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, TestApp, raw};

/// A claim with an `X-Forwarded-For` header.
async fn claim(app: &TestApp, token: &str, forwarded_for: &str) -> Answer {
    let request = app.client().request("PATCH", "/api/users/nobody/coupons/none");
    Answer::of(request.header("Authorization", token).header("X-Forwarded-For", forwarded_for)).await
}

async fn block(app: &TestApp, address: &str) {
    let admin = app.user(&format!("root-{:x}", rand::random::<u32>()), Kind::Admin).await;
    let answer = app.client().send("PUT", &format!("/admin/blacklist/ips/{address}"), &admin, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_writes_into_the_header_changes_nothing() {
    let app = TestApp::start_with(|args| args.admission.ip_per_minute = Some(4)).await;
    let ann = app.user("ann", Kind::Customer).await;
    block(&app, "198.51.100.1").await;
    assert_eq!(claim(&app, &ann, "198.51.100.1").await.status, 204, "the header of a stranger is ignored for blocks");
    for n in 0..3 {
        assert_eq!(claim(&app, &ann, &format!("203.0.113.{n}")).await.status, 204);
    }
    assert_eq!(claim(&app, &ann, "203.0.113.99").await.status, 429, "the header of a stranger is ignored for rates");
    block(&app, "127.0.0.1").await;
    assert_eq!(
        claim(&app, &ann, "203.0.113.100").await.status,
        403,
        "the header of a stranger does not hide the address"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_rightmost_stranger_is_the_client() {
    let trusted = "127.0.0.1,10.0.0.0/8,2001:db8::/32".parse().expect("networks");
    let app = TestApp::start_with(|args| args.admission.trusted_proxies = trusted).await;
    let ann = app.user("ann", Kind::Customer).await;
    block(&app, "198.51.100.1").await;
    for (header, status) in [
        ("198.51.100.1", 403),
        ("203.0.113.5, 198.51.100.1", 403),
        ("198.51.100.1, 10.1.1.1, 2001:db8::9", 403),
        ("::ffff:198.51.100.1", 403),
        ("198.51.100.1:4711", 403),
        ("198.51.100.1, 203.0.113.5", 204),
        ("198.51.100.1, garbage", 204),
        ("garbage", 204),
        ("", 204),
        ("198.51.100.2", 204),
    ] {
        assert_eq!(claim(&app, &ann, header).await.status, status, "{header:?}");
    }
    block(&app, "2001:dead:0:7::1").await;
    for (header, status) in [("2001:dead:0:7:ffff::2", 403), ("[2001:dead:0:7::3]:80", 403), ("2001:dead:0:8::1", 204)]
    {
        assert_eq!(claim(&app, &ann, header).await.status, status, "an IPv6 block covers the /64: {header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_and_registrations_are_counted_by_the_clients_address() {
    let trusted = "127.0.0.1".parse().expect("networks");
    let app = TestApp::start_with(|args| {
        args.admission.trusted_proxies = trusted;
        args.admission.ip_failed_logins_per_minute = 2;
        args.admission.registrations_per_minute = Some(2);
    })
    .await;
    app.client().user("ann", "customer").await;
    let post = async |path: &str, body: serde_json::Value, from: &str| {
        let request = app.client().request("POST", path).body(body.to_string());
        Answer::of(request.header("X-Forwarded-For", from)).await.status
    };
    let (first, second) = ("198.51.100.1", "198.51.100.2");
    for n in 0..2 {
        let guess = json!({"username": format!("guess-{n}"), "password": "wrong"});
        assert_eq!(post("/api/auth", guess, first).await, 401);
        let new = json!({"username": format!("new-{n}"), "password": "secret", "kind": "customer"});
        assert_eq!(post("/api/users", new, first).await, 201);
    }
    let right = json!({"username": "ann", "password": PASSWORD});
    assert_eq!(post("/api/auth", right.clone(), first).await, 429);
    assert_eq!(post("/api/auth", right, second).await, 200);
    let new = |name| json!({"username": name, "password": "secret", "kind": "customer"});
    assert_eq!(post("/api/users", new("third"), first).await, 429);
    assert_eq!(post("/api/users", new("third"), second).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escapes_lead_past_a_rule_for_the_paths_of_operators() {
    let app = TestApp::start().await;
    let admin = app.user("boss", Kind::Admin).await;
    app.client().user("\u{540d}", "customer").await;
    for path in ["/%61dmin/limits", "/adm%69n/switches", "/admin/%6cimits", "/admin/blacklist/%75sers/boss", "/%61dmin"]
    {
        let answer = raw(app.instances[0].address, &format!("GET {path} HTTP/1.1\r\nAuthorization: {admin}"), "");
        assert_eq!(answer.status(), 404, "{path}: {answer:?}");
    }
    let name = "/admin/blacklist/users/%E5%90%8D";
    assert_eq!(app.client().put(name, &admin, &json!({})).await.status, 200, "a name may have escapes");
    assert_eq!(app.client().get(name, &admin).await.status, 200);
}
