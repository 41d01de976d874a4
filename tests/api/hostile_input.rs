//! Hostile input. It is refused with documented answers, never with a 5xx.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, RawAnswer, RawConnection, TestApp, raw};

/// Words of internals. They must not appear in any answer.
const INTERNAL: [&str; 16] = [
    "sql",
    "select",
    "insert into",
    "redis",
    "diesel",
    "maria",
    "panick",
    "thread",
    "src/",
    ".rs",
    "/root",
    "/tmp",
    "serde",
    "expected",
    "utf-8",
    "line 1",
];

/// Asserts that `body` shows no internals, and is empty or JSON with a sentence and a code.
fn assert_documented(status: u16, body: &str, request: &str) {
    assert!((200..500).contains(&status), "{request}: {status} {body}");
    let lower = body.to_lowercase();
    assert!(INTERNAL.iter().all(|word| !lower.contains(word)), "{request}: {body}");
    if status >= 400 && !body.is_empty() {
        let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{request}: {body}"));
        assert!(body["errMsg"].is_string() && body["code"].is_string(), "{request}: {body}");
    }
}

fn assert_raw(answer: &RawAnswer, request: &str) {
    assert!(answer.status() != 0, "{request}: no answer");
    assert_documented(answer.status(), answer.body(), request);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_escapes_in_paths_are_names_of_nobody() {
    let app = TestApp::start_without_rates().await;
    let (address, client) = (app.instances[0].address, app.client());
    let ann = client.user("ann", "customer").await;
    client.user("shop", "saler").await;
    let odd = [
        "%00",
        "%2f",
        "%2F",
        "%zz",
        "%",
        "%2",
        "%ff",
        "%c3%28",
        "%ed%a0%80",
        "%2e",
        "%2e%2e",
        "..",
        ".",
        "%25%32%66",
        "%0d%0a",
        "%7f",
        "+",
        "a%20",
        "%20a",
        ";",
        "a;b=c",
        "*",
        "'",
        "%22",
        "@",
        ":",
        "~",
        "\\",
        "{}",
        "|",
        "\u{e9}",
    ];
    for name in odd {
        for (method, path) in [
            ("GET", format!("/api/users/{name}/coupons")),
            ("PATCH", format!("/api/users/{name}/coupons/ten")),
            ("PATCH", format!("/api/users/shop/coupons/{name}")),
            ("PUT", format!("/api/users/{name}/password")),
            ("GET", format!("/api/users/shop/coupons/{name}/claims")),
            ("GET", format!("/api/users/ann/coupons?page={name}")),
            ("GET", format!("/{name}")),
        ] {
            let answer = raw(address, &format!("{method} {path} HTTP/1.1\r\nAuthorization: {ann}"), "");
            assert_raw(&answer, &format!("{method} {path}"));
            assert_ne!(answer.status(), 200, "{method} {path}: {}", answer.text);
            if method == "PATCH" && answer.status() == 204 {
                assert_eq!(answer.header("Claim-Result"), Some("no-such-coupon"), "{path}");
            }
        }
    }
    for name in ["%00", "%2f", "%ff", "%zz"] {
        let answer = client.get(&format!("/api/users/{name}/coupons"), &ann).await;
        assert_eq!(answer.error(), (400, "Record not found.".to_owned(), "bad-request".to_owned()), "{name}");
        let answer = client.claim("shop", name, &ann).await;
        assert_eq!((answer.status, answer.result()), (204, "no-such-coupon"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_escape_makes_one_name_of_another() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let ann = client.user("ann", "customer").await;
    let names = ["shop", "a%2fb", "a b", "a+b", "%", "%25", "é"];
    for name in names {
        let saler = client.user(&format!("of {name}"), "saler").await;
        let path = encode(&format!("of {name}"));
        client.create_coupon(&path, &saler, name, 1).await;
        assert_eq!(client.claim(&path, &encode(name), &ann).await.result(), "claimed", "{name}");
        for other in names.into_iter().filter(|other| *other != name) {
            assert_eq!(client.claim(&path, &encode(other), &ann).await.result(), "no-such-coupon", "{name} {other}");
        }
        let answer = client.claim(&path.to_lowercase(), &encode(name).to_lowercase(), &ann).await;
        assert_eq!(answer.result(), "already-claimed", "escapes of either case: {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn double_slashes_and_dots_lead_nowhere() {
    let app = TestApp::start().await;
    let ann = app.client().user("ann", "customer").await;
    for path in [
        "//api/users/ann/coupons",
        "/api//users/ann/coupons",
        "/api/users//coupons",
        "/api/users/ann//coupons",
        "/api/users/ann/coupons//",
        "/api/users/ann/./coupons",
        "/api/users/x/../ann/coupons",
        "/api/users/ann/coupons/..",
        "/api/users/ann/coupons/x//claims",
        "/healthz/..",
        "/./healthz",
        "/healthz%2f",
        "/%68ealthz/x",
    ] {
        let answer = raw(app.instances[0].address, &format!("GET {path} HTTP/1.1\r\nAuthorization: {ann}"), "");
        assert_raw(&answer, path);
        assert!([404, 405].contains(&answer.status()), "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_bodies_are_refused_on_every_route_that_reads_one() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("ann", "saler").await;
    client.create_coupon("ann", &saler, "ten", 5).await;
    let deep = |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
    let nested = |inner: String| format!(r#"{{"username":"x","password":"secret","kind":"saler","x":{inner}}}"#);
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        b"null".to_vec(),
        b"[]".to_vec(),
        b"[{}]".to_vec(),
        b"{}{}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"name\":\"\xff\"}".to_vec(),
        b"{\"\xff\":1}".to_vec(),
        b"\x00".to_vec(),
        b"{\"a\":NaN}".to_vec(),
        b"{\"a\":1e999}".to_vec(),
        b"{\"a\":\"\x01\"}".to_vec(),
        b"{'a':1}".to_vec(),
        b"{\"a\":1,}".to_vec(),
        deep("[", "]", 2_000).into_bytes(),
        deep("{\"a\":", "}", 600).into_bytes(),
        nested(deep("[", "]", 1_000)).into_bytes(),
        nested("9".repeat(3_000)).into_bytes(),
    ];
    let routes = [
        ("POST", "/api/users"),
        ("POST", "/api/auth"),
        ("PUT", "/api/users/ann/password"),
        ("POST", "/api/users/ann/coupons"),
        ("PUT", "/api/users/ann/coupons/ten"),
    ];
    for (method, path) in routes {
        for body in &bodies {
            let request = client.request(method, path).header("Authorization", &saler).body(body.clone());
            let answer = Answer::of(request).await;
            let sent = format!("{method} {path} {:?}", String::from_utf8_lossy(body));
            assert_documented(answer.status, &answer.text, &sent);
            assert_eq!(answer.error().2, "bad-request", "{sent}");
        }
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons WHERE name = 'ten' AND amount = 5").await, 1);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_duplicate_keys_the_last_one_counts_and_only_that_one() {
    let app = TestApp::start().await;
    let body = r#"{"username":"first","username":"last","password":"secret","password":"second","kind":"admin","kind":"saler"}"#;
    let answer = app.client().send("POST", "/api/users", "", Some(body)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(app.stores.texts("SELECT CONCAT(username, ':', kind) AS value FROM users").await, ["last:saler"]);
    assert_eq!(app.client().log_in("last", "second").await.status, 200);
    assert_eq!(app.client().log_in("last", "secret").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_or_dropped_and_the_server_lives_on() {
    let app = TestApp::start().await;
    for bytes in [
        &b"\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /heal thz HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: x\r\n\r\n",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST /api/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    ] {
        let mut connection = RawConnection::open(app.instances[0].address);
        connection.send(bytes);
        let answer = connection.read_for(std::time::Duration::from_millis(300));
        assert!(matches!(answer.status(), 0 | 400..500), "{:?}: {}", String::from_utf8_lossy(bytes), answer.text);
        assert_eq!(app.client().get("/healthz", "").await.status, 200);
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_at_all_is_answered_with_a_failure() {
    let app = TestApp::start().await;
    let client = app.client();
    let tokens = [String::new(), client.user("ann", "customer").await, client.user("shop", "saler").await];
    client.create_coupon("shop", &tokens[2], "ten", 1_000).await;
    let segment = prop_oneof![
        prop::sample::select(vec!["api", "users", "auth", "logout", "password", "coupons", "claims", "claims.csv"]),
        prop::sample::select(vec!["ann", "shop", "ten", "", ".", "..", "%2f", "%00", "%ff", "%", "?page=", "?"]),
    ]
    .prop_map(str::to_owned);
    let segment = prop_oneof![4 => segment, 1 => "\\PC{0,12}".prop_map(|text| encode(&text)), 1 => "[!-~]{0,12}"];
    let known = prop::sample::select(vec![
        "/api/users",
        "/api/auth",
        "/api/users/shop/coupons",
        "/api/users/shop/coupons/ten",
        "/api/users/ann/password",
        "/api/users/shop/coupons?page=-9223372036854775809",
        "/api/users/shop/coupons/ten/claims?page=9223372036854775807",
    ]);
    let made = prop::collection::vec(segment, 0..7).prop_map(|segments| format!("/{}", segments.join("/")));
    let path = prop_oneof![known.prop_map(str::to_owned), made];
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]);
    let value = prop_oneof![
        Just(json!(null)),
        any_number(),
        "\\PC{0,70}".prop_map(|text| json!(text)),
        Just(json!("shop")),
        Just(json!(PASSWORD)),
        Just(json!(["x"])),
    ];
    let key = prop::sample::select(vec!["username", "Password", "kind", "name", "amount", "stock", "scheduled", "old"]);
    let object = prop::collection::vec((key, value), 0..6).prop_map(|fields| {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
        json!(fields.collect::<serde_json::Map<_, _>>()).to_string().into_bytes()
    });
    let body = prop_oneof![2 => object, 1 => prop::collection::vec(any::<u8>(), 0..200)];
    let requests = (method, path, prop::sample::select(tokens.to_vec()), body);

    let address = app.instances[0].address;
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&requests, |(method, path, token, body)| {
        let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: {token}\r\nContent-Length: {}", body.len());
        let answer = raw(address, &head, &body);
        prop_assert!((200..500).contains(&answer.status()), "{}", answer.text);
        let lower = answer.body().to_lowercase();
        prop_assert!(!["sql", "redis", "diesel", "panicked"].iter().any(|word| lower.contains(word)), "{}", lower);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users WHERE username = 'ann'").await, 1);
}

fn any_number() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        (0..20_i64).prop_map(|number| json!(number)),
        Just(json!(u64::MAX)),
    ]
}

fn encode(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}
