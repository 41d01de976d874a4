//! A MySQL that has lost commits, as after a failover to a server that lacks them, or with a restored backup.

use std::path::{Path, PathBuf};
use std::time::Duration;

use couponrush::redis::{Attempt, Taken, live_key};
use serde_json::json;

use crate::helpers::{Customer, Got, MysqlServer, Stores, TestApp, audit, customers, eventually, proof, rush};

const PATIENCE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(5);
const CLAIMS: &str = "SELECT COUNT(*) FROM claims";

/// A service whose MySQL is a server of its own.
struct Restored {
    app: TestApp,
    mysql: MysqlServer,
}

impl Restored {
    async fn start() -> Self {
        let mysql = MysqlServer::start().await;
        let stores = Stores::create_on(&mysql.url(), None).await;
        Self { app: TestApp::start_on(stores, |_| {}).await, mysql }
    }

    /// A copy of the data of MySQL.
    async fn save(&mut self) -> PathBuf {
        self.app.settle().await;
        self.mysql.kill();
        let copy = self.mysql.save();
        self.start_mysql().await;
        copy
    }

    /// Replaces the data of MySQL by a copy.
    async fn go_back(&mut self, copy: &Path) {
        self.mysql.kill();
        self.mysql.bring_back(copy);
        self.start_mysql().await;
    }

    async fn start_mysql(&mut self) {
        self.mysql.start_again();
        eventually("MySQL answers", || async { self.app.stores.db.ping().await.is_ok() }).await;
    }

    async fn gate(&self) -> String {
        let ready = self.app.instances[0].ops.get("/readyz", "").await;
        ready.json()["gate"]["state"].as_str().unwrap_or_default().to_owned()
    }

    async fn until_gate(&self, state: &str) {
        eventually(&format!("the gate is {state}"), || async { self.gate().await == state }).await;
    }

    async fn claim(&self, crowd: &[Customer], coupon: &str) {
        let got = rush(&[self.app.client().clone()], crowd, ("shop", coupon), 4, PATIENCE).await;
        assert!(got.iter().all(Got::has_unit));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lost_commits_stop_the_sale_until_a_repair_has_written_them_back() {
    let mut with = Restored::start().await;
    let saler = with.app.client().user("shop", "saler").await;
    with.app.client().create_coupon("shop", &saler, "old", 100).await;
    let crowd = customers(&with.app.stores, "crowd", 60).await;
    with.claim(&crowd[..20], "old").await;
    let copy = with.save().await;
    with.until_gate("open").await;

    with.claim(&crowd[20..40], "old").await;
    let raised = with.app.client().put("/api/users/shop/coupons/old", &saler, &json!({ "amount": 150 })).await;
    assert_eq!(raised.status, 200, "{raised:?}");
    with.app.client().create_coupon("shop", &saler, "new", 30).await;
    with.app.client().user("lost", "customer").await;
    let lost = with.app.stores.number("SELECT CAST(MAX(id) AS SIGNED) FROM users").await;
    with.claim(&crowd[..10], "new").await;
    let told = proof(&with.app.client().claim("shop", "new", &crowd[0].token).await);
    with.app.settle().await;
    // The handler of this claim was dropped. Asking again stores the claim, and leaves its entry to the sweep, so Redis
    // does not learn the number of the batch.
    let (connection, live) = (with.app.stores.connection().await, with.app.stores.live().await);
    let attempt = Attempt::new(told.coupon, crowd[10].user.id);
    let taken = with.app.stores.stock().take(&connection, &live, &attempt, WAIT).await;
    assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
    let again = with.app.client().claim("shop", "new", &crowd[10].token).await;
    assert_eq!(again.result(), "already-claimed");
    eventually("the claim is stored", || async { with.app.stores.number(CLAIMS).await == 51 }).await;
    with.go_back(&copy).await;

    // Nobody claims, and the loss is noticed all the same.
    with.until_gate("mysql-went-back").await;
    let ready = with.app.instances[0].ops.get("/readyz", "").await;
    assert_eq!(ready.status, 503);
    let refused = with.app.client().claim("shop", "old", &crowd[50].token).await;
    assert_eq!((refused.status, refused.error().2.as_str()), (503, "unavailable"));
    let metrics = with.app.instances[0].ops.get("/metrics", "").await.text;
    assert!(metrics.contains("couponrush_gate_state{state=\"mysql-went-back\"} 1\n"), "{metrics}");
    with.app.client().user("early", "customer").await;
    let early = "SELECT CAST(id AS SIGNED) FROM users WHERE username = 'early'";
    assert!(with.app.stores.number(early).await > lost, "no id is issued twice");
    let (holds, output) = audit(&with.app.stores, &[]).await;
    assert!(!holds && output.contains("`couponrush audit --repair` writes them back"), "{output}");
    assert_eq!(with.gate().await, "mysql-went-back");

    let (holds, output) = audit(&with.app.stores, &["--repair"]).await;
    assert!(holds, "{output}");
    assert!(output.contains("2 coupons were written to MySQL as Redis had them"), "{output}");
    assert!(output.contains("30 claims that only Redis had were written to MySQL"), "{output}");
    with.until_gate("open").await;
    let again = proof(&with.app.client().claim("shop", "new", &crowd[0].token).await);
    assert_eq!((again.coupon, again.seq), (told.coupon, told.seq), "the answer is the same");
    with.claim(&crowd[40..], "old").await;
    with.app.settle().await;
    assert_eq!(with.app.stores.number(CLAIMS).await, 71);
    assert_eq!(with.app.stores.number("SELECT CAST(amount AS SIGNED) FROM coupons WHERE name = 'old'").await, 150);
    drop(with.app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loss_stops_rebuilds_until_the_claims_are_written_back() {
    let mut with = Restored::start().await;
    let saler = with.app.client().user("shop", "saler").await;
    with.app.client().create_coupon("shop", &saler, "rush", 100).await;
    let crowd = customers(&with.app.stores, "crowd", 60).await;
    with.claim(&crowd[..20], "rush").await;
    let copy = with.save().await;
    with.until_gate("open").await;
    with.claim(&crowd[20..40], "rush").await;

    // The loading in Redis is of a later epoch than the copy, and the key that names it is gone.
    let stores = with.app.stores.clone();
    let delete = async || {
        let mut delete = redis::cmd("DEL");
        stores.redis::<u64>(delete.arg(stores.keys().live())).await;
    };
    delete().await;
    eventually("the shard is loaded again", || async { commits(&stores).await.epoch.0 == 2 }).await;
    with.until_gate("open").await;
    with.claim(&crowd[40..50], "rush").await;
    with.app.settle().await;
    let loaded = commits(&with.app.stores).await.epoch;
    with.go_back(&copy).await;
    with.until_gate("mysql-went-back").await;
    delete().await;
    // A loading from MySQL would forget the claims.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((with.gate().await.as_str(), commits(&with.app.stores).await.epoch), ("mysql-went-back", loaded));
    let (holds, output) = audit(&with.app.stores, &["--repair"]).await;
    assert!(holds && output.contains("30 claims that only Redis had"), "{output}");
    with.until_gate("open").await;
    assert!(commits(&with.app.stores).await.epoch > loaded, "Redis is loaded again");
    with.claim(&crowd[50..], "rush").await;
    with.app.settle().await;
    assert_eq!(with.app.stores.number(CLAIMS).await, 60);
    drop(with.app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_left_raises_no_alarm_and_one_whose_row_was_deleted_adds_it_again() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 100).await;
    let crowd = customers(&app.stores, "crowd", 60).await;
    let claim = async |app: &TestApp, instance: usize, crowd: &[Customer]| {
        let got = rush(&[app.instances[instance].client.clone()], crowd, ("shop", "rush"), 4, PATIENCE).await;
        assert!(got.iter().all(Got::has_unit));
        app.settle().await;
    };
    claim(&app, 0, &crowd[..20]).await;
    claim(&app, 1, &crowd[20..40]).await;
    assert_eq!(commits(&app.stores).await.counters.len(), 2);
    app.instances[1].stop().await;
    app.instances.pop();
    let mut delete = redis::cmd("DEL");
    app.stores.redis::<u64>(delete.arg(app.stores.keys().live())).await;
    eventually("the shard is loaded again", || async { commits(&app.stores).await.epoch.0 == 2 }).await;
    eventually("the service is ready", || app.instances[0].ops.is_ready()).await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM ledgers WHERE epoch = 2").await, 1);
    claim(&app, 0, &crowd[40..50]).await;

    // As after a rebuild that took the process for dead.
    app.stores.execute("DELETE FROM ledgers").await;
    let mut delete = redis::cmd("HDEL");
    let process = commits(&app.stores).await.counters.into_keys().next().expect("a process has stored claims");
    app.stores.redis::<u64>(delete.arg(app.stores.keys().counters()).arg(process)).await;
    claim(&app, 0, &crowd[50..]).await;
    assert_eq!(app.stores.number(CLAIMS).await, 60);
}

/// The commits that Redis knows.
async fn commits(stores: &Stores) -> couponrush::domain::Commits {
    let connection = stores.connection().await;
    live_key::commits(&connection, &stores.keys(), WAIT).await.expect("Redis answers")
}
