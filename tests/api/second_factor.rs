//! The second factor of admins and staff: enrolment, login with a code, recovery codes, and changes that need a code again.

use couponrush::auth::{FactorKeys, SealedSecret, Secrets};
use couponrush::domain::UserId;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::helpers::{Answer, Client, PASSWORD, SECRET, TestApp, eventually, now_seconds, run_command};

const PATH: &str = "/api/users/root/otp";
const LIMITS: &str = "/admin/limits";
const SWITCHES: &str = "/admin/switches";

/// An admin with a second factor.
struct Root {
    /// Of the session since the enrolment.
    token: String,
    phone: Totp,
    recovery_codes: Vec<String>,
}

/// An app on a telephone, with the secret that people type into it.
fn phone(answer: &Answer) -> Totp {
    let text = answer.json()["secret"].as_str().expect("a secret").to_owned();
    let secret = Secret::try_from_base32(text).expect("base32");
    Builder::new().with_secret(secret).build().expect("20 bytes")
}

fn code(phone: &Totp) -> String {
    phone.generate(now_seconds()).to_string()
}

/// A code that is right at no time around now.
fn wrong_code(phone: &Totp) -> String {
    let near: Vec<String> = (0..9).map(|n| phone.generate(now_seconds() - 120 + 30 * n).to_string()).collect();
    (0..10).map(|n| format!("12345{n}")).find(|code| !near.contains(code)).expect("ten codes, nine are right at times")
}

/// Lets half an hour go by, as MySQL's row sees it. So the codes of this time count again, as those of later times would.
async fn time_goes_by(app: &TestApp) {
    app.stores
        .execute("UPDATE second_factors SET last_step = 0, tries_since = GREATEST(tries_since, 1800) - 1800")
        .await;
}

async fn log_in(client: &Client, code: &str) -> Answer {
    client.post("/api/auth", "", &json!({"username": "root", "password": PASSWORD, "otp": code})).await
}

/// Creates the admin `root` without a second factor. Returns the token of a session.
async fn admin(app: &TestApp) -> String {
    assert_eq!(app.client().register("root", "saler").await.status, 201);
    app.stores.execute("UPDATE users SET kind = 'admin' WHERE username = 'root'").await;
    app.client().log_in("root", PASSWORD).await.header("Authorization").to_owned()
}

/// Confirms the secret of `begun`. The code's step has counted afterwards.
async fn confirm(app: &TestApp, token: &str, begun: &Answer) -> Root {
    assert_eq!(begun.status, 200, "{begun:?}");
    let phone = phone(begun);
    let done = app.client().put(PATH, token, &json!({"password": PASSWORD, "otp": code(&phone)})).await;
    assert_eq!(done.status, 200, "{done:?}");
    let codes = done.json()["recovery_codes"].as_array().expect("codes").clone();
    let recovery_codes = codes.iter().map(|code| code.as_str().expect("a text").to_owned()).collect();
    Root { token: done.header("Authorization").to_owned(), phone, recovery_codes }
}

async fn enrol(app: &TestApp) -> Root {
    let token = admin(app).await;
    let begun = app.client().put(PATH, &token, &json!({"password": PASSWORD})).await;
    let root = confirm(app, &token, &begun).await;
    time_goes_by(app).await;
    root
}

/// How long the session of a token lasts, in seconds.
fn lifetime(app: &TestApp, token: &str) -> u64 {
    let session = app.instances[0].shared.accounts.tokens.verify(token, now_seconds()).expect("a session");
    session.expires_at.saturating_sub(now_seconds())
}

fn coded(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_in_force_before_the_confirmation_and_then_a_login_needs_a_code() {
    let app = TestApp::start_with(|args| args.tokens.token_seconds = 86_400).await;
    let token = admin(&app).await;
    assert!(lifetime(&app, &token) > 80_000);
    let begun = app.client().put(PATH, &token, &json!({"password": PASSWORD})).await;
    let secret = begun.json()["secret"].as_str().expect("a secret").to_owned();
    let uri =
        format!("otpauth://totp/couponrush:root?secret={secret}&issuer=couponrush&algorithm=SHA1&digits=6&period=30");
    assert_eq!((begun.json()["uri"].as_str(), begun.header("Authorization")), (Some(uri.as_str()), ""));
    assert_eq!(app.client().log_in("root", PASSWORD).await.status, 200, "not in force");

    let wrong = json!({"password": PASSWORD, "otp": wrong_code(&phone(&begun))});
    let wrong = app.client().put(PATH, &token, &wrong).await;
    assert_eq!((coded(&wrong), wrong.json()["field"].as_str()), (refused("wrong-password"), Some("otp")));
    assert_eq!(app.client().log_in("root", PASSWORD).await.status, 200, "not in force");

    let root = confirm(&app, &token, &begun).await;
    assert_eq!(root.recovery_codes.len(), 10);
    let ended = app.client().get(LIMITS, &token).await;
    assert_eq!(coded(&ended), refused("not-logged-in"), "sessions without a code have ended");
    assert_eq!(app.client().get(LIMITS, &root.token).await.status, 200);
    assert!((3_590..=3_600).contains(&lifetime(&app, &root.token)));

    time_goes_by(&app).await;
    let missing = app.client().log_in("root", PASSWORD).await;
    assert_eq!(coded(&missing), refused("otp-required"));
    assert_eq!((missing.json()["kind"].as_str(), missing.header("WWW-Authenticate")), (Some(""), "Bearer"));
    assert_eq!(coded(&log_in(app.client(), "").await), refused("otp-required"));
    let guess = app.client().post("/api/auth", "", &json!({"username": "root", "password": "x", "otp": "1"})).await;
    assert_eq!(guess.text, log_in(app.client(), &wrong_code(&root.phone)).await.text, "one answer to all guesses");
    let answer = log_in(app.client(), &code(&root.phone)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!((3_590..=3_600).contains(&lifetime(&app, answer.header("Authorization"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_on_all_instances_together_and_also_as_the_code_of_the_enrolment() {
    let mut app = TestApp::start_with(|args| args.admission.failed_logins_per_minute = 0).await;
    app.start_another().await;
    let token = admin(&app).await;
    let begun = app.client().put(PATH, &token, &json!({"password": PASSWORD})).await;
    let phone = phone(&begun);
    let used = code(&phone);
    let done = app.client().put(PATH, &token, &json!({"password": PASSWORD, "otp": used})).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(log_in(app.client(), &used).await.status, 401, "it has confirmed the enrolment");

    time_goes_by(&app).await;
    let next = code(&phone);
    let all = (0..8).map(|n| log_in(&app.instances[n % 2].client, &next));
    let answers = futures_util::future::join_all(all).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401].contains(status)), "{statuses:?}");
    assert_eq!(log_in(app.client(), &next).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recovery_code_counts_once_and_a_new_factor_brings_new_ones() {
    let app = TestApp::start().await;
    let root = enrol(&app).await;
    let first = &root.recovery_codes[0];
    let typed = first.replace('-', " ").to_uppercase();
    assert_eq!(log_in(app.client(), &typed).await.status, 200, "without the telephone");
    assert_eq!(log_in(app.client(), first).await.status, 401, "once");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM recovery_codes").await, 9);
    let hashes = app.stores.texts("SELECT LOWER(HEX(code_hash)) AS value FROM recovery_codes").await;
    assert!(hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");

    let again = json!({"password": PASSWORD});
    let missing = app.client().put(PATH, &root.token, &again).await;
    assert_eq!((coded(&missing), missing.json()["field"].as_str()), (refused("otp-required"), Some("old_otp")));
    let wrong = json!({"password": PASSWORD, "old_otp": first});
    let wrong = app.client().put(PATH, &root.token, &wrong).await;
    assert_eq!((coded(&wrong), wrong.json()["field"].as_str()), (refused("wrong-password"), Some("old_otp")));
    let right = json!({"password": PASSWORD, "old_otp": root.recovery_codes[1]});
    let begun = app.client().put(PATH, &root.token, &right).await;
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 200, "the old telephone counts until then");
    let new = confirm(&app, &root.token, &begun).await;
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 401);
    assert_eq!(log_in(app.client(), &root.recovery_codes[2]).await.status, 401);
    assert_eq!(log_in(app.client(), &new.recovery_codes[9]).await.status, 200);
    assert_eq!(log_in(app.client(), &code(&new.phone)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_waits_ten_minutes_for_its_confirmation() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let begun = app.client().put(PATH, &token, &json!({"password": PASSWORD})).await;
    app.stores.execute("UPDATE second_factors SET pending_at = pending_at - 600").await;
    let body = json!({"password": PASSWORD, "otp": code(&phone(&begun))});
    let late = app.client().put(PATH, &token, &body).await;
    assert_eq!((coded(&late), late.json()["field"].as_str()), ((400, "bad-request".to_owned()), Some("otp")));
    assert_eq!(app.client().log_in("root", PASSWORD).await.status, 200, "not in force");
    for body in [json!({}), json!({"password": "x"}), json!({"password": "x", "otp": "123456"})] {
        let wrong = app.client().put(PATH, &token, &body).await;
        assert_eq!((coded(&wrong), wrong.json()["field"].as_str()), (refused("wrong-password"), Some("password")));
    }
    let saler = app.client().user("shop", "saler").await;
    assert_eq!(coded(&app.client().put(PATH, &saler, &json!({})).await), refused("not-yours"));
    assert_eq!(coded(&app.client().put("/api/users/shop/otp", &saler, &json!({})).await), refused("wrong-kind"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_count_as_failed_logins_wherever_they_are_sent() {
    let app = TestApp::start_with(|args| args.admission.failed_logins_per_minute = 3).await;
    let root = enrol(&app).await;
    let wrong = wrong_code(&root.phone);
    let change = json!({"claim": false, "password": PASSWORD, "otp": wrong});
    assert_eq!(log_in(app.client(), &wrong).await.status, 401);
    assert_eq!(coded(&app.client().put(SWITCHES, &root.token, &change).await), refused("wrong-password"));
    let body = json!({"password": PASSWORD, "old_otp": wrong});
    assert_eq!(app.client().put(PATH, &root.token, &body).await.status, 401);
    for answer in [
        log_in(app.client(), &code(&root.phone)).await,
        app.client().put(SWITCHES, &root.token, &change).await,
        app.client().put(PATH, &root.token, &body).await,
    ] {
        assert_eq!(coded(&answer), (429, "rate-limited".to_owned()));
    }
    assert_eq!(app.client().get(SWITCHES, &root.token).await.status, 200, "the session itself goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_anywhere_at_the_code_of_a_user_end_after_thirty_in_an_hour() {
    let mut app = TestApp::start_with(|args| args.admission.failed_logins_per_minute = 0).await;
    app.start_another().await;
    let root = enrol(&app).await;
    let wrong = wrong_code(&root.phone);
    let guesses = (0..40).map(|n| log_in(&app.instances[n % 2].client, &wrong));
    let answers = futures_util::future::join_all(guesses).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(401), count(429)), (30, 10));
    let refused = log_in(app.client(), &code(&root.phone)).await;
    let wait: u64 = refused.header("Retry-After").parse().expect("seconds");
    assert_eq!((refused.status, (1..=3_600).contains(&wait)), (429, true), "{wait}");
    assert_eq!(log_in(app.client(), &root.recovery_codes[0]).await.status, 200, "who has a recovery code gets in");
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 429, "after half an hour");
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 200, "after an hour");
    assert_eq!(
        app.stores.number("SELECT CAST(tries AS SIGNED) FROM second_factors").await,
        0,
        "a right code gives the tries back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dangerous_changes_need_password_and_code_in_the_same_request() {
    let app = TestApp::start_with(|args| args.admission.failed_logins_per_minute = 0).await;
    let bob = app.client().register("bob", "customer").await;
    assert_eq!(bob.status, 201);
    let root = enrol(&app).await;
    let client = app.client();
    let change = async |method: &str, path: &str, change: &Value, proof: &Value| {
        let mut body = change.clone();
        body.as_object_mut().expect("an object").extend(proof.as_object().expect("an object").clone());
        client.send(method, path, &root.token, Some(&body.to_string())).await
    };
    let blocks = ["/admin/blacklist/users/bob", "/admin/blacklist/ips/192.0.2.1"];
    let changes = [
        ("PUT", LIMITS, json!({"user_per_minute": 7})),
        ("PUT", SWITCHES, json!({"claim": false})),
        ("PUT", blocks[0], json!({"seconds": 60})),
        ("PUT", blocks[1], json!({})),
        ("DELETE", blocks[0], json!({})),
        ("DELETE", blocks[1], json!({})),
    ];
    let state = async || {
        let settings = app.stores.texts("SELECT value FROM settings").await;
        let blocks = "SELECT COUNT(*) FROM blocks WHERE ends_at IS NULL OR ends_at > UNIX_TIMESTAMP()";
        (settings, app.stores.number(blocks).await)
    };
    for (method, path, body) in &changes {
        let before = state().await;
        let required = refused("reauthentication-required");
        for proof in [json!({}), json!({"password": PASSWORD}), json!({"otp": code(&root.phone)})] {
            assert_eq!(coded(&change(method, path, body, &proof).await), required, "{method} {path} {proof}");
        }
        let wrong = json!({"password": "correct house", "otp": code(&root.phone)});
        let answer = change(method, path, body, &wrong).await;
        assert_eq!(coded(&answer), refused("wrong-password"), "{method} {path}");
        assert_eq!(state().await, before, "nothing was changed: {method} {path}");
        let right = json!({"password": PASSWORD, "otp": code(&root.phone)});
        let answer = change(method, path, body, &right).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        assert_ne!(state().await, before, "{method} {path}");
        assert_eq!(coded(&change(method, path, body, &right).await), refused("wrong-password"), "the code is used");
        time_goes_by(&app).await;
    }
    // Turning a part off that is no `claim`, and turning `claim` on.
    let free = change("PUT", SWITCHES, &json!({"docs": false, "claim": true}), &json!({})).await;
    assert_eq!(free.status, 200, "{free:?}");
    let secrets = app.stores.number("SELECT COUNT(*) FROM settings WHERE value LIKE '%correct%'").await;
    assert_eq!(secrets, 0, "the proof is not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_encrypted_and_follows_a_change_of_the_operators_secret() {
    let mut app = TestApp::start().await;
    let root = enrol(&app).await;
    let id = UserId(app.stores.number("SELECT id FROM users WHERE username = 'root'").await.try_into().expect("an id"));
    let keys = |secrets: &str| FactorKeys::new(&Secrets::parse("TEST", secrets).expect("long enough"));
    let sealed = sealed(&app).await;
    assert_eq!(keys(SECRET).open(id, &sealed).map(|secret| secret.text()), Some(root.phone.secret().to_base32()));
    let plain = root.phone.secret().as_bytes();
    assert!(!sealed.0.windows(4).any(|bytes| bytes == &plain[..4]));

    let new = "fedcba9876543210fedcba9876543210";
    app.stop().await;
    app.args.tokens.jwt_secret = format!("{new},{SECRET}");
    app.start_another().await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 200);
    app.stop().await;
    app.args.tokens.jwt_secret = new.to_owned();
    app.start_another().await;
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 200, "it was encrypted again");

    // With another secret alone, nobody gets in by the password, and recovery codes still count.
    app.stop().await;
    app.args.tokens.jwt_secret = SECRET.chars().rev().collect();
    app.start_another().await;
    time_goes_by(&app).await;
    assert_eq!(log_in(app.client(), &code(&root.phone)).await.status, 503);
    assert_eq!(coded(&app.client().log_in("root", PASSWORD).await), refused("otp-required"));
    assert_eq!(log_in(app.client(), &root.recovery_codes[3]).await.status, 200);
}

/// The stored secret of the only user who has one.
async fn sealed(app: &TestApp) -> SealedSecret {
    let hex = app.stores.texts("SELECT HEX(secret) AS value FROM second_factors").await.remove(0);
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
    SealedSecret(bytes.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_the_factor_of_an_admin_who_has_lost_the_telephone() {
    let app = TestApp::start().await;
    let root = enrol(&app).await;
    let (ended, printed) = run_command(&app.stores, "admin", &["end-factor", "root"]).await;
    assert!(ended && printed.contains("root has no second factor any more"), "{printed}");
    eventually("earlier sessions have ended", || async { app.client().get(LIMITS, &root.token).await.status == 401 })
        .await;
    let answer = app.client().log_in("root", PASSWORD).await;
    assert_eq!(answer.status, 200, "the password is enough");
    let token = answer.header("Authorization");
    assert_eq!(app.client().put(SWITCHES, token, &json!({"claim": false})).await.status, 200);
    let rows = "SELECT (SELECT COUNT(*) FROM second_factors) + (SELECT COUNT(*) FROM recovery_codes)";
    assert_eq!(app.stores.number(rows).await, 0);
    for (name, sentence) in [("root", "the user has no second factor"), ("nobody", "no user of this name exists")] {
        let (ended, printed) = run_command(&app.stores, "admin", &["end-factor", name]).await;
        assert!(!ended && printed.contains(sentence), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_enrol_and_their_sessions_still_act_for_the_saler_until_they_are_deleted() {
    const TILL: &str = "/api/users/till/otp";
    let password = "correct horse battery";
    let app = TestApp::start().await;
    let client = app.client();
    let shop = client.user("shop", "saler").await;
    let till = app.staff(("shop", &shop), "till", &["view"]).await;
    let log_in = async |otp: &str| {
        client.post("/api/auth", "", &json!({"username": "till", "password": password, "otp": otp})).await
    };
    let begun = client.put(TILL, &till, &json!({"password": password})).await;
    let phone = phone(&begun);
    let done = client.put(TILL, &till, &json!({"password": password, "otp": code(&phone)})).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(client.get("/activity/list", done.header("Authorization")).await.status, 200, "the new session");
    time_goes_by(&app).await;
    assert_eq!(log_in("").await.error().2, "otp-required");
    let again = log_in(&code(&phone)).await;
    assert_eq!((again.status, &again.json()["saler"]), (200, &json!("shop")));
    assert_eq!(client.get("/activity/list", again.header("Authorization")).await.status, 200);

    assert_eq!(client.send("DELETE", "/api/users/shop/staff/till", &shop, None).await.status, 200);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM second_factors").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM recovery_codes").await, 0);
    let new = app.staff(("shop", &shop), "till", &["view"]).await;
    assert_eq!(client.get("/activity/list", &new).await.status, 200, "new staff of the name need no code");
}
