//! A service before strangers, with a sale and its honest users.

use couponrush::config::Profile;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, now_seconds};

/// Customers who may claim once each.
const CUSTOMERS: usize = 20_000;
const UNITS: u32 = 100_000;
/// The addresses of the operator and of the merchant.
pub const OPERATOR: &str = "192.0.2.20";
pub const SHOP: &str = "192.0.2.10";

pub struct World {
    pub app: TestApp,
    /// Tokens of honest customers.
    pub customers: Vec<String>,
    /// The honest merchant, who owns the sale.
    pub shop: String,
    pub operator: String,
    pub product: u64,
    pub activity: u64,
}

impl World {
    pub async fn start() -> Self {
        let app = TestApp::start_with(|args| {
            args.admission.profile = Profile::Public;
            args.admission.trusted_proxies = "127.0.0.1".parse().expect("a proxy");
        })
        .await;
        let customers = app.customers(CUSTOMERS).await;
        let client = app.client();
        for (name, address) in [("root", OPERATOR), ("shop", SHOP)] {
            assert_eq!(register(client, name, "saler", address).await.status, 201);
        }
        // The command line makes admins, and asks for the password at a terminal.
        app.stores.execute("UPDATE users SET kind = 'admin' WHERE username = 'root'").await;
        let token =
            async |name, address| log_in(client, name, PASSWORD, address).await.header("Authorization").to_owned();
        let (operator, shop) = (token("root", OPERATOR).await, token("shop", SHOP).await);
        let approval = app.instances[0].ops.put("/admin/users/shop", &operator, &json!({"approved": true})).await;
        assert_eq!(approval.status, 200, "{approval:?}");
        let (product, activity) = sale(client, &shop, "rush", json!({})).await;
        Self { app, customers, shop, operator, product, activity }
    }

    pub fn client(&self) -> &Client {
        self.app.client()
    }

    /// The listener of operators.
    pub fn ops(&self) -> &Client {
        &self.app.instances[0].ops
    }
}

/// Sends a request from an address.
pub async fn from(
    client: &Client,
    address: &str,
    method: &str,
    path: &str,
    token: &str,
    body: Option<&Value>,
) -> Answer {
    let mut request = client.request(method, path).header("X-Forwarded-For", address);
    if !token.is_empty() {
        request = request.header("Authorization", token);
    }
    if let Some(body) = body {
        request = request.body(body.to_string());
    }
    Answer::of(request).await
}

pub async fn register(client: &Client, name: &str, kind: &str, address: &str) -> Answer {
    let body = json!({"username": name, "password": PASSWORD, "kind": kind});
    from(client, address, "POST", "/api/users", "", Some(&body)).await
}

pub async fn log_in(client: &Client, name: &str, password: &str, address: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    from(client, address, "POST", "/api/auth", "", Some(&body)).await
}

/// A coupon of a merchant with a sale that is open for an hour. Returns the ids of both.
pub async fn sale(client: &Client, token: &str, name: &str, terms: Value) -> (u64, u64) {
    let product = json!({"product_name": name, "product_total": UNITS});
    let answer = client.post("/product/create", token, &product).await;
    let product = answer.json()["data"]["product_id"].as_u64().unwrap_or_else(|| panic!("{answer:?}"));
    let now = now_seconds();
    let mut activity = json!({"activity_name": name, "product_id": product, "start_time": now - 10,
        "end_time": now + 3_600, "total": 0, "speed": 0, "buy_limit": 1, "buy_rate": 1});
    let (all, changed) = (activity.as_object_mut().expect("an object"), terms.as_object().cloned());
    all.extend(changed.expect("terms are an object"));
    let answer = client.post("/activity/create", token, &activity).await;
    (product, answer.json()["data"]["activity_id"].as_u64().unwrap_or_else(|| panic!("{answer:?}")))
}
