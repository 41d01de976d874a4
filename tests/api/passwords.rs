//! Password changes: every row of the wire contract, and the end of earlier tokens.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use couponrush::auth::Caller;
use couponrush::config::Profile;
use couponrush::domain::Password;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, TestApp, eventually};

const PATH: &str = "/api/users/ann/password";
const NEW: &str = "battery staple";

fn error(status: u16, message: &str, code: &str) -> (u16, String, String) {
    (status, message.to_owned(), code.to_owned())
}

async fn change(app: &TestApp, token: &str, old: &str, new: &str) -> Answer {
    app.client().put(PATH, token, &json!({"old": old, "new": new})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_at_once_and_ends_all_earlier_tokens() {
    let app = TestApp::start().await;
    let client = app.client();
    let token = client.user("ann", "customer").await;
    let other = client.log_in("ann", PASSWORD).await.header("Authorization").to_owned();
    let bob = client.user("bob", "customer").await;
    let before = hash_of_ann(&app).await;

    let answer = change(&app, &token, PASSWORD, NEW).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"errMsg":""}"#));
    let after = hash_of_ann(&app).await;
    assert!(after != before && after.starts_with("$argon2id$"), "{after}");
    for ended in [&token, &other] {
        let answer = client.list("ann", ended).await;
        assert_eq!(answer.error(), error(401, "Not Authorized.", "not-logged-in"));
    }
    assert_eq!(client.list("bob", &bob).await.status, 204, "tokens of other users stay valid");
    let refused = client.log_in("ann", PASSWORD).await;
    assert_eq!(refused.error(), error(401, "Wrong user name or password.", "wrong-password"));
    let again = client.log_in("ann", NEW).await;
    assert_eq!(again.status, 200);
    assert_eq!(client.list("ann", again.header("Authorization")).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_changes_from_one_password_the_first_wins_and_none_overwrites_it() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let token = app.client().user("ann", "customer").await;
    let change = async |n: usize| {
        let new = format!("battery staple {n}");
        let answer = app.instances[n % 2].client.put(PATH, &token, &json!({"old": PASSWORD, "new": new})).await;
        (answer.status, new)
    };
    let answers = futures_util::future::join_all((0..8).map(change)).await;
    let (won, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(refused.iter().all(|(status, _)| *status == 401), "{refused:?}");
    assert_eq!(
        app.client().log_in("ann", &won[0].1).await.status,
        200,
        "the password that was answered 200 is in force"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_tokens_stop_on_every_instance_within_a_second_and_stay_so() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let token = app.client().user("ann", "customer").await;
    let other = app.instances[1].client.clone();
    assert_eq!(other.log_in("ann", PASSWORD).await.status, 200, "the other instance knows the old password");
    assert_eq!(other.list("ann", &token).await.status, 204);
    assert_eq!(change(&app, &token, PASSWORD, NEW).await.status, 200);
    let answered = Instant::now();
    assert_eq!(
        other.log_in("ann", PASSWORD).await.status,
        401,
        "the old password is refused at once on every instance"
    );
    let new_token = other.log_in("ann", NEW).await.header("Authorization").to_owned();
    eventually("the token is refused on the other instance", || async {
        other.list("ann", &token).await.status == 401
    })
    .await;
    assert!(answered.elapsed() <= Duration::from_secs(1), "the revocation took {:?}", answered.elapsed());
    assert_eq!(other.list("ann", &new_token).await.status, 204);

    app.stop().await;
    app.start_another().await;
    assert_eq!(app.client().list("ann", &token).await.status, 401);
    assert_eq!(app.client().list("ann", &new_token).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_in_order_and_nothing_changes() {
    let app = TestApp::start().await;
    let client = app.client();
    let token = client.user("ann", "saler").await;
    let bob = client.user("bob", "customer").await;
    let before = hash_of_ann(&app).await;
    let (short, long) = ("Password too short.", "Password too long.");
    let too_long = "p".repeat(257);
    let not_yours = error(401, "Cannot change other users' passwords.", "not-yours");

    assert_eq!(change(&app, "", PASSWORD, NEW).await.error(), error(401, "Not Authorized.", "not-logged-in"));
    assert_eq!(change(&app, &bob, PASSWORD, NEW).await.error(), not_yours);
    assert_eq!(client.send("PUT", PATH, &bob, Some("not json")).await.error(), not_yours);
    let nobody = client.put("/api/users/nobody/password", &token, &json!({})).await;
    assert_eq!(nobody.error(), not_yours);
    for body in ["", "null", "[]", "old=a&new=b", r#"{"old":1,"new":"x"}"#, r#"{"old":"x","new":["x"]}"#] {
        let answer = client.send("PUT", PATH, &token, Some(body)).await;
        assert_eq!(answer.error(), error(400, "Only receive JSON format.", "bad-request"), "{body:?}");
    }
    let bad = |message| error(400, message, "bad-request");
    let wrong = error(401, "Wrong password.", "wrong-password");
    for (old, new, expected) in [
        (PASSWORD, "", bad(short)),
        ("wrong", "", bad(short)),
        (PASSWORD, "12345", bad(short)),
        (PASSWORD, &too_long, bad(long)),
        ("wrong", NEW, wrong.clone()),
        ("", NEW, wrong.clone()),
        (&too_long, NEW, wrong.clone()),
        ("Correct horse", NEW, wrong.clone()),
    ] {
        let answer = change(&app, &token, old, new).await;
        assert_eq!(answer.error(), expected, "{old:?} {new:?}");
    }
    let missing = client.put(PATH, &token, &json!({"old": PASSWORD})).await;
    assert_eq!(missing.error(), bad(short));
    let missing = client.put(PATH, &token, &json!({"new": NEW})).await;
    assert_eq!((missing.error(), missing.header("WWW-Authenticate")), (wrong, "Bearer"));

    assert_eq!(hash_of_ann(&app).await, before);
    assert_eq!(client.list("ann", &token).await.status, 204, "the token is still valid");
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_passwords_have_the_configured_length_and_earlier_ones_go_on_working() {
    let app = TestApp::start_with(|args| args.passwords.password_min = 8).await;
    assert_eq!(register(&app, "ann", "1234567").await, 400);
    assert_eq!(register(&app, "ann", "12345678").await, 201);
    store_hash_of_ann(&app, &Password::parse("123456".to_owned()).expect("a password")).await;
    let login = app.client().log_in("ann", "123456").await;
    assert_eq!(login.status, 200, "an earlier password is short");
    let token = login.header("Authorization");
    assert_eq!(
        change(&app, token, "123456", "1234567").await.error(),
        error(400, "Password too short.", "bad-request")
    );
    assert_eq!(change(&app, token, "123456", "12345678").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn common_passwords_of_new_merchants_are_refused_before_strangers() {
    let mut app = TestApp::start_with(|args| {
        args.admission.profile = Profile::Public;
        args.admission.trusted_proxies = "none".parse().expect("no proxies");
    })
    .await;
    let user = |kind: &str, password: &str| json!({"username": "ann", "password": password, "kind": kind});
    let common = error(400, "This password is on lists of common passwords.", "bad-request");
    for password in ["iloveyou", "iLOVEyou"] {
        let answer = app.client().post("/api/users", "", &user("saler", password)).await;
        assert_eq!((answer.error(), &answer.json()["field"]), (common.clone(), &json!("password")), "{password}");
    }
    let customer = json!({"username": "bob", "password": "iloveyou", "kind": "customer"});
    assert_eq!(app.client().post("/api/users", "", &customer).await.status, 201, "a customer has less to lose");
    let token = app.client().user("ann", "saler").await;
    let answer = change(&app, &token, PASSWORD, "iloveyou").await;
    assert_eq!((answer.error(), &answer.json()["field"]), (common, &json!("new")));

    app.args.admission.profile = Profile::Open;
    let open = app.start_another().await.client.clone();
    let answer = open.put(PATH, &token, &json!({"old": PASSWORD, "new": "iloveyou"})).await;
    assert_eq!(answer.status, 200, "the open profile refuses nothing that earlier releases took");
    assert_eq!(app.client().log_in("ann", "iloveyou").await.status, 200, "existing passwords go on working");
}

/// A letter with an accent may be typed in two ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_the_same_however_its_letters_are_typed() {
    let app = TestApp::start().await;
    let (one, two) = ("caf\u{e9} noir", "cafe\u{301} noir");
    for (name, password) in [("ann", one), ("bob", two)] {
        assert_eq!(register(&app, name, password).await, 201);
        for typed in [one, two] {
            assert_eq!(app.client().log_in(name, typed).await.status, 200, "{name} {typed:?}");
        }
    }
    // Earlier releases stored the text as typed.
    let typed = Password::parse(two.to_owned()).expect("a password").as_typed().expect("not normalized");
    let hash = store_hash_of_ann(&app, &typed).await;
    assert_eq!(app.client().log_in("ann", one).await.status, 401, "the hash is of the other text");
    assert_eq!(app.client().log_in("ann", two).await.status, 200);
    assert_ne!(hash_of_ann(&app).await, hash, "the normalized text is stored now");
    assert_eq!(app.client().log_in("ann", one).await.status, 200);
}

/// Gives ann a password in the stored form of earlier releases.
async fn store_hash_of_ann(app: &TestApp, password: &Password) -> String {
    let passwords = couponrush::app::passwords(NonZeroUsize::MIN).expect("a hash");
    let hash = passwords.hash(password, Caller::PROGRAM).await.expect("a hash");
    app.stores.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'ann'")).await;
    hash
}

async fn register(app: &TestApp, name: &str, password: &str) -> u16 {
    let form = json!({"username": name, "password": password, "kind": "customer"});
    app.client().post("/api/users", "", &form).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_escapes_changes_its_password_too() {
    let app = TestApp::start().await;
    let token = app.client().user("名 {s0}%2f", "customer").await;
    let path = "/api/users/%E5%90%8D%20%7bs0%7D%252f/password/";
    let answer = app.client().put(path, &token, &json!({"OLD": PASSWORD, "New": NEW, "x": 1})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(app.client().log_in("名 {s0}%2f", NEW).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_the_same_time_one_holds_and_one_password_works() {
    let app = TestApp::start().await;
    let token = app.client().user("ann", "customer").await;
    let news: Vec<String> = (0..8).map(|n| format!("password {n}")).collect();
    let changes = futures_util::future::join_all(news.iter().map(|new| change(&app, &token, PASSWORD, new))).await;
    assert!(changes.iter().any(|answer| answer.status == 200));
    let mut working = 0;
    for (new, change) in news.iter().zip(&changes) {
        assert!([200, 401].contains(&change.status), "{change:?}");
        let login = app.client().log_in("ann", new).await;
        if login.status == 200 {
            working += 1;
            assert_eq!(change.status, 200, "{new} works, but its change was refused");
            assert_eq!(app.client().list("ann", login.header("Authorization")).await.status, 204);
        }
    }
    assert_eq!(working, 1);
    assert_eq!(app.client().log_in("ann", PASSWORD).await.status, 401);
    assert_eq!(app.client().list("ann", &token).await.status, 401);
}

async fn hash_of_ann(app: &TestApp) -> String {
    app.stores.texts("SELECT password_hash AS value FROM users WHERE username = 'ann'").await.remove(0)
}
