//! etcd: an instance follows its keys through every fault, and activities are equal in etcd and MySQL.

mod edits;
mod faults;
mod settings;
mod steps;
mod watching;

use std::time::{Duration, Instant};

use couponrush::domain::{ActivityId, CouponId, Terms};
use serde_json::{Value, json};

use crate::helpers::{Customer, EtcdServer, TestApp, customers, eventually};

const COUPON: CouponId = CouponId(1);
/// How soon an operator's edit is in force on every instance.
const SOON: Duration = Duration::from_secs(1);

/// Two instances that follow an etcd server, a scheduled coupon `shop/sale`, and customers with an attempt each.
struct Sale {
    app: TestApp,
    etcd: EtcdServer,
    crowd: Vec<Customer>,
    used_customers: std::sync::atomic::AtomicUsize,
}

impl Sale {
    async fn start() -> Self {
        let etcd = EtcdServer::start().await;
        let mut app = TestApp::start_with(|args| args.etcd = etcd.args()).await;
        app.start_another().await;
        let sale = Self { crowd: customers(&app.stores, "crowd", 2_000).await, app, etcd, used_customers: 0.into() };
        let saler = sale.app.client().user("shop", "saler").await;
        let body = json!({"name": "sale", "amount": 10_000, "stock": 1, "scheduled": true});
        assert_eq!(sale.app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
        sale
    }

    /// Creates an activity and waits until etcd has it.
    async fn schedule(&self, terms: &Terms) -> ActivityId {
        let made = self.app.instances[0].schedule(COUPON, terms).await;
        let id = made.expect("the activity can be created");
        eventually("etcd has the activity", || async { self.is_recorded(id).await }).await;
        id
    }

    /// Whether etcd has the activity, and the row in MySQL records the revision in etcd.
    async fn is_recorded(&self, id: ActivityId) -> bool {
        let put_at = self.etcd.get(&key(id)).await.map_or(0, |(_, revision)| revision);
        put_at > 0 && self.etcd_revision(id).await == put_at
    }

    async fn etcd_revision(&self, id: ActivityId) -> u64 {
        u64::try_from(self.column(id, "etcd_revision").await).expect("a revision is unsigned")
    }

    /// A number from the activity's row. -1 without a row.
    async fn column(&self, id: ActivityId, name: &str) -> i64 {
        self.app.stores.number(&format!("SELECT COALESCE(MAX({name}), -1) FROM activities WHERE id = {id}")).await
    }

    /// The activity's value in etcd.
    async fn value(&self, id: ActivityId) -> Value {
        let (text, _) = self.etcd.get(&key(id)).await.expect("etcd has the activity");
        serde_json::from_str(&text).expect("the value is JSON")
    }

    /// Changes fields of the activity's value in etcd. Returns the revision.
    async fn edit(&self, id: ActivityId, fields: &Value) -> u64 {
        let mut value = self.value(id).await;
        for (name, field) in fields.as_object().expect("fields are an object") {
            value[name] = field.clone();
        }
        self.etcd.put(&key(id), &value.to_string()).await
    }

    /// The results of a claim by a new customer, on every instance.
    async fn results(&self) -> Vec<String> {
        let mut results = Vec::new();
        for instance in &self.app.instances {
            let n = self.used_customers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            results.push(instance.client.claim("shop", "sale", &self.crowd[n].token).await.result().to_owned());
        }
        results
    }

    /// Waits until every instance answers with `result`. Panics after `wait`.
    async fn every_instance_answers(&self, result: &str, wait: Duration) {
        let begun = Instant::now();
        loop {
            let results = self.results().await;
            if results.iter().all(|answered| answered == result) {
                return;
            }
            assert!(begun.elapsed() < wait, "not {result} within {wait:?}: {results:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first instance's report about etcd.
    async fn report(&self) -> Value {
        self.app.instances[0].ops.get("/readyz", "").await.json()["etcd"].clone()
    }

    /// Waits until every instance reports this state of its connection to etcd.
    async fn every_instance_has_etcd(&self, state: &str) {
        self.every_instance_reports("state", &json!(state)).await;
    }

    /// Waits until a field of every instance's report about etcd has this value.
    async fn every_instance_reports(&self, name: &str, expected: &Value) {
        for instance in &self.app.instances {
            eventually(&format!("{name} is {expected}"), || async {
                instance.ops.get("/readyz", "").await.json()["etcd"][name] == *expected
            })
            .await;
        }
    }
}

fn key(id: ActivityId) -> String {
    format!("activities/{id}")
}
