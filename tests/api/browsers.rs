//! Requests that pages of other sites make browsers send, and the headers of all answers that protect browsers.

use couponrush::domain::Kind;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, RawConnection, TestApp};
use crate::limits::set;

/// Logs in with the headers of a browser. Returns status and code.
async fn log_in_from(app: &TestApp, headers: &[(&str, &str)]) -> (u16, String) {
    let body = json!({"username": "ann", "password": PASSWORD}).to_string();
    let request = app.client().request("POST", "/api/auth").body(body);
    let answer = Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await;
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_another_site_is_refused_and_programs_are_not_concerned() {
    let app = TestApp::start_with(|args| {
        args.admission.allowed_origins = "https://shop.example".parse().expect("an origin");
    })
    .await;
    app.client().user("ann", "customer").await;
    let here = format!("http://{}", app.instances[0].address);
    let (fetch, origin) = ("Sec-Fetch-Site", "Origin");
    for headers in [
        &[][..],
        &[(fetch, "same-origin")],
        &[(fetch, "none")],
        &[(fetch, "same-origin"), (origin, "https://proxy-lost-the-host.example")],
        &[(origin, &here)],
        &[(origin, &here.replace("http://", "https://"))],
        &[(fetch, "same-site"), (origin, &here)],
        &[(fetch, "cross-site"), (origin, "https://shop.example")],
    ] {
        assert_eq!(log_in_from(&app, headers).await.0, 200, "{headers:?}");
    }
    for headers in [
        &[(fetch, "cross-site")][..],
        &[(fetch, "cross-site"), (origin, &here)],
        &[(fetch, "same-site")],
        &[(fetch, "nonsense")],
        &[(origin, "null")],
        &[(origin, "")],
        &[(origin, "https://evil.example")],
        &[(origin, "http://shop.example")],
        &[(origin, "https://shop.example.evil.example")],
        &[(fetch, "same-site"), (origin, "https://shop.example:8443")],
    ] {
        assert_eq!(log_in_from(&app, headers).await, (403, "cross-site".to_owned()), "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_by_another_site_on_any_interface_and_reading_is_not_refused() {
    let app = TestApp::start().await;
    let (shop, admin) = (app.user("shop", Kind::Saler).await, app.user("boss", Kind::Admin).await);
    let send = async |method: &str, path: &str, token: &str, body: &str| {
        let request = app.client().request(method, path).header("Authorization", token).body(body.to_owned());
        Answer::of(request.header("Sec-Fetch-Site", "cross-site")).await
    };
    let coupon = r#"{"name":"ten","amount":10,"stock":1}"#;
    let refused = send("POST", "/api/users/shop/coupons", &shop, coupon).await;
    assert_eq!((refused.status, refused.error().2.as_str()), (403, "cross-site"));
    let refused = send("POST", "/product/create", &shop, r#"{"product_name":"ten","product_total":1}"#).await;
    assert_eq!((refused.status, &refused.json()["code"], &refused.json()["data"]), (403, &json!(403), &json!("")));
    for (method, path) in [("PUT", "/admin/switches"), ("DELETE", "/admin/blacklist/users/shop"), ("POST", "/nothing")]
    {
        assert_eq!(send(method, path, &admin, "{}").await.status, 403, "{method} {path}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM settings").await, 0);
    assert_eq!(send("GET", "/sec/list", "", "").await.status, 200);
    assert_eq!(send("GET", "/api/users/shop/coupons", &shop, "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_may_send_the_signed_form_may_do_so_from_their_own_site() {
    let app = TestApp::start().await;
    set(&app, json!({"allow_referers": ["shop.example"]})).await;
    let kill = async |origin: &str, path: &str| {
        let request = app.client().request("POST", path).header("Origin", origin);
        Answer::of(request.header("Sec-Fetch-Site", "cross-site").body("product_id=1")).await.status
    };
    assert_eq!(kill("https://shop.example", "/sec/kill").await, 401, "it is not refused because of its site");
    assert_eq!(kill("https://evil.example", "/sec/kill").await, 403);
    assert_eq!(kill("https://shop.example", "/sec/redeem").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_forwarded_host_is_this_host() {
    let app = TestApp::start_with(|args| args.admission.trusted_proxies = "127.0.0.1".parse().expect("a proxy")).await;
    app.client().user("ann", "customer").await;
    let from =
        async |origin, forwarded| log_in_from(&app, &[("Origin", origin), ("X-Forwarded-Host", forwarded)]).await.0;
    assert_eq!(from("https://sale.example", "sale.example").await, 200);
    assert_eq!(from("https://sale.example", "Sale.Example:443").await, 200);
    assert_eq!(from("https://evil.example", "sale.example").await, 403);
    let direct = TestApp::start().await;
    direct.client().user("ann", "customer").await;
    let headers = [("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example")];
    assert_eq!(log_in_from(&direct, &headers).await.0, 403, "a stranger's header says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_keeps_browsers_from_guessing_framing_and_sharing() {
    let app = TestApp::start().await;
    for (path, policy) in [
        ("/healthz", "default-src 'none'; frame-ancestors 'none'"),
        ("/sec/list", "default-src 'none'; frame-ancestors 'none'"),
        ("/nothing", "default-src 'none'; frame-ancestors 'none'"),
        ("/api/users/ann/coupons", "default-src 'none'; frame-ancestors 'none'"),
        ("/", "default-src 'none'; script-src 'self'; "),
        ("/docs", "default-src 'none'; script-src 'self'; "),
    ] {
        let answer = app.client().get(path, "").await;
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{path}");
        assert_eq!(answer.header("Cross-Origin-Resource-Policy"), "same-origin", "{path}");
        assert!(answer.header("Content-Security-Policy").starts_with(policy), "{path}: {answer:?}");
        assert!(answer.header("Content-Security-Policy").contains("frame-ancestors 'none'"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_end_a_proxy_may_see_elsewhere_is_refused_and_the_connection_closes() {
    let app = TestApp::start().await;
    let address = app.instances[0].address;
    for (version, lines) in [
        ("1.1", "Content-Length: 2\r\nTransfer-Encoding: chunked"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 2"),
        ("1.1", "Content-Length: 2\r\nTransfer-Encoding: identity"),
        ("1.1", "Content-Length: 0\r\nTransfer-Encoding: identity"),
        ("1.0", "Content-Length: 2\r\nTransfer-Encoding: chunked"),
        ("1.0", "Transfer-Encoding: chunked"),
    ] {
        let mut connection = RawConnection::open(address);
        let head =
            format!("POST /api/auth/logout HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n{lines}\r\n\r\n");
        // Another reading of the length turns the second request into a body, or the body into a request.
        connection.send(format!("{head}{{}}GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"));
        let answer = connection.read_to_end();
        assert_eq!(answer.status(), 400, "{version} {lines}: {answer:?}");
        assert!(answer.closed && answer.text.matches("HTTP/1.").count() == 1, "{version} {lines}: {answer:?}");
    }
}
