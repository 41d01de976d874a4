//! Claims that MySQL refuses: each is poisoned alone, counted, listed and acknowledged, and the others are stored.

use std::sync::Arc;
use std::time::Duration;

use couponrush::claim::Ledger;
use couponrush::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, UserId};
use couponrush::mysql::migrate::migrate;
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    Customer, Got, RedisServer, Stores, TestApp, audit, customers, eventually, poisoned, rush, without_rates,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A service with a Redis server of its own, and `shop/rush` of 100 units.
async fn selling(redis: &RedisServer) -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, without_rates).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 100).await;
    let crowd = customers(&app.stores, "crowd", 60).await;
    (app, crowd)
}

/// Makes MySQL refuse every claim of the customer, as after an operator's change of the tables.
async fn refuse(app: &TestApp, customer: &Customer) {
    let check = format!("ALTER TABLE claims ADD CONSTRAINT refused CHECK (user_id <> {})", customer.user.id);
    app.stores.execute(&check).await;
}

async fn claim_all(app: &TestApp, crowd: &[Customer]) -> Vec<Got> {
    rush(&[app.client().clone()], crowd, ("shop", "rush"), 16, PATIENCE).await
}

async fn poisoned_count(app: &TestApp) -> u64 {
    let ready = app.instances[0].ops.get("/readyz", "").await.json();
    ready["ledger"]["poisoned"].as_u64().expect("the report has the number")
}

/// The value of `couponrush_poisoned_claims`.
async fn open_claims(app: &TestApp) -> String {
    let page = app.instances[0].ops.get("/metrics", "").await.text;
    let value = page.lines().find_map(|line| line.strip_prefix("couponrush_poisoned_claims "));
    value.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_mysql_refuses_is_poisoned_alone_and_acknowledged() {
    let redis = RedisServer::start().await;
    let (app, crowd) = selling(&redis).await;
    refuse(&app, &crowd[7]).await;
    let got = claim_all(&app, &crowd[..40]).await;
    assert!(got.iter().all(Got::has_unit));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 39);
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 61);
    let reasons = app.stores.texts("SELECT reason AS value FROM poisoned_claims").await;
    assert!(matches!(&reasons[..], [reason] if reason.contains("refused")), "{reasons:?}");
    assert_eq!(poisoned_count(&app).await, 1);
    eventually("the metric counts the claim", || async { open_claims(&app).await == "1" }).await;
    let again = claim_all(&app, &crowd[7..8]).await;
    assert_eq!(again[0].result(), "already-claimed", "the customer gets the same answer");

    let (holds, output) = audit(&app.stores, &[]).await;
    assert!(!holds && output.contains("was poisoned") && output.contains("in Redis only"), "{output}");
    // The customer gets the unit after all, because the operator corrects the table.
    app.stores.execute("ALTER TABLE claims DROP CONSTRAINT refused").await;
    let (_, output) = audit(&app.stores, &["--repair"]).await;
    assert!(output.contains("1 claims that only Redis had were written"), "{output}");
    let (done, list) = poisoned(&app.stores, &["list"]).await;
    assert!(done && list.contains("1: claim 1:") && list.contains("1 poisoned claims to acknowledge"), "{list}");
    let (done, _) = poisoned(&app.stores, &["acknowledge", "one", "--by", "ann"]).await;
    assert!(!done, "an id is a number");
    let (done, printed) = poisoned(&app.stores, &["acknowledge", "99", "1", "--by", "ann"]).await;
    assert!(done && printed.contains("1 poisoned claims acknowledged by ann"), "{printed}");
    let (_, list) = poisoned(&app.stores, &["list"]).await;
    assert!(list.starts_with("0 poisoned claims to acknowledge, 1 acknowledged"), "{list}");
    let (_, list) = poisoned(&app.stores, &["list", "--all"]).await;
    assert!(list.contains("acknowledged by ann"), "{list}");
    eventually("the metric counts no acknowledged claim", || async { open_claims(&app).await == "0" }).await;
    let (holds, output) = audit(&app.stores, &[]).await;
    assert!(holds && output.contains("1 poisoned claims are acknowledged"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_drains_past_a_refused_claim_and_its_unit_is_sold_once() {
    let mut redis = RedisServer::start().await;
    let (mut app, crowd) = selling(&redis).await;
    assert!(claim_all(&app, &crowd[..10]).await.iter().all(Got::has_unit));
    app.settle().await;
    refuse(&app, &crowd[14]).await;
    // Claims known only to Redis. The program stops meanwhile.
    let lock = app.stores.lock_table("claims").await;
    let got = claim_all(&app, &crowd[10..30]).await;
    assert!(got.iter().all(Got::has_unit));
    app.stop().await;
    drop(lock);
    redis.kill();
    redis.restart().await;
    app.start_another().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 29);
    assert_eq!(poisoned_count(&app).await, 1, "the drain counts as the ledger does");
    // The unit is free again, because MySQL lacks the claim. It is sold to somebody else, and only once.
    app.stores.execute("ALTER TABLE claims DROP CONSTRAINT refused").await;
    assert!(claim_all(&app, &crowd[30..]).await.iter().all(Got::has_unit));
    assert_eq!(claim_all(&app, &crowd[14..15]).await[0].result(), "claimed");
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(DISTINCT seq) FROM claims").await, 60);
    let (done, printed) = poisoned(&app.stores, &["acknowledge", "all", "--by", "ann"]).await;
    assert!(done && printed.contains("1 poisoned claims"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_restarts_with_the_holder_of_a_poisoned_claim_sells_no_unit_twice() {
    let mut redis = RedisServer::start().await;
    let (mut app, crowd) = selling(&redis).await;
    refuse(&app, &crowd[7]).await;
    assert!(claim_all(&app, &crowd[..20]).await.iter().all(Got::has_unit));
    app.settle().await;
    app.stores.execute("ALTER TABLE claims DROP CONSTRAINT refused").await;
    app.stop().await;
    redis.kill();
    redis.restart().await;
    app.start_another().await;
    // Redis has lost nothing, but has a claim that MySQL lacks. So it was loaded from nothing.
    assert_eq!(claim_all(&app, &crowd[7..8]).await[0].result(), "claimed");
    assert!(claim_all(&app, &crowd[20..]).await.iter().all(Got::has_unit));
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(DISTINCT seq) FROM claims").await, 60);
    app.stores.execute("DELETE FROM poisoned_claims").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_that_times_out_is_stored_in_halves() {
    const CLAIMS: u32 = 64;
    let stores = Stores::create(None).await;
    migrate(&stores.db).await.expect("a new database can be migrated");
    stores.execute("UPDATE shards SET epoch = 3, state = 'live', run_id = 'r'").await;
    let columns = "id, saler_id, name, amount, left_count, face_value, description";
    stores.execute(&format!("INSERT INTO coupons ({columns}) VALUES (1, 1, 'c', 100, 100, 5, '')")).await;
    // A row takes 30 ms, so a whole batch takes longer than the timeout of a second.
    stores.execute("CREATE TRIGGER slow BEFORE INSERT ON claims FOR EACH ROW DO SLEEP(0.03)").await;
    let (ledger, channel) = Ledger::new(1_000, Arc::default(), Arc::default());
    for seq in 1..=CLAIMS {
        let entry = EntryId { ms: u64::from(seq), counter: 0 };
        let (coupon, user, activity) = (CouponId(1), UserId(seq.into()), ActivityId(0));
        let claim = Claim { coupon, user, entry, seq, activity, epoch: Epoch(3), nth: 1, claimed_at_ms: entry.ms };
        ledger.reserve().expect("there is room").put(claim, 1);
    }
    let persister = stores.persister(&ledger, Duration::from_secs(1), Duration::from_secs(60));
    let close = CancellationToken::new();
    let running = tokio::spawn(persister.run(channel, close.clone()));
    eventually("every claim is stored", || async { ledger.unsettled() == 0 }).await;
    close.cancel();
    assert_eq!(running.await.expect("the task does not panic"), 0);
    assert_eq!(stores.number("SELECT COUNT(*) FROM claims").await, i64::from(CLAIMS));
    assert_eq!(stores.number("SELECT left_count FROM coupons").await, 100 - i64::from(CLAIMS));
    assert!(ledger.state().failures() >= 1 && ledger.state().poisoned() == 0);
    stores.remove().await;
}
