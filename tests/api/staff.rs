//! Staff and keys: what they may do for their merchant, and how soon they end. `matrix.rs` asks every route.

use std::time::{Duration, Instant};

use couponrush::auth::{KeySecret, MerchantKey};
use couponrush::domain::{KeyId, Kind};
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually, now_seconds};
use crate::limits::set;

pub const STAFF_PASSWORD: &str = "correct horse battery";
/// How soon every instance must refuse ended staff and keys.
const EVERYWHERE: Duration = Duration::from_secs(1);

impl TestApp {
    /// Adds staff of a saler, and returns the token of a login.
    pub async fn staff(&self, (saler, token): (&str, &str), name: &str, rights: &[&str]) -> String {
        let answer = add_staff(self.client(), (saler, token), name, rights).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let answer = self.client().log_in(name, STAFF_PASSWORD).await;
        assert_eq!((answer.status, &answer.json()["kind"]), (200, &json!("staff")), "{answer:?}");
        assert_eq!(answer.json()["rights"], json!(rights));
        answer.header("Authorization").to_owned()
    }

    /// Adds a key of a saler. Returns the id and the key.
    pub async fn key(&self, (saler, token): (&str, &str), rights: &[&str]) -> (u64, String) {
        let answer = add_key(self.client(), (saler, token), &json!({"name": "till", "rights": rights})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = answer.json();
        (made["id"].as_u64().expect("an id"), made["key"].as_str().expect("a key").to_owned())
    }
}

async fn add_staff(client: &Client, (saler, token): (&str, &str), name: &str, rights: &[&str]) -> Answer {
    let body = json!({"username": name, "password": STAFF_PASSWORD, "rights": rights});
    client.post(&format!("/api/users/{saler}/staff"), token, &body).await
}

async fn add_key(client: &Client, (saler, token): (&str, &str), body: &Value) -> Answer {
    client.post(&format!("/api/users/{saler}/keys"), token, body).await
}

async fn delete(client: &Client, path: &str, token: &str) -> (u16, String) {
    let answer = client.send("DELETE", path, token, None).await;
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// A shop with the coupon `ten`, and the proof of a stored claim.
async fn shop_and_claim(app: &TestApp) -> (String, Value) {
    let shop = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    let ann = app.user("ann", Kind::Customer).await;
    let claimed = app.client().claim("shop", "ten", &ann).await;
    app.settle().await;
    (shop, json!({"token": claimed.header("Claim-Token")}))
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_keys_redeem_for_their_saler_and_are_on_the_trail_by_their_own_names() {
    let app = TestApp::start().await;
    let (shop, claim) = shop_and_claim(&app).await;
    let (cafe, root) = (app.user("cafe", Kind::Saler).await, app.user("root", Kind::Admin).await);
    let till = app.staff(("shop", &shop), "till", &["redeem"]).await;
    let (id, key) = app.key(("shop", &shop), &["redeem"]).await;
    let (_, stranger) = app.key(("cafe", &cafe), &["redeem", "view", "manage"]).await;
    let redeem = |token: String| {
        let (client, claim) = (app.client().clone(), claim.clone());
        async move { client.post("/sec/redeem", &token, &claim).await }
    };
    assert_eq!(redeem(format!("Bearer {stranger}")).await.status, 403, "the coupon is another saler's");
    assert_eq!(redeem(till).await.json()["data"]["first"], true);
    assert_eq!(redeem(format!("bearer  {key} ")).await.json()["data"]["first"], false);
    let log_in = app.client().log_in("till", STAFF_PASSWORD).await;
    assert_eq!(log_in.json(), json!({"kind": "staff", "saler": "shop", "rights": ["redeem"], "errMsg": ""}));

    let trail = async |event: &str| {
        let answer = app.client().get(&format!("/admin/audit?event={event}"), &root).await;
        if answer.status == 204 { Vec::new() } else { answer.json()["data"].as_array().expect("a list").clone() }
    };
    eventually("the trail has all", || async { trail("redeem").await.len() >= 3 }).await;
    for (event, object) in [("addStaff", "/api/users/shop/staff/till"), ("addKey", "/api/users/shop/keys/1")] {
        let entries = trail(event).await;
        assert!(entries.iter().any(|entry| entry["user"] == "shop" && entry["object"] == object), "{entries:?}");
    }
    let mut found: Vec<_> = trail("redeem").await.iter().map(|entry| json!([entry["user"], entry["kind"]])).collect();
    found.sort_by_key(Value::to_string);
    let stranger = format!("key:{}", id + 1);
    let expected = [json!([format!("key:{id}"), "key"]), json!([stranger, "key"]), json!(["till", "staff"])];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_staff_and_keys_end_within_a_second_on_every_instance() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.client().user("shop", "saler").await;
    let other = app.instances[1].client.clone();
    let till = app.staff(("shop", &shop), "till", &["view"]).await;
    let (id, key) = app.key(("shop", &shop), &["view"]).await;
    let status = async |token: &str| other.get("/activity/list", token).await.status;
    eventually("the other instance knows the key", || async { status(&key).await == 200 }).await;
    assert_eq!(status(&till).await, 200);
    for (path, token) in [("/api/users/shop/staff/till", &till), (&format!("/api/users/shop/keys/{id}"), &key)] {
        assert_eq!(delete(app.client(), path, &shop).await.0, 200);
        let answered = Instant::now();
        assert_eq!(app.client().get("/activity/list", token).await.status, 401, "at once here");
        eventually("the other instance has learnt of the end", || async { status(token).await == 401 }).await;
        assert!(answered.elapsed() <= EVERYWHERE, "{path} took {:?}", answered.elapsed());
        assert_eq!(delete(app.client(), path, &shop).await, (404, "not-found".to_owned()));
    }
    assert_eq!(app.client().log_in("till", STAFF_PASSWORD).await.status, 401);
    app.stop().await;
    app.start_another().await;
    for token in [&till, &key] {
        assert_eq!(app.client().get("/activity/list", token).await.status, 401, "after a restart, too");
    }
    let cafe = app.user("cafe", Kind::Saler).await;
    assert_eq!(add_staff(app.client(), ("cafe", &cafe), "till", &["view"]).await.error().2, "name-taken");
    let again = app.staff(("shop", &shop), "till", &["redeem"]).await;
    assert_eq!(app.client().get("/activity/list", &again).await.status, 403, "with the new rights");
    assert_eq!(app.client().get("/activity/list", &till).await.status, 401, "the old token stays ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saler_has_at_most_50_staff_and_20_keys_and_sees_them() {
    let app = TestApp::start().await;
    let shop = app.client().user("shop", "saler").await;
    assert_eq!(app.client().get("/api/users/shop/staff", &shop).await.status, 204);
    assert_eq!(app.client().get("/api/users/shop/keys", &shop).await.status, 204);
    app.staff(("shop", &shop), "till", &["redeem", "view"]).await;
    let till = json!({"username": "till", "rights": ["redeem", "view"]});
    assert_eq!(app.client().get("/api/users/shop/staff", &shop).await.json()["data"], json!([till]));
    for number in 1..49 {
        let add = format!(
            "INSERT INTO users (username, kind, password_hash, acts_for, rights) \
             SELECT 'till {number}', 'staff', '', id, 1 FROM users WHERE username = 'shop'"
        );
        app.stores.execute(&add).await;
    }
    assert_eq!(add_staff(app.client(), ("shop", &shop), "last", &["view"]).await.status, 201);
    assert_eq!(add_staff(app.client(), ("shop", &shop), "more", &["view"]).await.error().2, "quota");
    assert_eq!(delete(app.client(), "/api/users/shop/staff/till", &shop).await.0, 200);
    assert_eq!(add_staff(app.client(), ("shop", &shop), "more", &["view"]).await.status, 201, "an end frees the place");

    for _ in 0..20 {
        app.key(("shop", &shop), &["redeem"]).await;
    }
    let more = json!({"name": "till", "rights": ["redeem"]});
    assert_eq!(add_key(app.client(), ("shop", &shop), &more).await.error().2, "quota");
    assert_eq!(delete(app.client(), "/api/users/shop/keys/1", &shop).await.0, 200);
    app.key(("shop", &shop), &["redeem"]).await;
    let cafe = app.user("cafe", Kind::Saler).await;
    app.key(("cafe", &cafe), &["redeem"]).await;
    assert_eq!(delete(app.client(), "/api/users/cafe/keys/2", &cafe).await.0, 404, "another saler's");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_keys_with_bad_fields_are_refused_by_name() {
    let app = TestApp::start().await;
    let shop = app.client().user("shop", "saler").await;
    let good = json!({"username": "till", "password": STAFF_PASSWORD, "rights": ["redeem"]});
    for (field, bad) in [
        ("username", json!("")),
        ("username", json!("a/b")),
        ("username", json!("shop")),
        ("password", json!("only eleven")),
        ("password", json!("123456789012")),
        ("password", json!("x".repeat(257))),
        ("rights", json!([])),
        ("rights", json!(["redeem", "Manage"])),
    ] {
        let mut body = good.clone();
        body[field] = bad;
        let answer = app.client().post("/api/users/shop/staff", &shop, &body).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{body}");
    }
    let good = json!({"name": "till", "rights": ["redeem"]});
    for (field, bad) in
        [("name", json!("")), ("rights", json!([])), ("rights", json!([""])), ("expires_at", json!(now_seconds()))]
    {
        let mut body = good.clone();
        body[field] = bad;
        let answer = add_key(app.client(), ("shop", &shop), &body).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &json!(field)), "{body}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users WHERE kind = 'staff'").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM merchant_keys").await, 0);
    assert_eq!(app.client().register("till", "staff").await.status, 400, "nobody registers as staff");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_stored_hashed_expires_and_shows_its_last_use() {
    let app = TestApp::start().await;
    let shop = app.client().user("shop", "saler").await;
    let (id, key) = app.key(("shop", &shop), &["view"]).await;
    let stored = "SELECT CONCAT_WS(' ', id, name, HEX(secret_hash)) AS value FROM merchant_keys";
    let stored = app.stores.texts(stored).await.join("");
    assert!(!stored.contains(&key[17..]) && !stored.to_lowercase().contains(&key[17..]), "{stored}");
    let list = || async { app.client().get("/api/users/shop/keys", &shop).await.json()["data"][0].clone() };
    let shown = list().await;
    assert_eq!((&shown["id"], &shown["last_used_at"], &shown["rights"]), (&json!(id), &Value::Null, &json!(["view"])));
    assert!(!shown.to_string().contains("crk_"));
    let began = now_seconds();
    assert_eq!(app.client().get("/activity/list", &key).await.status, 200);
    eventually("the last use is listed", || async {
        list().await["last_used_at"].as_u64().is_some_and(|at| (began..=now_seconds()).contains(&at))
    })
    .await;

    let body = json!({"name": "for a moment", "rights": ["view"], "expires_at": now_seconds() + 2});
    let short = add_key(app.client(), ("shop", &shop), &body).await.json()["key"].as_str().expect("a key").to_owned();
    assert_eq!(app.client().list("shop", &short).await.status, 204);
    eventually("the key expires", || async { app.client().list("shop", &short).await.status == 401 }).await;
    assert_eq!(app.client().list("shop", &short).await.error().2, "token-expired");
    let id = KeyId(u32::try_from(id).expect("a small id"));
    let guess = MerchantKey { id, secret: KeySecret::random() }.to_string();
    for wrong in [&guess, &key[..48], "crk_"] {
        assert_eq!(app.client().list("shop", wrong).await.error().2, "not-logged-in");
    }
    for (path, body) in [("/api/auth/logout", json!({})), ("/api/users/shop/keys", body)] {
        app.client().post(path, &key, &body).await;
    }
    assert_eq!(app.client().list("shop", &key).await.status, 204, "a logout does not end a key");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM merchant_keys").await, 2, "a key makes no key");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_change_their_own_password_and_no_other() {
    let app = TestApp::start().await;
    let shop = app.client().user("shop", "saler").await;
    let till = app.staff(("shop", &shop), "till", &["redeem", "view", "manage"]).await;
    let change = |old, new| json!({"old": old, "new": new});
    let saler = app.client().put("/api/users/shop/password", &till, &change(PASSWORD, "another long one")).await;
    assert_eq!(saler.error().2, "not-yours");
    let own = "/api/users/till/password";
    assert_eq!(app.client().put(own, &till, &change(STAFF_PASSWORD, "123456789012")).await.status, 400, "common");
    assert_eq!(app.client().put(own, &till, &change(STAFF_PASSWORD, "too short")).await.status, 400);
    assert_eq!(app.client().put(own, &till, &change(STAFF_PASSWORD, "another long one")).await.status, 200);
    assert_eq!(app.client().list("shop", &till).await.status, 401);
    let answer = app.client().log_in("till", "another long one").await;
    assert_eq!(app.client().list("shop", answer.header("Authorization")).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_keys_of_a_blocked_saler_are_blocked_and_each_has_a_rate_of_its_own() {
    let app = TestApp::start().await;
    let (shop, claim) = shop_and_claim(&app).await;
    let root = app.user("root", Kind::Admin).await;
    let till = app.staff(("shop", &shop), "till", &["redeem"]).await;
    let (_, key) = app.key(("shop", &shop), &["redeem"]).await;
    let (_, second) = app.key(("shop", &shop), &["redeem"]).await;
    set(&app, json!({"user_writes_per_minute": 2, "offences_per_minute": 1})).await;
    let status = async |token: &str| app.client().post("/sec/redeem", token, &claim).await.status;
    for token in [&key, &till, &second, &shop] {
        let found = [status(token).await, status(token).await, status(token).await];
        assert_eq!(found, [200, 200, 429]);
    }
    for _ in 0..5 {
        assert_eq!(status(&key).await, 429, "who uses a key too often is refused, and nobody is blocked");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM blocks").await, 0);
    assert_eq!(app.client().get("/activity/list", &shop).await.status, 200);

    set(&app, json!({})).await;
    assert_eq!(app.client().put("/admin/blacklist/users/shop", &root, &json!({})).await.status, 200);
    for (token, expected) in [(&key, 403), (&till, 401), (&shop, 401), (&app.token_of("shop").await, 403)] {
        assert_eq!(status(token).await, expected, "the block ends the sessions");
    }
    assert_eq!(app.client().log_in("till", STAFF_PASSWORD).await.status, 403);
}
