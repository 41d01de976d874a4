//! Limits by the class of a route, and the profiles that choose the limits.

use couponrush::config::Profile;
use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, TestApp, eventually};
use crate::limits::{assert_rate_limited, set};
use crate::program::{run, settings, text};

/// Requests of a saler `shop` with the coupon `ten`, by class.
const READS: [(&str, &str, &str); 6] = [
    ("GET", "/api/users/shop/coupons", ""),
    ("GET", "/api/users/shop/coupons/ten/claims", ""),
    ("GET", "/product/list", ""),
    ("GET", "/sec/ticket?product_id=1", ""),
    ("GET", "/activity/list", ""),
    ("POST", "/sec/token", r#"{"token":"x"}"#),
];
const EXPORT: (&str, &str, &str) = ("GET", "/api/users/shop/coupons/ten/claims.csv", "");
const WRITES: [(&str, &str, &str); 4] = [
    ("PUT", "/api/users/shop/coupons/ten", r#"{"amount":10}"#),
    ("POST", "/api/users/shop/coupons", r#"{"name":"none","amount":0}"#),
    ("POST", "/product/create", "{}"),
    ("POST", "/activity/update", "{}"),
];
const REDEEM: (&str, &str, &str) = ("POST", "/sec/redeem", r#"{"token":"x"}"#);
const GLANCES: [(&str, &str, &str); 5] = [
    ("GET", "/sec/list", ""),
    ("GET", "/sec/info?product_id=1", ""),
    ("GET", "/sec/units?product_ids=1", ""),
    ("GET", "/docs", ""),
    ("GET", "/openapi.json", ""),
];

async fn ask(client: &Client, (method, path, body): (&str, &str, &str), token: &str) -> Answer {
    client.send(method, path, token, Some(body).filter(|body| !body.is_empty())).await
}

/// Sends requests in turn, and returns how many of `attempts` were answered otherwise than 429.
async fn passed(client: &Client, requests: &[(&str, &str, &str)], token: &str, attempts: usize) -> usize {
    let mut passed = 0;
    for request in requests.iter().cycle().take(attempts) {
        let answer = ask(client, *request, token).await;
        match answer.status {
            429 if answer.json()["msg"].is_string() => assert_eq!(answer.json()["code"], 1004, "{answer:?}"),
            429 => assert_rate_limited(&answer, 60),
            _ => passed += 1,
        }
    }
    passed
}

async fn app_with_a_shop() -> (TestApp, String) {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    (app, shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_limit_for_each_class_and_an_admin_has_none() {
    let (app, shop) = app_with_a_shop().await;
    let (other, admin) = (app.user("other", Kind::Saler).await, app.user("boss", Kind::Admin).await);
    let client = app.client();
    set(&app, json!({"user_reads_per_minute": 7, "user_exports_per_minute": 2, "user_writes_per_minute": 6})).await;
    assert_eq!(passed(client, &READS, &shop, 20).await, 7);
    assert_eq!(passed(client, &[EXPORT], &shop, 5).await, 2, "an export is no list");
    assert_eq!(passed(client, &WRITES, &shop, 20).await, 6, "a change is no list");
    assert_eq!(passed(client, &[REDEEM], &shop, 20).await, 6, "a till goes on after too many changes");
    assert_eq!(passed(client, &GLANCES, &shop, 20).await, 20, "no limit of users");
    assert_eq!(passed(client, &READS, &other, 7).await, 7, "another user of the address");
    assert_eq!(passed(client, &READS, &admin, 20).await, 20);
    assert_eq!(client.post("/api/auth/logout", &shop, &json!({})).await.status, 200, "the end of a session");
    assert_eq!(passed(client, &READS, &shop, 3).await, 3, "a request without a valid token is not the user's");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_use_up_no_limit_of_the_users_of_their_address() {
    let (app, shop) = app_with_a_shop().await;
    let admin = app.user("boss", Kind::Admin).await;
    let client = app.client();
    set(&app, json!({"ip_reads_per_minute": 4, "ip_writes_per_minute": 2, "ip_glances_per_minute": 3})).await;
    assert_eq!(passed(client, &READS, "", 20).await, 4);
    assert_eq!(passed(client, &READS, "forged", 20).await, 0, "a forged token is none");
    assert_eq!(passed(client, &READS, &shop, 20).await, 4);
    assert_eq!(passed(client, &READS, &admin, 20).await, 20);
    assert_eq!(passed(client, &GLANCES, "", 20).await, 3);
    assert_eq!(passed(client, &WRITES, &shop, 20).await, 2);
    assert_eq!(passed(client, &[REDEEM], &shop, 20).await, 20, "many tills may share an address");
    for _ in 0..10 {
        assert_eq!(client.post("/api/auth/logout", "", &json!({})).await.status, 200, "without a session");
    }
    set(&app, json!({"ip_reads_per_minute": 4, "allow_ips": ["127.0.0.1"]})).await;
    assert_eq!(passed(client, &READS, &shop, 20).await, 20, "an exempt address");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_cost_an_address_its_limit_of_hashes_also_where_they_are_right() {
    let (app, shop) = app_with_a_shop().await;
    let client = app.client();
    set(&app, json!({"ip_hashes_per_minute": 3})).await;
    let wrong = ("PUT", "/api/users/shop/password", r#"{"old":"wrong","new":"better"}"#);
    assert_eq!(passed(client, &[wrong], &shop, 1).await, 1);
    let login = ("POST", "/api/auth", r#"{"username":"shop","password":"wrong"}"#);
    let registration = ("POST", "/api/users", r#"{"username":"ann","password":"secret","kind":"customer"}"#);
    assert_eq!(passed(client, &[login, registration, wrong], &shop, 9).await, 2);
    let refused = ask(client, login, "").await;
    assert_eq!((refused.status, refused.json()["kind"].as_str()), (429, Some("")), "in the form of the login");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_user_is_an_offender_and_a_refused_address_is_none() {
    let (app, shop) = app_with_a_shop().await;
    let ann = app.user("ann", Kind::Customer).await;
    let client = app.client();
    let offences = json!({"offences_per_minute": 3, "offender_seconds": 60});
    let with = |more: Value| {
        let mut limits = offences.clone();
        limits.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        limits
    };
    set(&app, with(json!({"ip_reads_per_minute": 1}))).await;
    assert_eq!(passed(client, &READS, "", 20).await, 1);
    assert_eq!(client.claim("shop", "ten", &ann).await.result(), "claimed", "the address is not blocked");
    set(&app, with(json!({"user_reads_per_minute": 1}))).await;
    assert_eq!(passed(client, &READS, &shop, 20).await, 1);
    let refused = ask(client, WRITES[0], &shop).await;
    assert_eq!((refused.status, refused.error().2.as_str()), (403, "blocked"));
    assert_eq!(client.claim("shop", "ten", &ann).await.result(), "already-claimed", "others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_blocked_by_the_service_changes_nothing_and_still_sees_and_ends_what_is_his() {
    let (app, shop) = app_with_a_shop().await;
    let client = app.client();
    // The service has blocked an offender. A block by an admin would end the session.
    let offender = "INSERT INTO blocks SELECT 'user', id, NULL, 0, '', 'offender', UTC_TIMESTAMP(3) FROM users WHERE username = 'shop'";
    app.stores.execute(offender).await;
    eventually("the user is blocked", || async { ask(client, EXPORT, &shop).await.status == 403 }).await;
    for request in WRITES.into_iter().chain([REDEEM, EXPORT]) {
        let answer = ask(client, request, &shop).await;
        assert_eq!(answer.status, 403, "{request:?}: {answer:?}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 1);
    assert_eq!(passed(client, &READS, &shop, 5).await, 5);
    assert_eq!(client.get("/api/users/shop/coupons", &shop).await.status, 200);
    assert_eq!(client.post("/api/auth/logout", &shop, &json!({})).await.status, 200);
    assert_eq!(client.get("/api/users/shop/coupons", &shop).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_profile_limits_what_the_open_one_does_not() {
    let app = TestApp::start_with(|args| {
        args.admission.profile = Profile::Public;
        args.admission.trusted_proxies = "none".parse().expect("no proxies");
        args.admission.ip_per_minute = Some(7);
    })
    .await;
    let admin = app.user("boss", Kind::Admin).await;
    let limits = app.instances[0].ops.get("/admin/limits", &admin).await.json();
    let names = ["ip_per_second", "ip_per_minute", "user_reads_per_minute", "ip_hashes_per_minute"];
    assert_eq!(names.map(|name| limits[name].as_u64()), [Some(50), Some(7), Some(240), Some(120)]);
    let passed = async || {
        let mut passed = 0;
        for n in 0..40 {
            passed += usize::from(app.client().register(&format!("user-{n}"), "customer").await.status == 201);
        }
        passed
    };
    assert_eq!(passed().await, 30, "registrations from an address");
    assert_eq!(warnings(&app).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_limits_and_an_open_profile_before_strangers_are_unsafe() {
    let mut app =
        TestApp::start_with(|args| args.admission.trusted_proxies = "127.0.0.1".parse().expect("proxies")).await;
    assert!(warnings(&app).await.to_string().contains("open profile"), "behind a proxy");
    set(&app, json!({"ip_per_second": 51, "user_reads_per_minute": 100})).await;
    app.stop().await;
    app.args.admission.profile = Profile::Public;
    app.start_another().await;
    let warnings = warnings(&app).await.to_string();
    assert!(warnings.contains("weak limits: ip_per_second, ip_per_minute, "), "stored limits come first: {warnings}");
    assert!(!warnings.contains("user_reads_per_minute"), "a stricter one is not weak: {warnings}");
}

const WEAK: &str = "abababababababababababababababababab";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_easy_to_guess_is_unsafe_and_refused_before_strangers() {
    let app = TestApp::start_with(|args| args.tokens.claim_secret = Some(WEAK.to_owned())).await;
    let warnings = warnings(&app).await.to_string();
    assert!(warnings.contains("COUPONRUSH_CLAIM_SECRET: secret number 1 is weak"), "{warnings}");
    assert!(!warnings.contains(WEAK), "{warnings}");
    let public = [("COUPONRUSH_PROFILE", "public"), ("COUPONRUSH_TRUSTED_PROXIES", "none")];
    for setting in
        ["COUPONRUSH_JWT_SECRET", "COUPONRUSH_CLAIM_SECRET", "COUPONRUSH_SIGN_SECRET", "COUPONRUSH_TICKET_SECRET"]
    {
        let mut all = [&settings()[..], &public].concat();
        all.retain(|(name, _)| *name != setting);
        all.push((setting, WEAK));
        let output = run(&["serve"], &all);
        let errors = text(&output.stderr);
        assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
        assert!(errors.contains(&format!("{setting}: secret number 1 is weak")) && !errors.contains(WEAK), "{errors}");
    }
}

async fn warnings(app: &TestApp) -> Value {
    app.instances[0].ops.get("/readyz", "").await.json()["warnings"].clone()
}

#[test]
fn the_public_profile_asks_whether_a_proxy_is_in_front() {
    let public = [&settings()[..], &[("COUPONRUSH_PROFILE", "public")]].concat();
    let output = run(&["serve"], &public);
    let errors = text(&output.stderr);
    assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("COUPONRUSH_TRUSTED_PROXIES must be set; `none` says"), "{errors}");
}
