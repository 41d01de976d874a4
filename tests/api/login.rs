//! Login: every row of its table in the wire contract, and the users who can log in.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use couponrush::domain::{Kind, UserName};
use couponrush::mysql::users;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, TestApp, raw};

const WRONG: &str = r#"{"errMsg":"Wrong user name or password.","code":"wrong-password","kind":""}"#;
const NOT_JSON: &str = r#"{"errMsg":"Parse JSON format fail.","code":"bad-request","kind":""}"#;

async fn log_in(app: &TestApp, body: &str) -> Answer {
    app.client().send("POST", "/api/auth", "", Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answers_the_kind_and_gives_a_token_in_a_header() {
    let app = TestApp::start().await;
    let client = app.client();
    for kind in ["customer", "saler"] {
        client.register(kind, kind).await;
        let answer = client.log_in(kind, PASSWORD).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({"kind": kind, "errMsg": ""}));
        let token = answer.header("Authorization");
        assert_eq!(token.split('.').count(), 3, "a raw JWT: {token}");
        assert_eq!(client.list(kind, token).await.status, 204, "the token is valid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_names_are_in_camel_case_on_the_wire() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    let body = json!({"username": "ann", "password": PASSWORD}).to_string();
    let head = format!("POST /api/auth HTTP/1.1\r\ncontent-length: {}", body.len());
    let answer = raw(app.instances[0].address, &head, body);
    assert_eq!(answer.status(), 200);
    for name in ["Authorization", "Cache-Control", "Content-Type", "Content-Length", "X-Request-Id"] {
        assert!(answer.header(name).is_some(), "{name} in {}", answer.text);
    }
    let refused = raw(app.instances[0].address, "GET /api/users/ann/coupons HTTP/1.1", "");
    assert_eq!((refused.status(), refused.header("Www-Authenticate")), (401, Some("Bearer")), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_a_wrong_password_and_empty_fields_get_one_and_the_same_answer() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    for body in [
        json!({"username": "nobody", "password": PASSWORD}),
        json!({"username": "ann", "password": "wrong"}),
        json!({"username": "ann", "password": "Correct horse"}),
        json!({"username": "ann", "password": format!("{PASSWORD} ")}),
        json!({"username": "ann", "password": "p".repeat(257)}),
        json!({"username": "ANN", "password": PASSWORD}),
        json!({"username": "ann ", "password": PASSWORD}),
        json!({"username": "n".repeat(65), "password": PASSWORD}),
        json!({"username": "a/b", "password": PASSWORD}),
        json!({"username": "' OR 1=1 --", "password": PASSWORD}),
        json!({"username": "", "password": PASSWORD}),
        json!({"username": "ann", "password": ""}),
        json!({"username": "", "password": ""}),
        json!({"username": "ann"}),
        json!({"password": PASSWORD}),
        json!({"username": null, "password": null}),
        json!({}),
    ] {
        let answer = log_in(&app, &body.to_string()).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, WRONG), "{body}");
        assert_eq!((answer.header("Authorization"), answer.header("WWW-Authenticate")), ("", "Bearer"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_not_json_is_told_so() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    for body in ["", "null", "[]", "username=ann", "{", r#"{"username":1}"#, r#"{"password":["x"]}"#] {
        let answer = log_in(&app, body).await;
        assert_eq!((answer.status, answer.text.as_str()), (400, NOT_JSON), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_too_long_is_answered_with_a_kind_as_well() {
    let app = TestApp::start().await;
    let body = format!("{:4096}\r\n", "{}");
    for (length, body) in [
        (format!("Content-Length: {}", body.len()), body.clone()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
    ] {
        for path in ["/api/auth", "/api/auth/"] {
            let answer = raw(app.instances[0].address, &format!("POST {path} HTTP/1.1\r\n{length}"), &body);
            assert_eq!(answer.status(), 413, "{}", answer.text);
            assert!(answer.body().ends_with(r#""code":"body-too-large","kind":""}"#), "{}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_takes_keys_of_any_case_and_json_sent_as_a_form() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    let body = format!(r#"{{"USERNAME":"ann","Password":"{PASSWORD}","remember":true}}"#);
    let request = app.client().request("POST", "/api/auth").body(body);
    let answer = Answer::of(request.header("Content-Type", "application/x-www-form-urlencoded")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_of_one_user_at_once_all_succeed() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    let logins = futures_util::future::join_all((0..200).map(|_| app.client().log_in("ann", PASSWORD))).await;
    let tokens: BTreeSet<&str> = logins.iter().map(|answer| answer.header("Authorization")).collect();
    assert!(logins.iter().all(|answer| answer.status == 200));
    assert_eq!(tokens.len(), 200, "every login has its own token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_password_does_not_let_a_wrong_one_in() {
    let app = TestApp::start().await;
    app.client().register("ann", "customer").await;
    for _ in 0..3 {
        assert_eq!(app.client().log_in("ann", PASSWORD).await.status, 200);
        assert_eq!(app.client().log_in("ann", "wrong").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_user_logs_in_and_the_hash_is_replaced() {
    let app = TestApp::start().await;
    let passwords = couponrush::app::passwords(NonZeroUsize::MIN).expect("hashes can be computed");
    // The MD5 of PASSWORD.
    let wrapped = passwords.wrap_md5("3cb4e732631f47e6eb961f34554b7cde").await.expect("an MD5 can be hashed");
    insert(&app, "imported", &wrapped).await;
    assert_eq!(app.client().log_in("imported", "wrong").await.status, 401);
    assert_eq!(app.client().log_in("imported", "3cb4e732631f47e6eb961f34554b7cde").await.status, 401);
    assert_eq!(hash_of(&app, "imported").await, wrapped, "a refused login changes nothing");

    assert_eq!(app.client().log_in("imported", PASSWORD).await.status, 200);
    let replaced = hash_of(&app, "imported").await;
    assert!(replaced.starts_with("$argon2id$"), "{replaced}");
    assert_eq!(app.client().log_in("imported", PASSWORD).await.status, 200);
    assert_eq!(app.client().log_in("imported", "3cb4e732631f47e6eb961f34554b7cde").await.status, 401);
    assert_eq!(hash_of(&app, "imported").await, replaced, "the hash is replaced only once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_hash_cannot_log_in_with_anything() {
    let app = TestApp::start().await;
    insert(&app, "unhashed", "").await;
    for password in [PASSWORD, "x", ""] {
        let answer = app.client().log_in("unhashed", password).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, WRONG), "{password:?}");
    }
}

async fn insert(app: &TestApp, name: &str, hash: &str) {
    let name = UserName::parse(name.to_owned()).expect("a name");
    users::insert(&app.stores.db, &name, Kind::Customer, hash, false).await.expect("the user is new");
}

async fn hash_of(app: &TestApp, name: &str) -> String {
    let sql = format!("SELECT password_hash AS value FROM users WHERE username = '{name}'");
    app.stores.texts(&sql).await.remove(0)
}
