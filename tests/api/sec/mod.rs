//! `/product`, `/activity` and `/sec`: sales with a window and limits.

mod activities;
mod admission;
mod authors;
mod bad_input;
mod buying;
mod conditions;
mod losses;
mod products;
mod quota;
mod redeeming;
mod sales;
mod signed;
mod units;

use std::time::Instant;

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, DEADLINE, Stores, TestApp, now_seconds};

/// A service with the saler `shop`.
struct Sale {
    app: TestApp,
    shop: String,
}

impl Sale {
    /// Starts this many instances without rate limits, and creates the saler.
    async fn start(instances: usize) -> Self {
        Self::start_on(Stores::create(None).await, instances, None).await
    }

    /// Like [`Sale::start`], on existing stores and with a secret for the signed form.
    async fn start_on(stores: Stores, instances: usize, sign_secret: Option<&str>) -> Self {
        let mut app = TestApp::start_on(stores, |args| {
            args.sign_secret = sign_secret.map(str::to_owned);
            (args.admission.user_per_second, args.admission.user_per_minute) = (0, 0);
        })
        .await;
        for _ in 1..instances {
            app.start_another().await;
        }
        let shop = app.user("shop", Kind::Saler).await;
        Self { app, shop }
    }

    /// Sends a POST to the instance with this number.
    async fn post_to(&self, instance: usize, path: &str, token: &str, body: &Value) -> Answer {
        self.app.instances[instance].client.post(path, token, body).await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.post_to(0, path, token, body).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.app.client().get(path, token).await
    }

    /// Creates a product of `shop`.
    async fn product(&self, name: &str, total: u32) -> u64 {
        let answer =
            self.post("/product/create", &self.shop, &json!({"product_name": name, "product_total": total})).await;
        data(&answer)["product_id"].as_u64().expect("an id is a number")
    }

    /// Creates an activity of `product` with a window of an hour around now, and with changed terms.
    async fn activity(&self, product: u64, terms: Value) -> u64 {
        let answer = self.post("/activity/create", &self.shop, &activity(product, terms)).await;
        data(&answer)["activity_id"].as_u64().expect("an id is a number")
    }

    /// Changes an activity on the first instance.
    async fn update(&self, activity: u64, mut terms: Value) {
        terms["activity_id"] = json!(activity);
        data(&self.post("/activity/update", &self.shop, &terms).await);
    }

    /// Tries to buy, on the instance with this number.
    async fn kill(&self, instance: usize, token: &str, product: u64) -> Answer {
        self.post_to(instance, "/sec/kill", token, &json!({"product_id": product})).await
    }

    /// Like [`Sale::kill`], repeated while the service is overloaded or being loaded. A user whose earlier attempt was
    /// granted gets 1010.
    async fn kill_until_told(&self, instance: usize, token: &str, product: u64) -> (u64, Answer) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.kill(instance, token, product).await;
            match answer.status {
                200 => return (200, answer),
                503 => assert!(Instant::now() < deadline, "{answer:?}"),
                _ => return (refusal(&answer).1, answer),
            }
        }
    }

    async fn info(&self, instance: usize, product: u64) -> Value {
        let path = format!("/sec/info?product_id={product}");
        data(&self.app.instances[instance].client.get(&path, "").await)
    }

    /// Counts and revisions that a refusal must not change.
    async fn stored(&self) -> [i64; 4] {
        let count = async |sql: &str| self.app.stores.number(sql).await;
        [
            count("SELECT COUNT(*) FROM coupons").await,
            count("SELECT COALESCE(SUM(revision), 0) FROM coupons").await,
            count("SELECT COALESCE(SUM(revision), 0) FROM activities").await,
            count("SELECT COUNT(*) FROM claims").await,
        ]
    }
}

/// The body for creating an activity of `product`, with a window of an hour around now and with changed terms.
fn activity(product: u64, terms: Value) -> Value {
    let now = now_seconds();
    let mut all = json!({
        "activity_name": "rush", "product_id": product, "start_time": now - 10, "end_time": now + 3_600,
        "total": 0, "speed": 0, "buy_limit": 1, "buy_rate": 1,
    });
    let (all_terms, terms) = (all.as_object_mut().expect("an object"), terms.as_object().cloned());
    all_terms.extend(terms.expect("terms are an object"));
    all
}

/// The `data` of a successful answer.
fn data(answer: &Answer) -> Value {
    let mut body = answer.json();
    assert_eq!((answer.status, &body["code"], &body["msg"]), (200, &json!(200), &json!("success")), "{answer:?}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{answer:?}");
    body["data"].take()
}

/// Status and code of a refusal. Asserts the envelope common to all refusals.
fn refusal(answer: &Answer) -> (u16, u64) {
    let body = answer.json();
    assert_ne!(body["msg"].as_str().expect("a sentence"), "", "{answer:?}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{answer:?}");
    let code = body["code"].as_u64().expect("a number");
    assert!(code == 1010 || body["data"] == json!(""), "{answer:?}");
    assert_eq!(!answer.header("Retry-After").is_empty(), [429, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(!answer.header("WWW-Authenticate").is_empty(), answer.status == 401, "{answer:?}");
    (answer.status, code)
}
