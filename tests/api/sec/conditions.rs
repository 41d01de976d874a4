//! Conditions of an activity: who registered in time, claims of a network, tickets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use couponrush::domain::Kind;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Sale, data, refusal};
use crate::helpers::{Answer, Stores, TestApp, eventually, now_seconds};

const OWN_SECRET: &str = "a secret of a program that checks customers";

/// A service with a trusted proxy on loopback, the saler `shop`, and a secret for tickets of another program.
async fn sale() -> Sale {
    let app = TestApp::start_on(Stores::create(None).await, |args| {
        args.admission.trusted_proxies = "127.0.0.1".parse().expect("a proxy");
        args.tokens.ticket_secret = Some(OWN_SECRET.to_owned());
        (args.admission.user_per_second, args.admission.user_per_minute) = (0, 0);
    })
    .await;
    let shop = app.user("shop", Kind::Saler).await;
    Sale { app, shop }
}

impl Sale {
    async fn customer_token(&self, name: &str) -> String {
        self.app.user(name, Kind::Customer).await
    }

    /// Tries to claim by the coupon interface, from an address and with a ticket.
    async fn claim_from(&self, from: &str, token: &str, coupon: &str, ticket: &str) -> String {
        let request = self.app.client().request("PATCH", &format!("/api/users/shop/coupons/{coupon}"));
        let request = request.header("Authorization", token).header("X-Forwarded-For", from);
        Answer::of(request.header("Claim-Ticket", ticket)).await.header("Claim-Result").to_owned()
    }

    async fn kill_with(&self, token: &str, product: u64, ticket: &str) -> u64 {
        let answer = self.post("/sec/kill", token, &json!({"product_id": product, "ticket": ticket})).await;
        answer.json()["code"].as_u64().expect("a number")
    }

    /// Solves a challenge for a customer, and returns the challenge, the nonce and the ticket.
    async fn ticket(&self, token: &str, product: u64) -> [String; 3] {
        let given = data(&self.get(&format!("/sec/ticket?product_id={product}"), token).await);
        let challenge = given["challenge"].as_str().expect("a text").to_owned();
        let nonce = solve(&challenge, u32::try_from(given["bits"].as_u64().expect("a number")).expect("few bits"));
        let answer = self.post("/sec/ticket", token, &json!({"challenge": challenge, "nonce": nonce})).await;
        let ticket = data(&answer)["ticket"].as_str().expect("a text").to_owned();
        [challenge, nonce, ticket]
    }
}

/// The first nonce whose hash begins with `bits` zero bits.
fn solve(challenge: &str, bits: u32) -> String {
    let is_solution = |nonce: &String| {
        let hash = Sha256::digest(format!("{challenge}.{nonce}"));
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]).leading_zeros() >= bits
    };
    (0_u64..).map(|nonce| nonce.to_string()).find(is_solution).expect("there are solutions")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_customers_who_registered_in_time_get_a_unit_and_holders_keep_theirs() {
    let sale = sale().await;
    let (early, late) = (sale.customer_token("early").await, sale.customer_token("late").await);
    let product = sale.product("ten", 10).await;
    let activity = sale.activity(product, json!({})).await;
    sale.app.stores.execute("UPDATE users SET created_at = NOW() - INTERVAL 1 DAY WHERE username <> 'late'").await;
    sale.app.stores.execute("UPDATE users SET created_at = NOW() - INTERVAL 1 HOUR WHERE username = 'late'").await;
    assert_eq!(sale.kill_with(&late, product, "").await, 200, "there is no condition yet");

    let newcomer = sale.customer_token("newcomer").await;
    let until = now_seconds() - 7_200;
    sale.update(activity, json!({"registered_before": until})).await;
    assert_eq!(sale.info(0, product).await["registered_before"], json!(until));
    assert_eq!(refusal(&sale.kill(0, &newcomer, product).await), (400, 1012));
    assert_eq!(sale.claim_from("192.0.2.1", &newcomer, "ten", "").await, "not-eligible");
    assert_eq!(sale.kill_with(&early, product, "").await, 200);
    assert_eq!(refusal(&sale.kill(0, &late, product).await), (400, 1010), "a holder is told of the claim");

    sale.update(activity, json!({"status": 1})).await;
    assert_eq!(refusal(&sale.kill(0, &newcomer, product).await), (400, 1006), "the sale is disabled for everybody");
    sale.update(activity, json!({"status": 0, "registered_before": 0})).await;
    assert_eq!(sale.kill_with(&newcomer, product, "").await, 200);
    let is_off = || async { sale.info(0, product).await.get("registered_before").is_none() };
    eventually("the answer has the change", is_off).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_gets_so_many_units_of_a_sale() {
    let sale = sale().await;
    let product = sale.product("ten", 10).await;
    let activity = sale.activity(product, json!({"network_winners": 2})).await;
    let mut customers = Vec::new();
    for n in 0..5 {
        customers.push(sale.customer_token(&format!("c{n}")).await);
    }
    let claim = async |n: usize, from: &str| sale.claim_from(from, &customers[n], "ten", "").await;
    assert_eq!(claim(0, "198.51.100.1").await, "claimed");
    assert_eq!(claim(1, "198.51.100.77").await, "claimed");
    assert_eq!(claim(2, "198.51.100.200").await, "network-limit");
    assert_eq!(claim(0, "198.51.100.200").await, "already-claimed");
    assert_eq!(claim(2, "198.51.101.1").await, "claimed", "another network");
    assert_eq!(claim(3, "2001:db8:0:7::1").await, "claimed", "another network");
    sale.update(activity, json!({"network_winners": 3})).await;
    assert_eq!(claim(4, "198.51.100.1").await, "claimed");
    let metrics = sale.app.instances[0].ops.get("/metrics", "").await.text;
    assert!(metrics.contains("\ncouponrush_network_winners 5\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_one_network_gets_no_more_at_once_and_a_refused_attempt_counts_for_nothing() {
    let sale = sale().await;
    let product = sale.product("ten", 100).await;
    let activity = sale.activity(product, json!({"network_winners": 3, "buy_rate": 0})).await;
    let names: Vec<String> = (0..80).map(|n| format!("c{n}")).collect();
    let customers = sale.app.users(&names, Kind::Customer).await;
    let (first, others) = customers.split_at(40);
    let crowd = async |customers: &[String]| {
        let claims = customers.iter().map(|token| sale.claim_from("198.51.100.1", token, "ten", ""));
        let results = futures_util::future::join_all(claims).await;
        let count = |word: &str| results.iter().filter(|result| *result == word).count();
        [count("claimed"), count("try-again"), count("network-limit")]
    };
    let [claimed, lost, _] = crowd(first).await;
    assert!(claimed == 0 && lost > 0, "nobody wins the draw");
    sale.update(activity, json!({"buy_rate": 1})).await;
    assert_eq!(crowd(others).await, [3, 0, 37]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_with_a_ticket_takes_the_customer_s_own_ticket_as_often_as_it_is_sent() {
    let sale = sale().await;
    let (ann, bob) = (sale.customer_token("ann").await, sale.customer_token("bob").await);
    let (product, other) = (sale.product("ten", 10).await, sale.product("other", 10).await);
    sale.activity(product, json!({"ticket": 8, "buy_limit": 2})).await;
    sale.activity(other, json!({"ticket": 8})).await;
    assert_eq!(sale.info(0, product).await["ticket"], json!(8));
    assert_eq!(refusal(&sale.kill(0, &ann, product).await), (400, 1013));
    assert_eq!(sale.claim_from("192.0.2.1", &ann, "ten", "x").await, "ticket-required");

    let [challenge, nonce, ticket] = sale.ticket(&ann, product).await;
    assert_eq!(sale.kill_with(&bob, product, &ticket).await, 1013, "the ticket is another customer's");
    assert_eq!(sale.kill_with(&ann, other, &ticket).await, 1013, "the ticket is for another sale");
    assert_eq!(sale.kill_with(&ann, product, &challenge).await, 1013, "a challenge is no ticket");
    assert_eq!(sale.kill_with(&ann, product, &ticket).await, 200);
    assert_eq!(sale.claim_from("192.0.2.1", &ann, "ten", &ticket).await, "claimed", "the second unit");
    assert_eq!(sale.claim_from("192.0.2.1", &ann, "ten", "").await, "already-claimed", "a holder needs no ticket");

    let redeem = async |token: &str, body: Value| refusal(&sale.post("/sec/ticket", token, &body).await);
    assert_eq!(redeem(&bob, json!({"challenge": challenge, "nonce": nonce})).await, (400, 1001));
    assert_eq!(redeem(&ann, json!({"challenge": ticket, "nonce": nonce})).await, (400, 1001));
    assert_eq!(redeem(&ann, json!({"challenge": challenge, "nonce": "x"})).await, (400, 1001));
    let ask = async |product: u64, token: &str| sale.get(&format!("/sec/ticket?product_id={product}"), token).await;
    assert_eq!(refusal(&ask(product, "").await).0, 401);
    assert_eq!(refusal(&ask(product, &sale.shop).await), (401, 1003));
    assert_eq!(refusal(&ask(99, &ann).await), (400, 1002));
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_are_given_from_half_an_hour_before_the_start() {
    let sale = sale().await;
    let ann = sale.customer_token("ann").await;
    let product = sale.product("ten", 10).await;
    let at =
        |from: u64| json!({"ticket": 4, "start_time": now_seconds() + from, "end_time": now_seconds() + from + 60});
    let activity = sale.activity(product, at(1_900)).await;
    let path = format!("/sec/ticket?product_id={product}");
    assert_eq!(refusal(&sale.get(&path, &ann).await), (400, 1005));
    sale.update(activity, at(1_700)).await;
    let [.., ticket] = sale.ticket(&ann, product).await;
    sale.update(activity, json!({"start_time": now_seconds() - 1, "end_time": now_seconds() + 60})).await;
    assert_eq!(sale.kill_with(&ann, product, &ticket).await, 200, "the early ticket is good at the start");
    sale.update(activity, json!({"ticket": 0})).await;
    assert_eq!(refusal(&sale.get(&path, &ann).await).0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_the_operator_can_sign_tickets() {
    let sale = sale().await;
    let (ann, bob) = (sale.customer_token("ann").await, sale.customer_token("bob").await);
    let product = sale.product("ten", 10).await;
    let activity = sale.activity(product, json!({"ticket": -1})).await;
    let id = sale.app.stores.number("SELECT id FROM users WHERE username = 'ann'").await;
    let ticket = signed(&json!({"sub": id.to_string(), "act": activity, "exp": now_seconds() + 600}));
    assert_eq!(refusal(&sale.get(&format!("/sec/ticket?product_id={product}"), &ann).await).0, 404);
    assert_eq!(sale.kill_with(&bob, product, &ticket).await, 1013);
    assert_eq!(sale.kill_with(&ann, product, &ticket).await, 200);
}

/// A JWT as another program signs it (RFC 7515).
fn signed(payload: &Value) -> String {
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(payload.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(OWN_SECRET.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", encode(&mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_out_of_range_are_refused_and_change_nothing() {
    let sale = sale().await;
    let product = sale.product("ten", 10).await;
    let activity = sale.activity(product, json!({"ticket": 5})).await;
    let before = sale.stored().await;
    for bad in [
        json!({"ticket": 23}),
        json!({"ticket": -2}),
        json!({"ticket": 0.5}),
        json!({"ticket": "x"}),
        json!({"network_winners": 1_001}),
        json!({"network_winners": -1}),
        json!({"registered_before": now_seconds() + 60}),
        json!({"registered_before": -1}),
    ] {
        let mut change = bad.clone();
        change["activity_id"] = json!(activity);
        assert_eq!(refusal(&sale.post("/activity/update", &sale.shop, &change).await), (400, 1001), "{bad}");
    }
    assert_eq!(sale.stored().await, before);

    let without = Sale::start(1).await;
    let product = without.product("ten", 10).await;
    let body = super::activity(product, json!({"ticket": -1}));
    let answer = without.post("/activity/create", &without.shop, &body).await;
    assert_eq!(refusal(&answer), (400, 1001), "nobody could have a ticket");
}
