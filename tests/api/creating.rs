//! `POST /api/users/{username}/coupons`: every row of its table in the wire contract, their order, and the bounds.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Client, TestApp};

const NO_NAME: &str = "Coupon name should have 1 to 60 characters and no slash.";
const NO_AMOUNT: &str = "Amount field wrong format.";
const NO_STOCK: &str = "Stock field wrong format.";
const NOT_JSON: &str = "Only receive JSON format.";
const TAKEN: &str = "Create failed. Maybe (username,coupon name) duplicates";

const SHOP: &str = "/api/users/shop/coupons";
/// The columns decided by the saler.
const ROWS: &str = "SELECT CONCAT_WS('|', name, amount, left_count, face_value, description, scheduled) AS value \
    FROM coupons ORDER BY id";

fn body() -> Value {
    json!({"name": "ten", "amount": 10, "description": "ten off", "stock": 100})
}

/// [`body`] with one key changed.
fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut body = body();
    body[key] = value.into();
    body
}

/// [`body`] without a key.
fn without(key: &str) -> Value {
    let mut body = body();
    body.as_object_mut().expect("the body is an object").remove(key);
    body
}

async fn refused(client: &Client, path: &str, token: &str, body: &str, row: (u16, &str, &str)) {
    let answer = client.send("POST", path, token, Some(body)).await;
    assert_eq!(answer.error(), (row.0, row.1.to_owned(), row.2.to_owned()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_coupon_is_stored_as_it_was_sent_and_can_be_claimed_at_once() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;

    let answer = client.post(SHOP, &shop, &body()).await;
    assert_eq!((answer.status, answer.text.as_str()), (201, r#"{"errMsg":""}"#));
    assert_eq!(answer.header("Content-Type"), "application/json; charset=utf-8");
    assert_eq!(app.stores.texts(ROWS).await, ["ten|10|10|100|ten off|0"]);
    let claim = app.instances[1].client.claim("shop", "ten", &ann).await;
    assert_eq!((claim.status, claim.result()), (201, "claimed"), "the other instance sells the coupon too");

    let answer = client.post(SHOP, &shop, &with("name", "a later one")).await;
    assert_eq!(answer.status, 201);
    let last = app.stores.texts(ROWS).await.pop();
    assert_eq!(last.as_deref(), Some("a later one|10|10|100|ten off|0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_coupon_is_stored_and_listed_but_not_sold() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    assert_eq!(client.post(SHOP, &shop, &with("scheduled", true)).await.status, 201);
    assert_eq!(app.stores.texts(ROWS).await, ["ten|10|10|100|ten off|1"]);
    let claim = client.claim("shop", "ten", &ann).await;
    assert_eq!((claim.status, claim.result(), claim.text.as_str()), (204, "not-on-sale", ""));
    assert_eq!(client.list("shop", &ann).await.json()["data"][0]["left"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_at_their_bounds_are_taken_as_they_stand() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let (name, description) = ("券".repeat(60), "é".repeat(255));
    let most = json!({"name": name, "amount": 10_000_000, "description": description, "stock": 1_000_000_000});
    let least = json!({"name": "x", "amount": 1, "stock": 0});
    let odd_keys = json!({"NAME": "y", "Amount": 2, "sTock": 3, "DESCRIPTION": "d", "scheduled": null, "more": [1]});
    for body in [most, least, odd_keys] {
        let answer = client.post(SHOP, &shop, &body).await;
        assert_eq!(answer.status, 201, "{body}: {answer:?}");
    }
    let most = format!("{name}|10000000|10000000|1000000000|{description}|0");
    assert_eq!(app.stores.texts(ROWS).await, [most.as_str(), "x|1|1|0||0", "y|2|2|3|d|0"]);
    let list = client.list("shop", &shop).await.json();
    let listed = &list["data"][2];
    assert_eq!(
        *listed,
        json!({
            "name": name, "stock": 1_000_000_000, "description": description, "amount": 10_000_000, "left": 10_000_000,
            "product_id": 1, "scheduled": false,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_coupon_cannot_be_is_refused_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let long = |character: &str, count| Value::from(character.repeat(count));

    let names = [
        json!(""),
        json!(null),
        long("a", 61),
        long("券", 61),
        json!("."),
        json!(".."),
        json!("a/b"),
        json!("/"),
        json!(" a"),
        json!("a "),
        json!("\u{3000}a"),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("\u{85}"),
        json!("a\u{7f}"),
    ];
    for name in names {
        refused(client, SHOP, &shop, &with("name", name).to_string(), (400, NO_NAME, "bad-request")).await;
    }
    refused(client, SHOP, &shop, &without("name").to_string(), (400, NO_NAME, "bad-request")).await;
    let description = with("description", long("d", 256)).to_string();
    refused(client, SHOP, &shop, &description, (400, "Description too long.", "bad-request")).await;
    for amount in [json!(0), json!(-1), json!(10_000_001), json!(i64::MAX), json!(i64::MIN), json!(null)] {
        refused(client, SHOP, &shop, &with("amount", amount).to_string(), (400, NO_AMOUNT, "bad-request")).await;
    }
    refused(client, SHOP, &shop, &without("amount").to_string(), (400, NO_AMOUNT, "bad-request")).await;
    for stock in [json!(-1), json!(1_000_000_001), json!(i64::MAX), json!(i64::MIN), json!(null)] {
        refused(client, SHOP, &shop, &with("stock", stock).to_string(), (400, NO_STOCK, "bad-request")).await;
    }
    refused(client, SHOP, &shop, &without("stock").to_string(), (400, NO_STOCK, "bad-request")).await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_of_the_right_types_is_refused_as_such() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let mut bodies: Vec<String> =
        ["", " ", "{", "null", "[]", "1", "name=ten&amount=1&stock=1", "{}{}", "{\"name\":\"\\ud800\"}", "\u{feff}{}"]
            .map(str::to_owned)
            .to_vec();
    for (key, value) in [
        ("amount", json!("10")),
        ("amount", json!(1.5)),
        ("amount", json!(true)),
        ("amount", json!(9_223_372_036_854_775_808_u64)),
        ("stock", json!("10")),
        ("stock", json!(1.5)),
        ("stock", json!(9_223_372_036_854_775_808_u64)),
        ("name", json!(5)),
        ("name", json!(["ten"])),
        ("description", json!(5)),
        ("scheduled", json!("true")),
        ("scheduled", json!(1)),
    ] {
        bodies.push(with(key, value).to_string());
    }
    bodies.push(body().to_string().replace("10,", "1e1000,"));
    bodies.push(format!("{}1{}", "{\"a\":".repeat(300), "}".repeat(300)));
    for body in &bodies {
        refused(client, SHOP, &shop, body, (400, NOT_JSON, "bad-request")).await;
    }
    let answer = Client::send(client, "POST", SHOP, &shop, Some(&"x".repeat(4_097))).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body-too-large")));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_several_rows_apply_the_first_decides() {
    let app = TestApp::start_with(|args| args.quotas.saler_coupons_max = Some(1)).await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    app.user("other", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 1).await;

    let others = "/api/users/other/coupons";
    let only_sellers = (401, "Only sellers can create coupons.", "wrong-kind");
    let not_others = (401, "Cannot create coupons for other users.", "not-yours");
    refused(client, others, "", "{", (401, "Not Authorized.", "not-logged-in")).await;
    refused(client, others, &ann, "{", only_sellers).await;
    refused(client, "/api/users/ann/coupons", &ann, &body().to_string(), only_sellers).await;
    refused(client, others, &admin, &body().to_string(), only_sellers).await;
    refused(client, others, &shop, "{", (400, NOT_JSON, "bad-request")).await;
    let mut wrong = json!({"name": "a/b", "amount": 0, "description": "d".repeat(256), "stock": -1});
    for path in [others, "/api/users/nobody/coupons", "/api/users/SHOP/coupons", "/api/users/%FF/coupons"] {
        refused(client, path, &shop, &wrong.to_string(), not_others).await;
    }
    let mut steps = vec![(400, NO_NAME, "bad-request"), (400, "Description too long.", "bad-request")];
    steps.extend([(400, NO_AMOUNT, "bad-request"), (400, NO_STOCK, "bad-request"), (400, TAKEN, "name-taken")]);
    for (row, repaired) in steps.into_iter().zip(["name", "description", "amount", "stock", ""]) {
        refused(client, SHOP, &shop, &wrong.to_string(), row).await;
        if !repaired.is_empty() {
            wrong[repaired] = body()[repaired].clone();
        }
    }
    let another = with("name", "TEN").to_string();
    refused(client, SHOP, &shop, &another, (400, "Too many coupons.", "quota")).await;
    assert_eq!(app.stores.texts(ROWS).await, ["ten|1|1|10|of a test|0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_of_coupons_is_exact_when_many_are_created_at_once_on_two_instances() {
    const MAX: usize = 5;
    let mut app = TestApp::start_with(|args| args.quotas.saler_coupons_max = Some(5)).await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..24 {
        let (client, shop) = (app.instances[n % 2].client.clone(), shop.clone());
        tasks.spawn(async move { client.post(SHOP, &shop, &with("name", n.to_string())).await });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), MAX);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((answer.status, answer.message().as_str()), (400, "Too many coupons."));
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 5);
    let listed = app.client().list("shop", &shop).await.json();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(MAX));
    let answer = app.client().post("/api/users/other/coupons", &other, &body()).await;
    assert_eq!(answer.status, 201, "every saler has a separate limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_create_one_name_at_once_one_succeeds() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (client, shop) = (app.instances[n % 2].client.clone(), shop.clone());
        tasks.spawn(async move { client.post(SHOP, &shop, &with("amount", n + 1)).await });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.error(), (400, TAKEN.to_owned(), "name-taken".to_owned()));
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, 1);
}
