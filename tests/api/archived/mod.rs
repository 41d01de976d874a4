//! Coupons that were archived: Redis keeps a tombstone, and MySQL answers.

mod attempts;
mod away;
mod coming_back;
mod lists;
mod sales;

use couponrush::domain::CouponId;
use couponrush::redis::Keys;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, Customer, Stores, TestApp, customers, without_rates};

/// A coupon that was archived by hand, with the Redis keys that it had before.
struct ArchivedByHand {
    coupon: CouponId,
    revision: i64,
    saved: Vec<(String, Vec<u8>)>,
}

/// Archives a coupon in both stores, as the service does. All its claims are in MySQL.
async fn archive_by_hand(stores: &Stores, coupon: CouponId) -> ArchivedByHand {
    let keys = stores.keys();
    stores
        .execute(&format!(
            "UPDATE coupons SET revision = revision + 1, published_revision = revision, archived = TRUE, \
             unloaded = TRUE, first_archived_at = COALESCE(first_archived_at, NOW(3)) WHERE id = {coupon}"
        ))
        .await;
    let number = async |column: &str| stores.number(&format!("SELECT {column} FROM coupons WHERE id = {coupon}")).await;
    let (revision, amount, left) = (number("revision").await, number("amount").await, number("left_count").await);
    let holders = claims_of(stores, coupon).await;
    let activities = format!("SELECT CAST(id AS CHAR) AS value FROM activities WHERE coupon_id = {coupon}");
    let activities =
        stores.texts(&activities).await.into_iter().map(|id| keys.activity(id.parse().expect("an id")).to_string());
    let deleted: Vec<String> = activities.chain([keys.holes(coupon).to_string()]).collect();
    let key = keys.coupon(coupon).to_string();
    let mut saved = Vec::new();
    for key in deleted.iter().chain([&key]).chain(holders.iter().map(|(holder, _)| holder)) {
        let dump: Option<Vec<u8>> = stores.redis(redis::cmd("DUMP").arg(key)).await;
        saved.extend(dump.map(|dump| (key.clone(), dump)));
    }
    stores.redis::<()>(redis::cmd("HDEL").arg(&key).arg(&["amount", "claimed"])).await;
    let mut tombstone = redis::cmd("HSET");
    tombstone.arg(&key).arg("archived").arg(revision).arg("revision").arg(revision);
    stores.redis::<()>(tombstone.arg("final_amount").arg(amount).arg("final_left").arg(left)).await;
    stores.redis::<()>(redis::cmd("INCR").arg(keys.archivings())).await;
    stores.redis::<()>(redis::cmd("DEL").arg(deleted)).await;
    for (holder, field) in &holders {
        stores.redis::<()>(redis::cmd("HDEL").arg(holder).arg(field)).await;
    }
    ArchivedByHand { coupon, revision, saved }
}

/// The holder key and the field of every claim of a coupon.
async fn claims_of(stores: &Stores, coupon: CouponId) -> Vec<(String, String)> {
    let sql = format!("SELECT CONCAT(user_id, ':', nth) AS value FROM claims WHERE coupon_id = {coupon}");
    let claim = |text: &str| {
        let (user, nth) = text.split_once(':').expect("user and nth");
        let field = Keys::held_field(coupon, nth.parse().expect("a number"));
        (stores.keys().holder(user.parse().expect("an id")).to_string(), field)
    };
    stores.texts(&sql).await.iter().map(|text| claim(text)).collect()
}

impl ArchivedByHand {
    /// Marks the coupon as coming back: in MySQL it is on sale, and Redis loads its claims.
    async fn begin_to_come_back(&mut self, stores: &Stores) {
        let coupon = self.coupon;
        self.sell_in_mysql(stores).await;
        let loading = format!("loading:{}", self.revision);
        stores.redis::<()>(redis::cmd("HSET").arg(stores.keys().coupon(coupon)).arg("archived").arg(loading)).await;
    }

    /// Puts the coupon on sale in MySQL alone.
    async fn sell_in_mysql(&mut self, stores: &Stores) {
        let coupon = self.coupon;
        let sold = "revision = revision + 1, published_revision = revision, archived = FALSE";
        stores.execute(&format!("UPDATE coupons SET {sold} WHERE id = {coupon}")).await;
        self.revision = stores.number(&format!("SELECT revision FROM coupons WHERE id = {coupon}")).await;
    }

    /// Puts the coupon on sale again in both stores, with all its claims.
    async fn undo(mut self, stores: &Stores) {
        self.sell_in_mysql(stores).await;
        let (coupon, revision) = (self.coupon, self.revision);
        stores.execute(&format!("UPDATE coupons SET unloaded = FALSE WHERE id = {coupon}")).await;
        let key = stores.keys().coupon(coupon).to_string();
        for (name, dump) in &self.saved {
            // A holder may have claims of other coupons meanwhile.
            let scratch = format!("{}restored", stores.prefix);
            stores.redis::<()>(redis::cmd("RESTORE").arg(&scratch).arg(0).arg(dump).arg("REPLACE")).await;
            let kind: String = stores.redis(redis::cmd("TYPE").arg(&scratch)).await;
            if kind == "hash" && *name != key {
                let fields: Vec<String> = stores.redis(redis::cmd("HGETALL").arg(&scratch)).await;
                stores.redis::<()>(redis::cmd("HSET").arg(name).arg(fields)).await;
                stores.redis::<()>(redis::cmd("DEL").arg(&scratch)).await;
            } else {
                stores.redis::<()>(redis::cmd("RENAME").arg(&scratch).arg(name)).await;
            }
        }
        stores.redis::<()>(redis::cmd("HSET").arg(&key).arg("revision").arg(revision)).await;
    }
}

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

    /// Archives a coupon after all claims are stored.
    async fn archive(&self, coupon: CouponId) -> ArchivedByHand {
        self.app.settle().await;
        archive_by_hand(&self.app.stores, coupon).await
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
