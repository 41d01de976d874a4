//! `PATCH /api/users/{saler}/coupons/{name}`: with one user, many users, and many instances.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, RawConnection, TestApp, eventually};

/// All claims in MySQL, as text. [`claim_in_token`] gives the same text for a claim token.
const ROWS: &str = "SELECT CONCAT_WS('|', coupon_id, user_id, activity_id, seq, nth, claimed_at) AS value \
    FROM claims ORDER BY coupon_id, seq";

/// A decoded part of a token.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("a token is base64url without padding");
    serde_json::from_slice(&bytes).expect("header and payload are JSON")
}

/// The claim of a token, in the format of [`ROWS`].
fn claim_in_token(token: &str) -> String {
    let payload = part(token, 1);
    let numbers = ["coupon", "user", "activity", "seq", "nth", "claimed_at"].map(|key| payload[key].to_string());
    numbers.join("|")
}

fn assert_refused(answer: &Answer, result: &str) {
    assert_eq!((answer.status, answer.result(), answer.text.as_str()), (204, result, ""), "{answer:?}");
    assert_eq!(answer.header("Claim-Token"), "", "a refusal has no claim token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_answered_once_and_stored_once() {
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    let ann = client.user("ann", "customer").await;
    client.create_coupon("shop", &saler, "ten", 3).await;

    let first = client.claim("shop", "ten", &ann).await;
    assert_eq!((first.status, first.text.as_str(), first.result()), (201, r#"{"errMsg":""}"#, "claimed"));
    let again = client.claim("shop", "ten", &ann).await;
    assert_eq!((again.status, again.text.as_str(), again.result()), (204, "", "already-claimed"));
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));

    eventually("the claim is stored", || async { app.stores.number("SELECT COUNT(*) FROM claims").await == 1 }).await;
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rush_for_few_units_sells_each_exactly_once() {
    const UNITS: u32 = 50;
    let app = TestApp::start().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    client.create_coupon("shop", &saler, "rush", UNITS).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let token = client.user(&format!("customer-{n}"), "customer").await;
            client.claim("shop", "rush", &token).await.result().to_owned()
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| *result == "claimed").count(), UNITS as usize);
    assert_eq!(results.iter().collect::<BTreeSet<_>>().len(), 2, "all others are sold-out: {results:?}");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT MAX(seq) FROM claims").await, i64::from(UNITS));
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_token_says_what_is_stored() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(3).await;
    client.create_coupon("shop", &shop, "ten", 3).await;
    client.create_coupon("shop", &shop, "twenty", 3).await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is later than 1970").as_millis();
    let before = now();
    let mut proofs = Vec::new();
    for name in ["ten", "twenty"] {
        for customer in &customers {
            let claim = client.claim("shop", name, customer).await;
            assert_eq!(claim.result(), "claimed");
            let token = claim.header("Claim-Token");
            assert_eq!(part(token, 0)["alg"], "HS256");
            assert!(part(token, 0)["kid"].is_string(), "the header names the secret");
            let at = u128::from(part(token, 1)["claimed_at"].as_u64().expect("a number of milliseconds"));
            assert!((before..=now()).contains(&at), "{before} <= {at}");
            proofs.push(claim_in_token(token));
        }
    }
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, proofs);
    let seqs = app.stores.texts("SELECT CAST(seq AS CHAR) AS value FROM claims ORDER BY coupon_id, seq").await;
    assert_eq!(seqs, ["1", "2", "3", "1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_unit_is_told_the_same_claim_whatever_happens_to_the_coupon_and_the_instance() {
    let mut app = TestApp::start().await;
    let client = app.client().clone();
    let shop = app.user("shop", Kind::Saler).await;
    let [ann, ben, cay]: [String; 3] = app.customers(3).await.try_into().expect("three customers were created");
    client.create_coupon("shop", &shop, "ten", 2).await;
    let first = client.claim("shop", "ten", &ann).await;
    let token = first.header("Claim-Token");

    assert_same_claim(&app, &ann, token, "units are left").await;
    assert_eq!(client.claim("shop", "ten", &ben).await.result(), "claimed");
    assert_refused(&client.claim("shop", "ten", &cay).await, "sold-out");
    assert_same_claim(&app, &ann, token, "sold out").await;
    app.settle().await;
    assert_same_claim(&app, &ann, token, "stored in MySQL").await;

    for change in [json!({"amount": 5}), json!({"amount": 2}), json!({"scheduled": true}), json!({"description": ""})] {
        assert_eq!(client.put("/api/users/shop/coupons/ten", &shop, &change).await.status, 200);
        assert_same_claim(&app, &ann, token, &format!("after {change}")).await;
    }
    app.stop().await;
    app.start_another().await;
    assert_same_claim(&app, &ann, token, "after a restart").await;
    assert_refused(&app.client().claim("shop", "ten", &cay).await, "not-on-sale");

    app.settle().await;
    assert!(app.stores.texts(ROWS).await.contains(&claim_in_token(token)));
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 2);
}

async fn assert_same_claim(app: &TestApp, customer: &str, token: &str, when: &str) {
    let again = app.client().claim("shop", "ten", customer).await;
    assert_eq!((again.status, again.result(), again.text.as_str()), (204, "already-claimed", ""), "{when}");
    assert_eq!(again.header("Claim-Token"), token, "{when}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_customer_who_asks_many_times_at_once_gets_one_unit() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    app.client().create_coupon("shop", &shop, "ten", 100).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (client, ann) = (app.instances[n % 2].client.clone(), ann.clone());
        tasks.spawn(async move { client.claim("shop", "ten", &ann).await });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.result() == "claimed").count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.result() == "already-claimed").count(), 39);
    assert_eq!(answers.iter().map(|answer| answer.header("Claim-Token")).collect::<BTreeSet<_>>().len(), 1);
    app.settle().await;
    assert_eq!(app.stores.texts(ROWS).await, [claim_in_token(answers[0].header("Claim-Token"))]);
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_claim_is_told_so_and_gets_nothing() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 3).await;
    for token in [&shop, &other, &admin] {
        for name in ["ten", "nothing", "%FF"] {
            let answer = client.claim("shop", name, token).await;
            let expected = (401, "Sellers aren't allowed to get coupons.".to_owned(), "wrong-kind".to_owned());
            assert_eq!(answer.error(), expected);
            assert_eq!((answer.result(), answer.header("WWW-Authenticate")), ("", "Bearer"));
        }
    }
    let answer = client.claim("shop", "ten", "").await;
    assert_eq!(answer.error(), (401, "Not Authorized.".to_owned(), "not-logged-in".to_owned()));
    assert_eq!(client.list("shop", &shop).await.json()["data"][0]["left"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_coupon_is_no_such_coupon() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    app.user("empty", Kind::Saler).await;
    client.create_coupon("shop", &shop, "ten", 3).await;
    // A name that is not UTF-8 must not match this coupon.
    client.create_coupon("shop", &shop, "\u{fffd}", 3).await;
    let paths = [
        ("shop", "nothing"),
        ("nobody", "ten"),
        ("empty", "ten"),
        ("ann", "ten"),
        ("SHOP", "ten"),
        ("shop", "TEN"),
        ("shop", "%FF"),
        ("%FF", "ten"),
        ("shop", "ten%C3"),
        ("shop", "%C3%28"),
        ("shop", "%ED%A0%80"),
        ("shop", "ten%00"),
        ("shop", "ten%20"),
        ("shop", "+ten"),
        ("shop", "ten%"),
        ("shop", "ten%2"),
        ("shop", "ten%zz"),
        ("shop", "%2574en"),
        ("shop", "ten%2F"),
        ("shop", "%2Ften"),
        ("shop", "shop%2Ften"),
        ("shop%2Ften", "ten"),
        ("%2E%2E%2Fshop", "ten"),
    ];
    for (saler, name) in paths {
        assert_refused(&client.claim(saler, name, &ann).await, "no-such-coupon");
    }
    let long = "n".repeat(2_000);
    assert_refused(&client.claim("shop", &long, &ann).await, "no-such-coupon");
    assert_refused(&client.claim(&long, "ten", &ann).await, "no-such-coupon");
    // Requests that an HTTP client would not send.
    for name in [&b".."[..], b".", b"%2e%2e", b"%2E", b"..%2f..", b"\xff\xfe", b"ten\xc3"] {
        let head = format!(" HTTP/1.1\r\nHost: test\r\nAuthorization: {ann}\r\nConnection: close\r\n\r\n");
        let mut connection = RawConnection::open(app.instances[0].address);
        connection.send([b"PATCH /api/users/shop/coupons/", name, head.as_bytes()].concat());
        let answer = connection.read_to_end();
        let refused = (answer.status(), answer.header("Claim-Result")) == (204, Some("no-such-coupon"));
        // Bytes outside HTTP's rules for targets never reach a handler.
        let malformed = answer.status() == 400 && !name.is_ascii();
        assert!(refused || malformed, "{}: {answer:?}", name.escape_ascii());
    }
    assert_eq!(client.claim("%73%68op", "%74e%6E", &ann).await.result(), "claimed", "escapes are decoded once");
    assert_eq!(client.claim("shop", "ten/", &ann).await.result(), "already-claimed", "a slash at the end is accepted");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_ignored_but_for_its_length() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(4).await;
    client.create_coupon("shop", &shop, "ten", 10).await;
    let path = "/api/users/shop/coupons/ten";
    let full = "x".repeat(4_096);
    for (customer, body) in customers.iter().zip(["{", r#"{"name":"other"}"#, full.as_str()]) {
        let answer = client.send("PATCH", path, customer, Some(body)).await;
        assert_eq!((answer.status, answer.result()), (201, "claimed"));
    }
    let answer = client.send("PATCH", path, &customers[3], Some(&"x".repeat(4_097))).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body-too-large")));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_salers_coupons_of_one_name_share_nothing() {
    let app = TestApp::start().await;
    let client = app.client();
    let salers = app.users(&["shop", "stall"], Kind::Saler).await;
    let [ann, ben]: [String; 2] = app.customers(2).await.try_into().expect("two customers were created");
    client.create_coupon("shop", &salers[0], "ten", 1).await;
    client.create_coupon("stall", &salers[1], "ten", 2).await;

    let shop_claim = client.claim("shop", "ten", &ann).await;
    assert_eq!(shop_claim.result(), "claimed");
    assert_refused(&client.claim("shop", "ten", &ben).await, "sold-out");
    let stall_claim = client.claim("stall", "ten", &ann).await;
    assert_eq!(stall_claim.result(), "claimed", "the salers' coupons are separate");
    assert_eq!(client.claim("stall", "ten", &ben).await.result(), "claimed");
    assert_ne!(
        part(shop_claim.header("Claim-Token"), 1)["coupon"],
        part(stall_claim.header("Claim-Token"), 1)["coupon"]
    );

    let put = client.put("/api/users/shop/coupons/ten", &salers[0], &json!({"amount": 9, "scheduled": true})).await;
    assert_eq!(put.status, 200);
    assert_eq!(client.list("stall", &ann).await.json()["data"][0]["amount"], 2);
    let held = client.list("customer-0", &ann).await.json();
    let held: Vec<_> =
        held["data"].as_array().expect("a list").iter().map(|item| (&item["saler"], &item["name"])).collect();
    assert_eq!(held, [(&json!("stall"), &json!("ten")), (&json!("shop"), &json!("ten"))]);
    app.settle().await;
    assert_eq!(app.stores.texts("SELECT CAST(left_count AS CHAR) AS value FROM coupons ORDER BY id").await, ["8", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_client_has_gone_is_held_once_and_stored_once() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(40).await;
    client.create_coupon("shop", &shop, "ten", 40).await;
    for (n, customer) in customers.iter().enumerate() {
        let request = client.request("PATCH", "/api/users/shop/coupons/ten").header("Authorization", customer.as_str());
        let wait = Duration::from_micros(200 * n as u64);
        let _gone = tokio::time::timeout(wait, request.send()).await;
    }
    for customer in &customers {
        let answer = client.claim("shop", "ten", customer).await;
        assert!(["claimed", "already-claimed"].contains(&answer.result()), "{answer:?}");
    }
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(DISTINCT user_id) FROM claims").await, 40);
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 0);
}
