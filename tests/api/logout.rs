//! Logout: the token is refused on every instance, for ever.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually};

/// How soon every instance must refuse the token.
const EVERYWHERE: Duration = Duration::from_secs(1);

async fn log_out(client: &Client, token: &str) -> Answer {
    client.send("POST", "/api/auth/logout", token, None).await
}

/// Whether `token` is refused with `not-logged-in`.
async fn is_refused(client: &Client, token: &str) -> bool {
    let answer = client.list("ann", token).await;
    assert!([401, 204].contains(&answer.status), "{answer:?}");
    answer.status == 401 && answer.error() == (401, "Not Authorized.".to_owned(), "not-logged-in".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_is_answered_alike_with_any_token_and_without() {
    let app = TestApp::start().await;
    let token = app.client().user("ann", "customer").await;
    let tokens = ["", "x", "Bearer ", "Bearer x.y.z", &token, &token, &format!("Bearer {token}")];
    for token in tokens {
        let answer = log_out(app.client(), token).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"errMsg": "log out."})), "{token:?}");
    }
    let with_a_body = app.client().send("POST", "/api/auth/logout", "", Some("not json")).await;
    assert_eq!((with_a_body.status, with_a_body.json()), (200, json!({"errMsg": "log out."})));
    assert_eq!(
        app.stores.number("SELECT COUNT(*) FROM revoked_tokens").await,
        1,
        "only the valid token is revoked, once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_stops_at_once_and_the_users_others_go_on() {
    let app = TestApp::start().await;
    let client = app.client();
    let first = client.user("ann", "customer").await;
    let second = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    let bob = client.user("bob", "customer").await;
    assert!(!is_refused(client, &first).await);
    log_out(client, &format!("Bearer {first}")).await;
    assert!(is_refused(client, &first).await);
    assert!(is_refused(client, &format!("Bearer {first}")).await);
    assert_eq!(client.claim("shop", "none", &first).await.status, 401, "claims refuse the token too");
    assert!(!is_refused(client, &second).await);
    assert_eq!(client.list("bob", &bob).await.status, 204);
    let third = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    assert!(!is_refused(client, &third).await, "logging in again works");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_stops_on_every_instance_within_a_second() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let token = app.client().user("ann", "customer").await;
    let other = &app.instances[1].client;
    assert!(!is_refused(other, &token).await, "the token is valid before the logout");
    log_out(app.client(), &token).await;
    let answered = Instant::now();
    eventually("the token stops on the other instance", || is_refused(other, &token)).await;
    assert!(answered.elapsed() <= EVERYWHERE, "the revocation took {:?}", answered.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_still_revoked_after_a_restart_and_without_what_redis_knew() {
    let mut app = TestApp::start().await;
    let token = app.client().user("ann", "customer").await;
    let other = app.client().log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    log_out(app.client(), &token).await;
    app.stop().await;
    let keys: Vec<String> = app.stores.redis(redis::cmd("KEYS").arg(format!("{}*", app.stores.prefix))).await;
    let _: () = app.stores.redis(redis::cmd("DEL").arg(keys)).await;
    app.start_another().await;
    assert!(is_refused(app.client(), &token).await);
    assert!(!is_refused(app.client(), &other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logouts_of_one_user_end_the_tokens_that_were_logged_out() {
    let app = TestApp::start().await;
    let client = app.client();
    client.register("ann", "customer").await;
    for _ in 0..40 {
        let token = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
        assert_eq!(log_out(client, &token).await.status, 200);
        assert!(is_refused(client, &token).await);
    }
    let rows = app.stores.number("SELECT COUNT(*) FROM revoked_tokens").await;
    assert!(rows <= 33, "single revocations of a user are bounded, but there are {rows} rows");
    let token = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    assert!(!is_refused(client, &token).await);
}
