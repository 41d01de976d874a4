//! The web pages over HTTP: addresses, encodings and headers. Pages are served even when claims get no answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use couponrush::domain::Kind;
use serde_json::json;

use crate::helpers::{Answer, Client, RedisServer, Stores, TestApp, without_rates};

/// The largest compressed size of the first view in bytes, with the headers of all its assets. Other views and charts
/// load later.
const FIRST_VIEW_BYTES_MAX: usize = 60_000;
/// The longest time for a page while claims get no answer.
const PAGE_WAIT: Duration = Duration::from_secs(1);

/// The addresses of a page's assets.
fn assets(page: &str) -> BTreeSet<String> {
    page.split('"').filter(|piece| piece.starts_with("/assets/")).map(str::to_owned).collect()
}

async fn get_as(client: &Client, path: &str, encoding: &str) -> (Answer, usize) {
    let response = client.request("GET", path).header("Accept-Encoding", encoding).send().await;
    let response = response.expect("the service answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let length = response.bytes().await.expect("the body arrives").len();
    (Answer { status, headers, text: String::new() }, length)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_show_and_run_what_is_ours_and_nothing_else() {
    let app = TestApp::start().await;
    let page = app.client().get("/", "").await;
    assert_eq!((page.status, page.header("Content-Type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("Content-Security-Policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.split(';').any(|part| part.trim() == rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept-Encoding"),
    ] {
        assert_eq!(page.header(name), value, "{name}");
    }
    assert!(page.header("Permissions-Policy").contains("camera=()"), "only merchants read codes");
    for inline in ["<style", "style=", "onclick", "javascript:"] {
        assert!(!page.text.contains(inline), "{inline}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_ever_and_pages_are_asked_about_each_time() {
    let app = TestApp::start().await;
    let client = app.client();
    let page = client.get("/", "").await;
    let assets = assets(&page.text);
    assert!(assets.len() > 10, "{assets:?}");
    for path in assets.iter().map(String::as_str).chain(["/"]) {
        let (plain, length) = get_as(client, path, "identity").await;
        let kept = if path == "/" { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!((plain.status, plain.header("Cache-Control")), (200, kept), "{path}");
        assert_eq!(plain.header("X-Content-Type-Options"), "nosniff", "{path}");
        let head = client.send("HEAD", path, "", None).await;
        assert_eq!((head.status, head.header("Content-Length"), head.text.as_str()), (200, &*length.to_string(), ""));
        let known = client.request("GET", path).header("If-None-Match", plain.header("Etag"));
        let known = Answer::of(known).await;
        assert_eq!((known.status, known.text.as_str(), known.header("Cache-Control")), (304, "", kept), "{path}");
        let other = Answer::of(client.request("GET", path).header("If-None-Match", "W/\"other\"")).await;
        assert_eq!(other.status, 200, "{path}");
        assert_eq!(client.post(path, "", &json!({})).await.header("Allow"), "GET, HEAD", "{path}");
    }
    let sheet = assets.iter().find(|path| path.ends_with("/css/app.css")).expect("the page has a style sheet");
    let version = sheet.split('/').nth(2).expect("it has a version");
    let of_another_version = sheet.replace(version, "0123456789abcdef");
    let lock = sheet.replace("css/app.css", "vendor/vendor.lock.json");
    for unknown in ["/assets/", "/assets/css/app.css", "/assets/../Cargo.toml", &of_another_version, &lock] {
        let answer = client.get(unknown, "").await;
        assert_eq!((answer.status, answer.header("Cache-Control")), (404, "no-store"), "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_is_sent_to_who_takes_it_and_the_smallest_first() {
    let app = TestApp::start().await;
    let page = app.client().get("/", "").await;
    for path in assets(&page.text).iter().map(String::as_str).chain(["/"]) {
        let mut lengths = Vec::new();
        for (accepted, sent) in [
            ("gzip, deflate, br, zstd", "br"),
            ("br;q=0, gzip", "gzip"),
            ("gzip", "gzip"),
            ("identity", ""),
            ("deflate", ""),
            ("*;q=0.1, gzip;q=0, br;q=0", ""),
        ] {
            let (answer, length) = get_as(app.client(), path, accepted).await;
            assert_eq!((answer.status, answer.header("Content-Encoding")), (200, sent), "{path} {accepted}");
            assert_eq!(answer.header("Vary"), "Accept-Encoding");
            lengths.push(length);
        }
        assert!(lengths[0] <= lengths[1] && lengths[1] < lengths[3], "{path}: {lengths:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_view_is_small() {
    let app = TestApp::start().await;
    for view in ["/", "/saler", "/admin"] {
        let page = app.client().get(view, "").await;
        let mut bytes = 0;
        for path in assets(&page.text).iter().map(String::as_str).chain([view]) {
            let (answer, length) = get_as(app.client(), path, "br").await;
            let lines = answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
            bytes += length + lines.sum::<usize>();
        }
        eprintln!("{view}: {bytes} bytes");
        assert!(bytes < FIRST_VIEW_BYTES_MAX, "{view}: {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_merchants_may_use_a_camera() {
    let app = TestApp::start().await;
    for (view, camera) in [("/", "camera=()"), ("/saler", "camera=(self)"), ("/admin", "camera=()")] {
        let page = app.client().get(view, "").await;
        assert_eq!(page.status, 200, "{view}");
        assert!(page.header("Permissions-Policy").split(", ").any(|rule| rule == camera), "{view}");
        assert!(page.header("Content-Security-Policy").contains("default-src 'none'"), "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_turns_pages_to_a_plain_one_that_says_so() {
    let app = TestApp::start().await;
    let (client, admin) = (app.client(), app.user("root", Kind::Admin).await);
    let page = client.get("/", "").await;
    assert_eq!(client.put("/admin/switches", &admin, &json!({"pages": false})).await.status, 200);
    let off = client.get("/", "").await;
    assert_eq!((off.status, off.header("Retry-After"), off.header("Cache-Control")), (503, "60", "no-store"));
    assert!(off.text.contains("switched off") && off.text.contains("页面暂时关闭"), "{}", off.text);
    assert_eq!(assets(&off.text).len(), 0, "the page loads no assets");
    assert!(off.header("Content-Security-Policy").contains("default-src 'none'"));
    assert_eq!(client.get("/saler", "").await.status, 503);
    assert_eq!(client.get("/admin", "").await.status, 200, "the page with the switches stays on");
    for asset in assets(&page.text) {
        assert_eq!(client.get(&asset, "").await.status, 200, "open pages keep their assets");
    }
    assert_eq!(client.put("/admin/switches", &admin, &json!({})).await.status, 200);
    assert_eq!(client.get("/", "").await.text, page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_up_while_no_claim_gets_through() {
    let redis = RedisServer::start().await;
    let stores = Stores::create(Some(redis.url())).await;
    let app = TestApp::start_on(stores, without_rates).await;
    let client = app.client();
    let (saler, ann) = (client.user("shop", "saler").await, client.user("ann", "customer").await);
    client.create_coupon("shop", &saler, "ten", 10).await;
    redis.freeze();
    let claims: Vec<_> = (0..500)
        .map(|_| {
            let (client, ann) = (client.clone(), ann.clone());
            tokio::spawn(async move { client.claim("shop", "ten", &ann).await })
        })
        .collect();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(client.get("/", "").await.status, 200);
        assert!(asked.elapsed() < PAGE_WAIT, "the page took {:?}", asked.elapsed());
    }
    redis.thaw();
    for claim in claims {
        claim.await.expect("the customer does not panic");
    }
}
