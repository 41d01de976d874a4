//! Unreadable entries of the outbox. Later entries do not wait, and only an operator deletes unreadable entries.

use std::time::Duration;

use couponrush::config::KnownFormat;
use couponrush::domain::CouponId;
use couponrush::redis::{Attempt, Taken};

use crate::helpers::{Customer, RedisServer, Stores, TestApp, customers, eventually, unread};

const WAIT: Duration = Duration::from_secs(5);
/// Words, too few numbers, and a coupon with the id 0.
const BAD: [&str; 3] = ["nonsense", "1:2:3", "0:1:1:1:0:1"];

async fn selling(format: KnownFormat) -> (TestApp, CouponId, Vec<Customer>) {
    let app = TestApp::start_with(|args| args.format = format).await;
    let coupon = offer(&app).await;
    let crowd = customers(&app.stores, "one", 4).await;
    (app, coupon, crowd)
}

/// Makes the coupon `shop/rush` of ten units.
async fn offer(app: &TestApp) -> CouponId {
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 10).await;
    let id = app.stores.number("SELECT CAST(id AS SIGNED) FROM coupons").await;
    CouponId(id.try_into().expect("an id is positive"))
}

/// Puts the entries `bad` and a claim into the outbox. No handler holds the claim.
async fn fill(app: &TestApp, coupon: CouponId, customer: &Customer, bad: &[&str]) {
    for text in bad {
        let mut add = redis::cmd("XADD");
        add.arg(app.stores.keys().outbox()).arg("*").arg("c").arg(*text);
        app.stores.redis::<String>(&add).await;
    }
    let (connection, live) = (app.stores.connection().await, app.stores.live().await);
    let taken = app.stores.stock().take(&connection, &live, &Attempt::new(coupon, customer.user.id), WAIT).await;
    assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
}

async fn rows(app: &TestApp) -> i64 {
    app.stores.number("SELECT COUNT(*) FROM claims").await
}

async fn kept(app: &TestApp) -> u64 {
    app.stores.redis(redis::cmd("XLEN").arg(app.stores.keys().unread())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entry_that_cannot_be_read_is_kept_until_an_operator_drops_it_and_nothing_behind_it_waits() {
    let (app, coupon, crowd) = selling(KnownFormat::Newest).await;
    fill(&app, coupon, &crowd[0], &BAD).await;
    eventually("the claim after the bad entries is stored", || async { rows(&app).await == 1 }).await;
    app.settle().await;
    assert_eq!((kept(&app).await, app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await), (3, 0));
    eventually("the metric shows them", || async {
        app.instances[0].ops.get("/metrics", "").await.text.contains("\ncouponrush_unread_entries 3\n")
    })
    .await;
    let findings = app.audit().await.findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].what.contains("has 3 entries"), "{findings:?}");

    // A claim of the loading may be in an unreadable entry, so a rebuild keeps only the unreadable entries.
    let before = app.stores.live().await;
    app.stores.redis::<u64>(redis::cmd("DEL").arg(app.stores.keys().live())).await;
    eventually("the shard is loaded again", || async { app.stores.live().await.epoch > before.epoch }).await;
    eventually("the service is ready", || app.instances[0].ops.is_ready()).await;
    assert_eq!((kept(&app).await, rows(&app).await), (3, 1));
    assert_eq!(app.client().claim("shop", "rush", &crowd[1].token).await.status, 201);

    let (done, listed) = unread(&app.stores, &["list"]).await;
    assert!(done && listed.contains("of epoch 1: [\"c\", \"nonsense\"]"), "{listed}");
    assert!(listed.ends_with("3 entries could not be read\n"), "{listed}");
    let first = listed.split(':').next().expect("a line begins with an id");
    let (done, printed) = unread(&app.stores, &["drop", first]).await;
    assert!(done && printed == "1 entries dropped\n", "{printed}");
    let (done, printed) = unread(&app.stores, &["drop", "first"]).await;
    assert!(!done && printed.contains("is neither the id of an unread entry nor `all`"), "{printed}");
    let (done, printed) = unread(&app.stores, &["drop", "all"]).await;
    assert!(done && printed == "2 entries dropped\n", "{printed}");
    assert_eq!(app.audit().await.findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_drain_of_a_rebuild_keeps_an_entry_whole_and_stores_its_claims() {
    let (app, coupon, crowd) = selling(KnownFormat::Newest).await;
    // One entry with a claim and an unreadable part.
    let mixed = format!("{coupon}:{}:1:1:0:1 {coupon}:future", crowd[3].user.id);
    let mut delete = redis::cmd("DEL");
    delete.arg(app.stores.keys().live());
    let mut fields = redis::cmd("XADD");
    fields.arg(app.stores.keys().outbox()).arg("*").arg("c").arg(&mixed).arg("more").arg("kept, too");
    app.stores.redis::<String>(&fields).await;
    app.stores.redis::<u64>(&delete).await;
    eventually("the shard is loaded again", || async { app.stores.live().await.epoch.0 == 2 }).await;
    app.settle().await;
    assert_eq!((kept(&app).await, rows(&app).await), (1, 1));
    let (_, listed) = unread(&app.stores, &["list"]).await;
    assert!(listed.contains(&format!("[\"c\", \"{mixed}\", \"more\", \"kept, too\"]")), "{listed}");
    unread(&app.stores, &["drop", "all"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_cannot_be_read_is_sold_again_after_a_rebuild() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await;
    let coupon = offer(&app).await;
    let crowd = customers(&app.stores, "crowd", 11).await;
    fill(&app, coupon, &crowd[10], &[]).await;
    let outbox = app.stores.keys().outbox().to_string();
    app.stores.redis::<u64>(redis::cmd("DEL").arg(&outbox)).await;
    app.stores.redis::<String>(redis::cmd("XADD").arg(&outbox).arg("*").arg("c").arg("9:9:9:9:9:9:9:9")).await;
    // Redis restarts with its data. A rebuild without an unreadable entry would keep the data.
    redis.kill();
    redis.restart().await;
    eventually("the shard is loaded again", || async { app.stores.live().await.epoch.0 == 2 }).await;
    eventually("the service is ready", || app.instances[0].ops.is_ready()).await;
    for customer in &crowd[..10] {
        assert_eq!(app.client().claim("shop", "rush", &customer.token).await.status, 201);
    }
    app.settle().await;
    assert_eq!((kept(&app).await, rows(&app).await), (1, 10));
    unread(&app.stores, &["drop", "all"]).await;
    drop(app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_format_1_such_an_entry_is_poisoned() {
    let (app, coupon, crowd) = selling(KnownFormat::Previous).await;
    fill(&app, coupon, &crowd[0], &BAD).await;
    eventually("the claim after the bad entries is stored", || async { rows(&app).await == 1 }).await;
    app.settle().await;
    assert_eq!(kept(&app).await, 0);
    let poisoned = app.stores.texts("SELECT claim AS value FROM poisoned_claims ORDER BY id").await;
    assert_eq!(poisoned, BAD);
    let ready = app.instances[0].ops.get("/readyz", "").await.json();
    assert_eq!(ready["ledger"]["poisoned"], 3, "{ready}");
    let findings = app.audit().await.findings;
    assert_eq!(findings.len(), 3, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.what == "was poisoned"), "{findings:?}");
    app.stores.execute("DELETE FROM poisoned_claims").await;
}
