//! Valid and invalid session tokens, on every route with a login.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use couponrush::domain::{Kind, User, UserId, UserName};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

use crate::helpers::{Answer, RawConnection, SECRET, TestApp, now_seconds};

/// The routes with a login.
const ROUTES: [(&str, &str); 8] = [
    ("PUT", "/api/users/ann/password"),
    ("GET", "/api/users/ann/coupons"),
    ("HEAD", "/api/users/ann/coupons"),
    ("POST", "/api/users/ann/coupons"),
    ("PATCH", "/api/users/shop/coupons/ten"),
    ("PUT", "/api/users/shop/coupons/ten"),
    ("GET", "/api/users/shop/coupons/ten/claims"),
    ("GET", "/api/users/shop/coupons/ten/claims.csv"),
];

/// Asserts that every route refuses `header` with `message` and `code`.
async fn assert_refused(app: &TestApp, header: Option<&str>, message: &str, code: &str) {
    for (method, path) in ROUTES {
        let mut request = app.client().request(method, path);
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 401, "{method} {path} with {header:?}: {answer:?}");
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer");
        if method != "HEAD" {
            let body = answer.json();
            assert_eq!((&body["errMsg"], &body["code"]), (&json!(message), &json!(code)), "{method} {path} {header:?}");
        }
    }
}

/// Asserts that `token` is refused, alone and after `Bearer`.
async fn assert_not_logged_in(app: &TestApp, token: &str) {
    for header in [token.to_owned(), format!("Bearer {token}")] {
        assert_refused(app, Some(&header), "Not Authorized.", "not-logged-in").await;
    }
}

/// The payload of a valid token.
fn payload_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("a JWT is base64");
    serde_json::from_slice(&json).expect("a payload is JSON")
}

/// A token as another program makes it: without the code of the service, which knows HS256 alone.
fn sign(algorithm: Algorithm, secret: &str, payload: &Value) -> String {
    let parts = [json!({"typ": "JWT", "alg": algorithm}), payload.clone()];
    let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = match algorithm {
        Algorithm::HS256 => signature::<Hmac<Sha256>>(secret, &text),
        Algorithm::HS384 => signature::<Hmac<Sha384>>(secret, &text),
        Algorithm::HS512 => signature::<Hmac<Sha512>>(secret, &text),
        other => panic!("not signed with a secret: {other:?}"),
    };
    format!("{text}.{signature}")
}

fn signature<M: Mac + KeyInit>(secret: &str, text: &str) -> String {
    let mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("a secret may have any length");
    URL_SAFE_NO_PAD.encode(mac.chain_update(text).finalize().into_bytes())
}

fn with(payload: &Value, key: &str, value: Value) -> Value {
    let mut changed = payload.clone();
    changed[key] = value;
    changed
}

async fn app_with_ann() -> (TestApp, String) {
    let app = TestApp::start().await;
    let token = app.client().user("ann", "customer").await;
    (app, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_raw_and_after_bearer() {
    let (app, token) = app_with_ann().await;
    let schemes = ["Bearer ", "bearer ", "BEARER ", "Bearer   "];
    for header in schemes.map(|scheme| format!("{scheme}{token}")).into_iter().chain([token.clone()]) {
        assert_eq!(app.client().list("ann", &header).await.status, 204, "{header}");
        assert_eq!(app.client().claim("shop", "none", &header).await.result(), "no-such-coupon");
    }
    let foreign = sign(Algorithm::HS256, SECRET, &payload_of(&token));
    assert_eq!(app.client().list("ann", &foreign).await.status, 204, "other programs may sign with the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_and_for_how_long() {
    let (app, token) = app_with_ann().await;
    let payload = payload_of(&token);
    assert_eq!((&payload["sub"], &payload["kind"]), (&json!("ann"), &json!("customer")));
    assert_eq!(payload["uid"].as_i64(), Some(app.stores.number("SELECT id FROM users").await));
    let (issued, expires) = (payload["iat"].as_u64().expect("a number"), payload["exp"].as_u64().expect("a number"));
    assert_eq!(expires - issued, u64::from(app.args.tokens.token_seconds));
    assert!(now_seconds().abs_diff(issued) < 20, "issued now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_token_is_not_authorized_on_any_route() {
    let (app, _) = app_with_ann().await;
    assert_refused(&app, None, "Not Authorized.", "not-logged-in").await;
    for header in ["", " ", "Bearer", "Bearer ", "Basic YW5uOmFubg=="] {
        assert_refused(&app, Some(header), "Not Authorized.", "not-logged-in").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_told_so_on_every_route() {
    let (app, token) = app_with_ann().await;
    let tokens = couponrush::app::signers(&app.args.tokens).expect("the secret is good").sessions;
    let id = UserId(payload_of(&token)["uid"].as_u64().expect("a number"));
    let ann = User { id, name: UserName::parse("ann".to_owned()).expect("a name"), kind: Kind::Customer };
    let lifetime = u64::from(app.args.tokens.token_seconds);
    let expired = tokens.issue(&ann, 0, now_seconds() - lifetime);
    for header in [expired.clone(), format!("Bearer {expired}")] {
        assert_refused(&app, Some(&header), "Authorization has expired.", "token-expired").await;
    }
    let ended = with(&payload_of(&token), "exp", json!(now_seconds() - 1));
    let ended = sign(Algorithm::HS256, SECRET, &ended);
    assert_refused(&app, Some(&ended), "Authorization has expired.", "token-expired").await;

    let nearly = tokens.issue(&ann, 0, now_seconds() - lifetime + 60);
    assert_eq!(app.client().list("ann", &nearly).await.status, 204, "there is no leeway in the other direction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_token_is_nobodys() {
    let (app, token) = app_with_ann().await;
    let (start, signature) = token.rsplit_once('.').expect("a JWT has dots");
    let (header, payload) = start.split_once('.').expect("a JWT has two dots");
    for malformed in [
        "x".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        start.to_owned(),
        format!("{start}."),
        format!("{start}.AAAA{}", &signature[4..]),
        format!("{start}.{}", signature.to_uppercase()),
        format!("{header}..{signature}"),
        format!("{payload}.{header}.{signature}"),
        format!("{token}="),
        format!("{token}.x"),
        format!("{token} {token}"),
        format!("Bearer {token}"),
        "A".repeat(3_000),
    ] {
        if malformed.starts_with("Bearer") {
            let header = format!("Bearer {malformed}");
            assert_refused(&app, Some(&header), "Not Authorized.", "not-logged-in").await;
        } else {
            assert_not_logged_in(&app, &malformed).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_bytes_that_are_not_text_is_nobodys() {
    let (app, _) = app_with_ann().await;
    for bytes in [&b"\xff\xfe"[..], b"\xc3\xa9.\xc3\xa9.\xc3\xa9", b"a\tb"] {
        let mut connection = RawConnection::open(app.instances[0].address);
        connection.send("GET /api/users/ann/coupons HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: ");
        connection.send(bytes);
        connection.send("\r\n\r\n");
        assert_eq!(connection.read_to_end().status(), 401, "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_algorithm_or_secret_is_nobodys() {
    let (app, token) = app_with_ann().await;
    let payload = payload_of(&token);
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let ours = token.rsplit_once('.').expect("a JWT has dots").1;
    let none = |name: &str| format!("{}.{}", encode(&json!({"alg": name}).to_string()), encode(&payload.to_string()));
    // A valid HS256 signature under a header with a different algorithm.
    let mislabelled = |name: &str| {
        let text = none(name);
        format!("{text}.{}", signature::<Hmac<Sha256>>(SECRET, &text))
    };
    assert_eq!(app.client().list("ann", &mislabelled("HS256")).await.status, 204);
    for forged in [
        sign(Algorithm::HS512, SECRET, &payload),
        sign(Algorithm::HS384, SECRET, &payload),
        sign(Algorithm::HS256, "another secret that is long enough to be one", &payload),
        sign(Algorithm::HS256, "", &payload),
        format!("{}.", none("none")),
        format!("{}.", none("None")),
        format!("{}.{ours}", none("none")),
        format!("{}.{ours}", none("HS256")),
        mislabelled("none"),
        mislabelled("HS512"),
        mislabelled("hs256"),
    ] {
        assert_not_logged_in(&app, &forged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_says_too_little_or_something_else_is_nobodys() {
    let (app, token) = app_with_ann().await;
    let payload = payload_of(&token);
    for key in ["exp", "iss", "aud", "sub", "uid", "kind", "jti", "iat"] {
        let mut without = payload.clone();
        without.as_object_mut().expect("an object").remove(key).expect("it was there");
        assert_not_logged_in(&app, &sign(Algorithm::HS256, SECRET, &without)).await;
    }
    for (key, value) in [
        ("iss", json!("other")),
        ("iss", json!("")),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("kind", json!("root")),
        ("sub", json!("")),
        ("uid", json!("1")),
    ] {
        assert_not_logged_in(&app, &sign(Algorithm::HS256, SECRET, &with(&payload, key, value))).await;
    }
    assert_not_logged_in(&app, &sign(Algorithm::HS256, SECRET, &json!([payload]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_token_does_not_log_anybody_in() {
    let (app, ann) = app_with_ann().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "ten", 1).await;
    let claim = app.client().claim("shop", "ten", &ann).await;
    assert_not_logged_in(&app, claim.header("Claim-Token")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_be_changed_while_tokens_are_out_and_claims_stay_proven() {
    let (old, new) = (SECRET, "the secret that follows and is long enough too");
    let mut app = TestApp::start().await;
    let ann = app.client().user("ann", "customer").await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "ten", 1).await;
    let proof = app.client().claim("shop", "ten", &ann).await.header("Claim-Token").to_owned();
    let claim = payload_of(&proof);

    app.stop().await;
    app.args.tokens.jwt_secret = format!("{new},{old}");
    app.start_another().await;
    let again = app.client().claim("shop", "ten", &ann).await;
    assert_eq!((again.status, again.result()), (204, "already-claimed"), "the earlier token still counts");
    let newer_proof = again.header("Claim-Token").to_owned();
    assert_eq!(payload_of(&newer_proof), claim, "the same claim");
    let verified = |app: &TestApp, proof: &str| {
        let claims = couponrush::app::signers(&app.args.tokens).expect("the secrets are good").claims;
        claims.verify(proof).is_some()
    };
    assert!(verified(&app, &proof) && verified(&app, &newer_proof));
    let newer = app.client().log_in("ann", crate::helpers::PASSWORD).await.header("Authorization").to_owned();

    app.stop().await;
    app.args.tokens.jwt_secret = new.to_owned();
    app.start_another().await;
    assert_not_logged_in(&app, &ann).await;
    assert_eq!(app.client().list("ann", &newer).await.status, 200, "the first of two secrets had signed");
    assert!(!verified(&app, &proof) && verified(&app, &newer_proof));
}
