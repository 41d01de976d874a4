//! An existing JMeter plan. 200 customers run it at the same time, for 50 coupons of 20 units. For every coupon, a
//! customer logs in, lists the held coupons, claims, and lists them again.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::helpers::{Answer, Client, PASSWORD, TestApp};

const CUSTOMERS: usize = 200;
const COUPONS: usize = 50;
const UNITS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_jmeter_plan_works_and_sells_every_unit_once() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let saler = client.user("shop", "saler").await;
    for coupon in 0..COUPONS {
        client.create_coupon("shop", &saler, &coupon_name(coupon), UNITS).await;
    }
    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        let client = client.clone();
        customers.spawn(async move {
            let name = format!("customer-{customer}");
            assert_eq!(client.register(&name, "customer").await.status, 201);
            run_plan(&client, &name).await
        });
    }

    let mut sold: BTreeMap<String, u32> = BTreeMap::new();
    for claimed in customers.join_all().await.into_iter().flatten() {
        *sold.entry(claimed).or_default() += 1;
    }
    let wanted: BTreeMap<String, u32> = (0..COUPONS).map(|coupon| (coupon_name(coupon), UNITS)).collect();
    assert_eq!(sold, wanted);
    for page in 1..=3 {
        let answer = client.get(&format!("/api/users/shop/coupons?page={page}"), &saler).await.json();
        let items = answer["data"].as_array().expect("50 coupons are three pages");
        assert!(items.iter().all(|item| item["amount"] == UNITS && item["left"] == 0), "{items:?}");
    }
    app.settle().await;
    let exact = "SELECT COUNT(*) FROM coupons WHERE left_count = 0 \
        AND (SELECT COUNT(*) FROM claims WHERE coupon_id = id AND seq BETWEEN 1 AND amount) = 20";
    assert_eq!(app.stores.number(exact).await, COUPONS as i64);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, COUPONS as i64 * i64::from(UNITS));
}

/// Runs the plan of a customer. Returns the names of the claimed coupons.
async fn run_plan(client: &Client, name: &str) -> Vec<String> {
    let mut claimed: Vec<String> = Vec::new();
    for coupon in (0..COUPONS).map(coupon_name) {
        let login = client.log_in(name, PASSWORD).await;
        assert_eq!((login.status, login.text.as_str()), (200, r#"{"kind":"customer","errMsg":""}"#));
        let token = login.header("Authorization");
        assert_eq!(names_on_first_page(client, name, token).await, newest(&claimed));
        let (answer, maybe_granted) = claim(client, &coupon, token).await;
        match (answer.status, answer.result()) {
            (201, "claimed") => {
                assert_eq!(answer.text, r#"{"errMsg":""}"#);
                claimed.push(coupon);
            }
            (204, "already-claimed") if maybe_granted => claimed.push(coupon),
            (204, "sold-out") => assert_eq!(answer.text, ""),
            _ => panic!("not in the wire contract: {answer:?}"),
        }
        assert_eq!(names_on_first_page(client, name, token).await, newest(&claimed));
    }
    claimed
}

/// Claims, and repeats the attempt after a 503, as the 503 demands. The flag says whether an earlier attempt may have
/// been granted.
async fn claim(client: &Client, coupon: &str, token: &str) -> (Answer, bool) {
    let (mut maybe_granted, mut last) = (false, String::new());
    for _ in 0..50 {
        let answer = client.claim("shop", coupon, token).await;
        if answer.status != 503 {
            return (answer, maybe_granted);
        }
        (maybe_granted, last) = (true, answer.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the service does not recover from its load: {last}");
}

async fn names_on_first_page(client: &Client, name: &str, token: &str) -> Vec<String> {
    let answer = client.list(name, token).await;
    match answer.status {
        200 => {
            let items = answer.json()["data"].as_array().cloned().unwrap_or_default();
            assert!(items.iter().all(|item| item["stock"] == 10 && item["description"] == "of a test"), "{items:?}");
            items.iter().filter_map(|item| item["name"].as_str()).map(str::to_owned).collect()
        }
        204 => Vec::new(),
        _ => panic!("not in the wire contract: {answer:?}"),
    }
}

/// The expected first page after claims in this order.
fn newest(claimed: &[String]) -> Vec<String> {
    claimed.iter().rev().take(20).cloned().collect()
}

fn coupon_name(coupon: usize) -> String {
    format!("coupon-{coupon}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_found_by_a_case_sensitive_expression_on_the_raw_answer() {
    let app = TestApp::start().await;
    app.client().user("ann", "customer").await;
    let answer = tokio::task::block_in_place(|| log_in_raw(app.instances[0].address));
    let (head, _) = answer.split_once("\r\n\r\n").expect("the head ends");
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let tokens: Vec<&str> = head.split("\r\n").filter_map(|line| line.strip_prefix("Authorization: ")).collect();
    assert_eq!(tokens.len(), 1, "{answer}");
    let claimed = app.client().list("ann", tokens[0]).await;
    assert_eq!(claimed.status, 204, "the token is valid: {claimed:?}");
}

fn log_in_raw(address: SocketAddr) -> String {
    let body = json!({"username": "ann", "password": PASSWORD}).to_string();
    let mut stream = TcpStream::connect(address).expect("the service listens");
    let length = body.len();
    let request = format!(
        "POST /api/auth HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the service reads the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the service answers");
    answer
}
