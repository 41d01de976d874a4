//! Coupons that were archived: Redis keeps a tombstone, and MySQL answers.

mod attempts;
mod away;
mod coming_back;
mod lists;
mod sales;

use couponrush::domain::CouponId;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, Customer, Stores, TestApp, customers, eventually, without_rates};

/// A service without rate limits, with the saler `shop` and customers.
struct Archive {
    app: TestApp,
    shop: String,
    crowd: Vec<Customer>,
}

impl Archive {
    async fn start(crowd: usize) -> Self {
        Self::start_on(Stores::create(None).await, crowd).await
    }

    async fn start_on(stores: Stores, crowd: usize) -> Self {
        let app = TestApp::start_on(stores, without_rates).await;
        let shop = app.client().user("shop", "saler").await;
        let crowd = customers(&app.stores, "crowd", crowd).await;
        Self { app, shop, crowd }
    }

    /// Creates a coupon of `shop`.
    async fn coupon(&self, name: &str, amount: u32, scheduled: bool) -> CouponId {
        let body = json!({"name": name, "amount": amount, "stock": 1, "scheduled": scheduled});
        let answer = self.app.client().post("/api/users/shop/coupons", &self.shop, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = self.app.stores.number(&format!("SELECT id FROM coupons WHERE name = '{name}'")).await;
        CouponId(id.unsigned_abs())
    }

    fn client(&self) -> &Client {
        self.app.client()
    }

    /// Lets a customer claim, and asserts the result.
    async fn claims(&self, name: &str, customer: usize, result: &str) -> Answer {
        let answer = self.client().claim("shop", name, &self.crowd[customer].token).await;
        assert_eq!(answer.result(), result, "{name}, customer {customer}: {answer:?}");
        answer
    }

    /// Lets a customer claim, and asserts that the attempt did not happen.
    async fn cannot_claim(&self, name: &str, customer: usize) {
        let answer = self.client().claim("shop", name, &self.crowd[customer].token).await;
        assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{name}, customer {customer}");
    }

    /// Archives a coupon. Its claims have left Redis on return.
    async fn archive(&self, name: &str) {
        self.change(name, true).await;
        let is_done = format!("SELECT archived AND published_revision = revision FROM coupons WHERE name = '{name}'");
        eventually("the coupon is archived", || async { self.app.stores.number(&is_done).await == 1 }).await;
    }

    /// Brings a coupon back. It is on sale on return.
    async fn bring_back(&self, name: &str) {
        self.change(name, false).await;
    }

    async fn change(&self, name: &str, archived: bool) {
        let path = format!("/api/users/shop/coupons/{name}");
        let answer = self.client().put(&path, &self.shop, &json!({"archived": archived})).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }

    /// Sets the field `archived` of a coupon in Redis.
    async fn mark(&self, coupon: CouponId, mark: &str) {
        let mut set = redis::cmd("HSET");
        set.arg(self.app.stores.keys().coupon(coupon)).arg("archived").arg(mark);
        self.app.stores.redis::<()>(&set).await;
    }

    /// Puts an archived coupon on sale in MySQL alone, at a revision that Redis seems to have. Returns the revision.
    async fn sell_in_mysql(&self, coupon: CouponId) -> i64 {
        let sold = "revision = revision + 1, published_revision = revision, archived = FALSE";
        self.app.stores.execute(&format!("UPDATE coupons SET {sold} WHERE id = {coupon}")).await;
        self.app.stores.number(&format!("SELECT revision FROM coupons WHERE id = {coupon}")).await
    }

    /// Lets the service bring a coupon back that is on sale in MySQL alone.
    async fn publish(&self, coupon: CouponId) {
        self.app.stores.execute(&format!("UPDATE coupons SET published_revision = 1 WHERE id = {coupon}")).await;
        let is_done = format!("SELECT published_revision = revision FROM coupons WHERE id = {coupon}");
        eventually("the coupon came back", || async { self.app.stores.number(&is_done).await == 1 }).await;
    }

    async fn list(&self, customer: usize) -> Answer {
        self.client().list(&format!("crowd-{customer}"), &self.crowd[customer].token).await
    }

    /// Names and counts on a customer's list, in order.
    async fn held(&self, customer: usize) -> Vec<(String, u64)> {
        let answer = self.list(customer).await;
        if answer.status == 204 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json();
        let item = |item: &Value| {
            let name = item["name"].as_str().expect("a name").to_owned();
            (name, item["count"].as_u64().unwrap_or(1))
        };
        list["data"].as_array().expect("a list").iter().map(item).collect()
    }

    /// Status, result and token of attempts at a coupon by each customer: the next claim, the first two claims, a claim
    /// that must be stored, and `/sec/kill`.
    async fn answers(&self, client: &Client, coupon: CouponId, name: &str) -> Vec<(u16, String, String)> {
        let mut answers = Vec::new();
        for customer in &self.crowd {
            for (header, value) in [("X-None", ""), ("Claim-Nth", "1"), ("Claim-Nth", "2"), ("Claim-Wait", "stored")] {
                let request = client.request("PATCH", &format!("/api/users/shop/coupons/{name}"));
                let answer = Answer::of(request.header("Authorization", &customer.token).header(header, value)).await;
                let (result, token) = (answer.result().to_owned(), answer.header("Claim-Token").to_owned());
                answers.push((answer.status, result, token));
            }
            let kill = client.post("/sec/kill", &customer.token, &json!({"product_id": coupon.0})).await;
            answers.push((kill.status, kill.text, String::new()));
        }
        answers
    }
}
