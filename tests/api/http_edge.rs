//! HTTP: methods, paths, sizes, timeouts, and the headers of every answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{Answer, PASSWORD, RawAnswer, RawConnection, TestApp, eventually, raw};

/// The paths for users and their methods.
const PATHS: [(&str, &str); 10] = [
    ("/api/users", "POST"),
    ("/api/auth", "POST"),
    ("/api/auth/logout", "POST"),
    ("/api/users/ann/password", "PUT"),
    ("/api/users/ann/coupons", "GET, HEAD, POST"),
    ("/api/users/ann/coupons/ten", "PATCH, PUT"),
    ("/api/users/ann/coupons/ten/claims", "GET, HEAD"),
    ("/api/users/ann/coupons/ten/claims.csv", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
];
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
const BODY_WAIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_known_path_with_a_wrong_method_is_405_and_says_which_are_right() {
    let app = TestApp::start().await;
    for (path, allowed) in PATHS {
        for path in [path.to_owned(), format!("{path}/")] {
            for method in METHODS {
                let answer = app.client().send(method, &path, "", None).await;
                if allowed.split(", ").any(|known| known == method) {
                    assert!(![404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
                    continue;
                }
                assert_eq!((answer.status, answer.header("Allow")), (405, allowed), "{method} {path}");
                if method != "HEAD" {
                    let (_, message, code) = answer.error();
                    assert_eq!((message.is_empty(), code.as_str()), (false, "method-not-allowed"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_is_404_whatever_the_method() {
    let app = TestApp::start().await;
    let paths = [
        "/index.html",
        "/api",
        "/api/user",
        "/api/users/ann/x",
        "/api/users/ann/coupons/ten/x",
        "/API/users",
        "/metrics",
    ];
    for path in paths {
        for method in ["GET", "POST", "PATCH", "DELETE"] {
            let answer = app.client().send(method, path, "", None).await;
            assert_eq!(answer.error(), (404, "No such path.".to_owned(), "not-found".to_owned()), "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_at_the_end_is_accepted_without_a_redirect() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    let user = json!({"username": "ann", "password": PASSWORD, "kind": "customer"});
    assert_eq!(client.post("/api/users/", "", &user).await.status, 201);
    let login = client.post("/api/auth/", "", &user).await;
    let ann = login.header("Authorization");
    let coupon = json!({"name": "ten", "amount": 2, "stock": 1});
    assert_eq!(client.post("/api/users/shop/coupons/", &saler, &coupon).await.status, 201);
    let claim = client.send("PATCH", "/api/users/shop/coupons/ten/", ann, None).await;
    assert_eq!((claim.status, claim.result()), (201, "claimed"));
    assert_eq!(client.get("/api/users/ann/coupons/", ann).await.json()["data"][0]["name"], "ten");
    app.settle().await;
    let claims = client.get("/api/users/shop/coupons/ten/claims/", &saler).await;
    assert_eq!(claims.json()["data"][0]["username"], "ann");
    assert_eq!(client.post("/api/auth/logout/", ann, &json!({})).await.status, 200);
    assert_eq!(client.get("/api/users/ann/coupons/", ann).await.status, 401, "the token is refused after the logout");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_without_a_body() {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "ten", 2).await;
    for path in ["/healthz", "/readyz", "/api/users/shop/coupons", "/api/users/shop/coupons?page=x", "/nothing"] {
        // A number in `/readyz` can get another digit between the two requests.
        eventually(path, || async {
            let get = app.client().get(path, &saler).await;
            let head = app.client().send("HEAD", path, &saler, None).await;
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
            ["Content-Type", "Content-Length", "Cache-Control"].iter().all(|name| head.header(name) == get.header(name))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_with_a_body_is_json_that_nobody_stores() {
    let app = TestApp::start().await;
    let token = app.client().user("ann", "customer").await;
    for (method, path, token, body, status) in [
        ("GET", "/healthz", "", None, 200),
        ("GET", "/readyz", "", None, 200),
        ("POST", "/api/users", "", Some(r#"{"username":"b","password":"secret","kind":"saler"}"#), 201),
        ("POST", "/api/users", "", Some("x"), 400),
        ("POST", "/api/auth", "", Some(r#"{"username":"b","password":"secret"}"#), 200),
        ("POST", "/api/auth", "", Some("{}"), 401),
        ("POST", "/api/auth/logout", "", None, 200),
        ("GET", "/api/users/ann/coupons", &token, None, 204),
        ("GET", "/api/users/ann/coupons", "", None, 401),
        ("PATCH", "/api/users/b/coupons/c", &token, None, 204),
        ("GET", "/api/users/ann/coupons?page=x", &token, None, 400),
        ("GET", "/nothing", "", None, 404),
        ("DELETE", "/api/users", "", None, 405),
        ("POST", "/api/users", "", Some(&"x".repeat(5_000)), 413),
    ] {
        let answer = app.client().send(method, path, token, body).await;
        assert_eq!((answer.status, answer.header("Cache-Control")), (status, "no-store"), "{method} {path}");
        assert_eq!(answer.header("X-Request-Id").len(), 16, "{method} {path}");
        if status == 204 {
            assert_eq!(answer.text, "", "{method} {path}");
            continue;
        }
        assert_eq!(answer.header("Content-Type"), "application/json; charset=utf-8", "{method} {path}");
        let body = answer.json();
        if status >= 400 {
            assert!(body["errMsg"].is_string() && body["code"].is_string(), "{method} {path}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_echoed_or_made() {
    let app = TestApp::start().await;
    let made = app.client().get("/healthz", "").await.header("X-Request-Id").to_owned();
    assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    assert_ne!(app.client().get("/healthz", "").await.header("X-Request-Id"), made);
    let longest = "x".repeat(128);
    for id in ["a", "7e-1_f:/+=", &longest] {
        for path in ["/healthz", "/nothing", "/api/users/ann/coupons"] {
            let request = app.client().request("GET", path).header("X-Request-Id", id);
            assert_eq!(Answer::of(request).await.header("X-Request-Id"), id, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_request_id_is_replaced() {
    let app = TestApp::start().await;
    let too_long = "x".repeat(129);
    for id in [b"".as_slice(), b" ", too_long.as_bytes(), b"a\tb", b"\xff\xfe", "名".as_bytes()] {
        let mut connection = RawConnection::open(app.instances[0].address);
        connection.send("GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX-Request-Id: ");
        connection.send(id);
        connection.send("\r\n\r\n");
        let answer = connection.read_to_end();
        assert_eq!(answer.status(), 200, "{id:?}");
        let sent = answer.header("X-Request-Id").expect("every answer has a request id");
        assert!(sent.len() == 16 && sent.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}: {sent:?}");
    }
    for id in ["a\0b", "a\u{1b}[31m", "a\u{7f}"] {
        let answer = raw(app.instances[0].address, &format!("GET /healthz HTTP/1.1\r\nX-Request-Id: {id}"), "");
        assert!(!answer.text.contains(id), "{id:?}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_4_kib_is_read_and_one_byte_more_is_refused() {
    let app = TestApp::start().await;
    let address = app.instances[0].address;
    let user = r#"{"username":"ann","password":"secret","kind":"saler"}"#;
    let body = |length: usize| format!("{user}{}", " ".repeat(length - user.len()));
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let send = |path: &str, length: &str, body: &str| raw(address, &format!("POST {path} HTTP/1.1\r\n{length}"), body);
    let refused = |answer: &RawAnswer| {
        assert_eq!(answer.status(), 413, "{}", answer.text);
        assert!(answer.body().contains(r#""code":"body-too-large""#), "{}", answer.text);
        assert!(answer.closed);
    };
    refused(&send("/api/users", "Content-Length: 4097", &body(4_097)));
    refused(&send("/api/users", "Content-Length: 18446744073709551615", "{"));
    refused(&send("/api/users", "Transfer-Encoding: chunked", &chunked(&body(4_097))));
    refused(&send("/api/auth", "Transfer-Encoding: chunked", &chunked(&body(400_000))));
    refused(&send("/api/auth/logout", "Content-Length: 4097", &body(4_097)));
    refused(&send("/api/auth/logout", "Transfer-Encoding: chunked", &chunked(&body(4_097))));
    refused(&send("/nothing", "Transfer-Encoding: chunked", &chunked(&body(4_097))));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 0);
    let taken = send("/api/users", "Content-Length: 4096", &body(4_096));
    assert_eq!(taken.status(), 201, "{}", taken.text);
    let taken = send("/api/users", "Transfer-Encoding: chunked", &chunked(&body(4_096).replace("ann", "bob")));
    assert_eq!(taken.status(), 201, "{}", taken.text);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 2);
}

/// Sends every head, followed by a byte every 100 ms. The server must close the connections in time.
fn assert_drips_are_closed(address: SocketAddr, heads: &[String]) -> Vec<RawAnswer> {
    std::thread::scope(|scope| {
        let drips: Vec<_> = heads.iter().map(|head| scope.spawn(move || drip_until_closed(address, head))).collect();
        drips.into_iter().map(|drip| drip.join().expect("the connection is closed in time")).collect()
    })
}

fn drip_until_closed(address: SocketAddr, head: &str) -> RawAnswer {
    let mut connection = RawConnection::open(address);
    let began = Instant::now();
    connection.send(head);
    let mut all = RawAnswer::default();
    while !all.closed && began.elapsed() < 3 * BODY_WAIT {
        connection.send("1\r\n \r\n");
        let more = connection.read_for(Duration::from_millis(100));
        all = RawAnswer { text: all.text + more.text.as_str(), closed: more.closed };
    }
    let took = began.elapsed();
    assert!(all.closed, "still open after {took:?}: {head:?} {}", all.text);
    assert!(took < BODY_WAIT + Duration::from_secs(3), "closed after {took:?}: {head:?}");
    all
}

/// Requests with an announced body that is never sent.
fn heads(starts: &[&str]) -> Vec<String> {
    let lengths = ["Content-Length: 4000", "Transfer-Encoding: chunked"];
    let head = |start: &&str| lengths.map(|length| format!("{start} HTTP/1.1\r\nHost: test\r\n{length}\r\n\r\n"));
    starts.iter().flat_map(head).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_closed_after_five_seconds() {
    let app = TestApp::start().await;
    for answer in assert_drips_are_closed(app.instances[0].address, &heads(&["POST /api/users", "POST /api/auth"])) {
        assert_eq!(answer.status(), 400, "{}", answer.text);
        assert!(answer.body().contains(r#""errMsg":"The body did not arrive in time.""#), "{}", answer.text);
    }
    assert_eq!(app.client().get("/healthz", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_reads_is_closed_as_well_when_it_drips() {
    let app = TestApp::start().await;
    let starts = ["POST /api/auth/logout", "PATCH /api/users/shop/coupons/ten", "DELETE /api/users", "POST /nothing"];
    for answer in assert_drips_are_closed(app.instances[0].address, &heads(&starts)) {
        assert!((200..500).contains(&answer.status()), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_drip_are_closed_after_five_seconds() {
    let app = TestApp::start().await;
    let mut connection = RawConnection::open(app.instances[0].address);
    connection.send("GET /healthz HTTP/1.1\r\nX-Slow: ");
    let began = Instant::now();
    let answer = loop {
        connection.send("x");
        let answer = connection.read_for(Duration::from_millis(200));
        if answer.closed || began.elapsed() > 3 * BODY_WAIT {
            break answer;
        }
    };
    assert!(answer.closed, "still open after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_refused_and_the_server_lives_on() {
    let app = TestApp::start().await;
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let huge = format!("X-Huge: {}\r\n", "y".repeat(4 << 20));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "p".repeat(4 << 20));
    for request in
        [format!("GET /healthz HTTP/1.1\r\n{many}\r\n"), format!("GET /healthz HTTP/1.1\r\n{huge}\r\n"), long_path]
    {
        let mut connection = RawConnection::open(app.instances[0].address);
        connection.send(&request);
        let answer = connection.read_to_end();
        assert!(answer.closed, "{}", answer.text);
        assert!(matches!(answer.status(), 0 | 400..500), "{}", answer.text);
        assert_eq!(app.client().get("/healthz", "").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_reset_in_the_middle_of_a_request_harm_nobody() {
    let app = TestApp::start().await;
    let address = app.instances[0].address;
    let body = json!({"username": "half", "password": PASSWORD, "kind": "customer"}).to_string();
    let head = format!("POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    let whole = format!("{head}{body}");
    for end in (0..whole.len()).step_by(7) {
        let mut connection = RawConnection::open(address);
        connection.send(&whole[..end]);
        connection.reset();
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 0, "an incomplete request registers no user");
    for _ in 0..50 {
        let mut connection = RawConnection::open(address);
        connection.send(&whole);
        connection.reset();
    }
    app.client().user("ann", "customer").await;
    assert!(app.stores.number("SELECT COUNT(*) FROM users WHERE username = 'half'").await <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_http_2_is_answered_and_the_answer_says_that_the_connection_ends() {
    let app = TestApp::start().await;
    let offer = "Host: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__";
    let body = r#"{"username": "ann"}"#;
    let post = format!("POST /api/users HTTP/1.1\r\n{offer}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let get = format!("GET /healthz HTTP/1.1\r\n{offer}\r\n\r\n");
    for (request, status) in [(get, 200), (post, 400)] {
        let mut connection = RawConnection::open(app.instances[0].address);
        assert!(connection.send(&request));
        let answer = connection.read_for(Duration::from_secs(3));
        assert!(answer.closed, "{request}");
        assert_eq!((answer.status(), answer.header("Connection")), (status, Some("close")), "{request}");
    }
}
