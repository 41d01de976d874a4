//! New names: normalized and visible, and no new saler looks like an earlier one. Existing names go on working.

use couponrush::domain::{Amount, Author, CouponName, Description, FaceValue, Kind, UserName};
use couponrush::mysql::coupons::NewCoupon;
use couponrush::mysql::users;
use couponrush::ops::SalerNames;
use futures_util::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::helpers::{PASSWORD, Stores, TestApp, eventually, now_seconds};

/// The letter e with a combining accent, and the composed character.
const SENT: &str = "cafe\u{301}";
const STORED: &str = "caf\u{e9}";
/// Names with invisible characters.
const HIDDEN: [&str; 8] =
    ["a\u{200b}b", "a\u{202e}b", "\u{3164}", "a\u{ffa0}", "a\u{2066}b", "a\u{ad}b", "a\u{2800}", "a\u{10ffff}"];

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Adds a user as an earlier release did: without rules for names, and without skeletons.
async fn add_as_before(stores: &Stores, name: &str, kind: &str) {
    let sql = format!("INSERT INTO users (username, kind, password_hash) VALUES ('{name}', '{kind}', '')");
    stores.execute(&sql).await;
}

async fn holders(stores: &Stores) -> Vec<String> {
    let sql = "SELECT username AS value FROM saler_skeletons JOIN users ON users.id = user_id ORDER BY user_id";
    stores.texts(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_sees_are_refused_for_users_coupons_and_activities() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    let product = client.post("/product/create", &saler, &json!({"product_name": "p", "product_total": 1})).await;
    let product = product.json()["data"]["product_id"].clone();
    let noon = json!({"product_id": product, "start_time": now_seconds(), "end_time": now_seconds() + 60, "total": 1,
        "speed": 0});
    for name in HIDDEN {
        let answer = client.register(name, "customer").await;
        let wrong = "User name has characters that are not allowed.".to_owned();
        assert_eq!(answer.error(), (400, wrong, "bad-request".to_owned()), "{name:?}");
        let coupon = json!({"name": name, "amount": 1, "stock": 1});
        let answer = client.post("/api/users/shop/coupons", &saler, &coupon).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some("name")), "{answer:?}");
        let answer = client.post("/product/create", &saler, &json!({"product_name": name, "product_total": 1})).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(1001)), "{answer:?}");
        let mut activity = noon.clone();
        activity["activity_name"] = name.into();
        let answer = client.post("/activity/create", &saler, &activity).await;
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(1001)), "{answer:?}");
    }
    let family = "👨‍👩‍👧 ❤️ 买一送一·限时";
    assert_eq!(client.register(family, "customer").await.status, 400, "only offers have joined emoji");
    client.create_coupon("shop", &saler, family, 1).await;
    let mut activity = noon;
    activity["activity_name"] = family.into();
    assert_eq!(client.post("/activity/create", &saler, &activity).await.json()["code"], 200);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 1);
    let names = "SELECT name AS value FROM coupons UNION SELECT name FROM activities";
    assert_eq!(app.stores.texts(names).await, ["p", family]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_erased_users_are_taken() {
    let app = TestApp::start().await;
    let answer = app.client().register("erased-7", "customer").await;
    assert_eq!((answer.status, answer.error().2.as_str()), (400, "name-taken"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_in_any_form_of_unicode() {
    let app = TestApp::start().await;
    let client = app.client();
    assert_eq!(client.register(SENT, "saler").await.status, 201);
    assert_eq!(app.stores.texts("SELECT username AS value FROM users").await, [STORED]);
    for name in [SENT, STORED] {
        assert_eq!(client.register(name, "customer").await.error().2, "name-taken");
    }
    let saler = client.log_in(SENT, PASSWORD).await.header("Authorization").to_owned();
    assert_eq!(client.log_in(STORED, PASSWORD).await.status, 200);
    let customer = client.user("ann", "customer").await;
    client.create_coupon(&encoded(SENT), &saler, SENT, 5).await;
    for (name, result) in [(SENT, "claimed"), (STORED, "already-claimed")] {
        let name = encoded(name);
        assert_eq!(client.claim(&name, &name, &customer).await.result(), result, "{name}");
        assert_eq!(client.list(&name, &customer).await.json()["data"][0]["name"], STORED);
        let answer = client.put(&format!("/api/users/{name}/coupons/{name}"), &saler, &json!({"amount": 6})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let change = json!({"old": PASSWORD, "new": "battery staple"});
    let answer = client.put(&format!("/api/users/{}/password", encoded(SENT)), &saler, &change).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_of_all_forms_of_a_name_count_together() {
    let app = TestApp::start_with(|args| args.admission.failed_logins_per_minute = 4).await;
    let client = app.client();
    assert_eq!(client.register(STORED, "customer").await.status, 201);
    for name in [SENT, STORED, SENT, STORED] {
        assert_eq!(client.log_in(name, "wrong password").await.status, 401);
    }
    assert_eq!(client.log_in(SENT, PASSWORD).await.status, 429);
    assert_eq!(client.log_in(STORED, PASSWORD).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_exist_go_on_working() {
    let app = TestApp::start().await;
    let client = app.client();
    let old = |name: &str| UserName::parse(name.to_owned()).expect("a name");
    let passwords = couponrush::app::passwords(std::num::NonZeroUsize::MIN).expect("hashes can be computed");
    let password = couponrush::domain::Password::parse(PASSWORD.to_owned()).expect("a password");
    let hash = passwords.hash(&password, couponrush::auth::Caller::PROGRAM).await.expect("a hash");
    for (name, kind) in [("s\u{200b}hop", Kind::Saler), (SENT, Kind::Customer), ("erased-1", Kind::Customer)] {
        users::insert(&app.stores.db, &old(name), kind, &hash, false).await.expect("the name is new");
        assert_eq!(client.log_in(name, PASSWORD).await.status, 200, "{name:?}");
    }
    assert_eq!(client.register(SENT, "customer").await.error().2, "name-taken", "the name as it was sent is taken");
    let saler = client.log_in("s\u{200b}hop", PASSWORD).await.header("Authorization").to_owned();
    let customer = client.log_in(SENT, PASSWORD).await.header("Authorization").to_owned();
    let found = users::find_by_name(&app.stores.db, &old("s\u{200b}hop")).await.expect("MySQL answers");
    let coupon = NewCoupon {
        name: CouponName::parse("t\u{202e}en".to_owned()).expect("a name"),
        amount: Amount::new(5).expect("few"),
        face_value: FaceValue::new(1).expect("small"),
        description: Description::new(String::new()).expect("short"),
        scheduled: false,
    };
    let (publishing, user) = (&app.instances[0].shared.offering.publishing, found.expect("the saler was added").user);
    publishing.create(&user, &coupon, Author::Named("shop")).await.expect("the coupon is new");
    let (shop, name) = (encoded("s\u{200b}hop"), encoded("t\u{202e}en"));
    assert_eq!(client.claim(&shop, &name, &customer).await.result(), "claimed");
    let answer = client.put(&format!("/api/users/{shop}/coupons/{name}"), &saler, &json!({"amount": 6})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    client.create_coupon(&shop, &saler, "new", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_keeps_a_name_that_no_new_one_may_have() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    let product = client.post("/product/create", &saler, &json!({"product_name": "p", "product_total": 1})).await;
    let activity = json!({"product_id": product.json()["data"]["product_id"], "activity_name": "noon",
        "start_time": now_seconds() + 600, "end_time": now_seconds() + 700, "total": 1, "speed": 0});
    let id = client.post("/activity/create", &saler, &activity).await.json()["data"]["activity_id"].clone();
    app.stores.execute("UPDATE activities SET name = 'n\u{200b}oon'").await;
    let update = async |name: &str| {
        let body = json!({"activity_id": id, "activity_name": name, "speed": 7});
        client.post("/activity/update", &saler, &body).await.json()["code"].clone()
    };
    assert_eq!(update("n\u{200b}oon").await, 200, "the name is sent back as it was");
    assert_eq!(update("no\u{200b}on").await, 1001);
    assert_eq!(app.stores.texts("SELECT name AS value FROM activities WHERE speed = 7").await, ["n\u{200b}oon"]);
    assert_eq!(update("noon").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_saler_does_not_look_like_another() {
    let app = TestApp::start().await;
    let client = app.client();
    assert_eq!(client.register("Café Nero 1", "saler").await.status, 201);
    for twin in ["Саfé Nero 1", "Cafe\u{301} Nero l", "Ｃafé Nero 1", "Café\u{a0}Nero 1"] {
        let answer = client.register(twin, "saler").await;
        assert_eq!((answer.status, answer.error().2.as_str()), (400, "name-taken"), "{twin}");
        assert_eq!(client.register(twin, "customer").await.status, 201, "customers may look alike: {twin}");
    }
    assert_eq!(client.register("Café Nero 2", "saler").await.status, 201);
    assert_eq!(holders(&app.stores).await, ["Café Nero 1", "Café Nero 2"]);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 6, "a refused saler is not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_salers_who_look_alike_and_register_at_once_one_is_stored() {
    let app = TestApp::start().await;
    // All 16 mixtures of Latin and Cyrillic letters.
    let letters = [["p", "р"], ["o", "о"], ["c", "с"], ["x", "х"]];
    let names: Vec<String> = (0..16_usize)
        .map(|subset| letters.iter().enumerate().map(|(place, forms)| forms[subset >> place & 1]).collect())
        .collect();
    let answers = join_all(names.iter().map(|name| app.client().register(name, "saler"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.error().2, "name-taken", "{answer:?}");
    }
    let stored = app.stores.texts("SELECT username AS value FROM users").await;
    assert_eq!((stored.len(), stored), (1, holders(&app.stores).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn salers_of_an_earlier_release_are_entered_and_the_oldest_holds_the_skeleton() {
    let mut app = TestApp::start().await;
    for (name, kind) in [("buyer", "customer"), ("first", "saler"), ("fіrst", "saler"), ("second", "saler")] {
        add_as_before(&app.stores, name, kind).await;
    }
    assert_eq!(holders(&app.stores).await, [] as [String; 0]);
    app.start_another().await;
    eventually("a start enters the salers", || async { holders(&app.stores).await == ["first", "second"] }).await;
    for (name, status) in [("ﬁrst", 400), ("sесоnd", 400), ("third", 201), ("buуer", 201)] {
        assert_eq!(app.client().register(name, "saler").await.status, status, "{name}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users WHERE username = 'fіrst'").await, 1, "it goes on");

    // A later pass reads new users again from somewhat earlier, because transactions may have taken long.
    let names = SalerNames::new(app.stores.db.clone());
    names.enter().await.expect("MySQL answers");
    add_as_before(&app.stores, "late", "saler").await;
    app.stores.execute("DELETE FROM saler_skeletons").await;
    names.enter().await.expect("MySQL answers");
    names.enter().await.expect("a pass may be repeated");
    let mut entered = holders(&app.stores).await;
    entered.sort();
    assert_eq!(entered, ["buуer", "first", "late", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_salers_are_entered_page_by_page() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..2_500).map(|n| format!("shop-{n}")).collect();
    app.users(&names, Kind::Saler).await;
    app.customers(10_500).await;
    app.users(&["last"], Kind::Saler).await;
    SalerNames::new(app.stores.db.clone()).enter().await.expect("MySQL answers");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM saler_skeletons").await, 2_501);
}
