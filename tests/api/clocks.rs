//! Clocks that step, and data from another time.

use std::time::{Duration, Instant};

use couponrush::base::now_ms;
use couponrush::domain::{ActivityId, CouponId, Refusal, ShardId};
use couponrush::ops::{Audit, Repair};
use couponrush::redis::{Attempt, Taken};
use serde_json::json;

use crate::helpers::{
    Clock, Customer, RedisServer, Serving, Stores, TestApp, customers, eventually, proof, terms, without_rates,
};

/// The first entry of 1 January 2100.
const LATER_CENTURY: &str = "4102444800000-0";
const COUPON: CouponId = CouponId(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The scheduled coupon `shop/sale` with an activity that sells `speed` units a second (0: no limit), and customers.
async fn sale(app: &TestApp, speed: u32, crowd: usize) -> (ActivityId, Vec<Customer>) {
    let saler = app.client().user("shop", "saler").await;
    let body = json!({"name": "sale", "amount": 1_000, "stock": 1, "scheduled": true});
    assert_eq!(app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
    let mut terms = terms(-7_200, 7_200);
    terms.speed = speed;
    let id = app.instances[0].schedule(COUPON, &terms).await.expect("the activity can be created");
    (id, customers(&app.stores, "crowd", crowd).await)
}

/// Makes the outbox continue from a later century, as after a clock that was wrong for a moment.
async fn move_outbox_ahead(stores: &Stores) {
    let outbox = stores.keys().outbox().to_string();
    stores.redis::<String>(redis::cmd("XADD").arg(&outbox).arg(LATER_CENTURY).arg("c").arg("foreign")).await;
    assert_eq!(stores.redis::<u64>(redis::cmd("XDEL").arg(&outbox).arg(LATER_CENTURY)).await, 1);
}

/// Claims as each customer, again after a refusal by the quota of the second. Panics after 20 s without a claim.
async fn claim_all(app: &TestApp, crowd: &[Customer]) -> Vec<String> {
    let mut tokens = Vec::new();
    for customer in crowd {
        let began = Instant::now();
        let answer = loop {
            let answer = app.client().claim("shop", "sale", &customer.token).await;
            if answer.result() != "try-again" && answer.status != 503 {
                break answer;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(answer.result(), "claimed", "{answer:?}");
        tokens.push(answer.header("Claim-Token").to_owned());
    }
    tokens
}

async fn assert_same_tokens(app: &TestApp, crowd: &[Customer], tokens: &[String]) {
    for (customer, token) in crowd.iter().zip(tokens) {
        let answer = app.client().claim("shop", "sale", &customer.token).await;
        assert_eq!((answer.result(), answer.header("Claim-Token")), ("already-claimed", token.as_str()));
    }
}

/// Deletes `live`, so that everything is loaded from MySQL again.
async fn rebuild(app: &TestApp) {
    let live = app.stores.live().await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys().live())).await;
    eventually("the shard is loaded again", || async {
        app.stores.live().await != live && app.client().is_ready().await
    })
    .await;
}

/// A claim without a handler, as after a client's reset: only the sweep stores the claim.
async fn orphan(app: &TestApp, customer: &Customer) {
    let (connection, live) = (app.stores.connection().await, app.stores.live().await);
    let schedule = app.instances[0].shared.selling.activities.of(COUPON);
    let activity = schedule.as_deref().and_then(|schedule| schedule.at(connection.server_ms()));
    let activity_revision = schedule.as_ref().map_or(0, |schedule| schedule.revision);
    let attempt = Attempt { activity_revision, activity, ..Attempt::new(COUPON, customer.user.id) };
    let began = Instant::now();
    loop {
        match app.stores.stock().take(&connection, &live, &attempt, Duration::from_secs(5)).await {
            Ok(Taken::Claimed { .. }) => return,
            Ok(Taken::Refused(Refusal::TryAgain)) if began.elapsed() < Duration::from_secs(5) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn eventually_stored(app: &TestApp, customer: &Customer) {
    let row = format!("SELECT COUNT(*) FROM claims WHERE user_id = {}", customer.user.id.0);
    eventually("the sweep has stored the claim", || async { app.stores.number(&row).await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outbox_from_a_later_century_stops_no_quota_and_dates_no_claim() {
    let app = TestApp::start_without_rates().await;
    let (_, crowd) = sale(&app, 2, 7).await;
    move_outbox_ahead(&app.stores).await;
    let began = now_ms();
    let tokens = claim_all(&app, &crowd[..6]).await;
    orphan(&app, &crowd[6]).await;
    eventually_stored(&app, &crowd[6]).await;
    let times = format!("SELECT COUNT(*) FROM claims WHERE claimed_at BETWEEN {began} AND {}", now_ms());
    assert_eq!(app.stores.number(&times).await, 7, "every claim is dated when it was granted");
    let most = "SELECT MAX(sold) FROM (SELECT COUNT(*) AS sold FROM claims GROUP BY claimed_at DIV 1000) AS seconds";
    assert!(app.stores.number(most).await <= 2, "the quota of every second holds");
    let entries =
        "SELECT COUNT(*) FROM instances WHERE oldest_entry IS NOT NULL AND beat_at < NOW() - INTERVAL 5 SECOND";
    assert_eq!(app.stores.number(entries).await, 0, "the instance beats");

    assert_same_tokens(&app, &crowd[..6], &tokens).await;
    rebuild(&app).await;
    assert_same_tokens(&app, &crowd[..6], &tokens).await;
    assert_eq!(proof(&app.client().claim("shop", "sale", &crowd[6].token).await).seq, 7);
}

/// The token is the same while the claim is in the outbox, and the audit restores rows from Redis with the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_of_an_outbox_that_is_ahead_keeps_its_time_while_it_waits() {
    let app = TestApp::start_without_rates().await;
    let (_, crowd) = sale(&app, 0, 2).await;
    move_outbox_ahead(&app.stores).await;
    let lock = app.stores.lock_table("claims").await;
    let began = now_ms();
    let tokens = claim_all(&app, &crowd).await;
    assert_same_tokens(&app, &crowd, &tokens).await;
    eventually("the age of the waiting claims is shown", || async {
        let text = app.instances[0].ops.get("/metrics", "").await.text;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            line.unwrap_or(0.0)
        };
        let ages = ["couponrush_outbox_oldest_seconds", "couponrush_ledger_lag_seconds"].map(value);
        let waited = Duration::from_millis(now_ms() - began).as_secs_f64();
        ages.iter().all(|age| (1.0..=waited).contains(age))
    })
    .await;
    drop(lock);
    app.settle().await;
    let rows = "SELECT CAST(claimed_at AS CHAR) AS value FROM claims ORDER BY seq";
    let times = app.stores.texts(rows).await;
    app.stores.execute("DELETE FROM claims; UPDATE coupons SET left_count = amount").await;
    let pool = app.stores.pool();
    let audit = Audit::new(app.stores.db.clone(), pool, app.stores.keys(), ShardId::FIRST);
    audit.run(Repair::All).await.expect("the stores can be audited");
    assert_eq!(app.stores.texts(rows).await, times);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_ahead_of_the_clock_refuses_nobody() {
    let app = TestApp::start_without_rates().await;
    let (id, crowd) = sale(&app, 2, 4).await;
    let counts = app.stores.keys().activity(id).to_string();
    for ahead in [HOUR, Duration::from_secs(10), Duration::from_secs(2)] {
        let second = now_ms() / 1_000 + ahead.as_secs();
        let mut write = redis::cmd("HSET");
        write.arg(&counts).arg("second").arg(second).arg("in_second").arg(u32::MAX);
        app.stores.redis::<u64>(&write).await;
        let answer = app.client().claim("shop", "sale", &crowd[usize::from(ahead < HOUR)].token).await;
        assert!(["claimed", "already-claimed"].contains(&answer.result()), "{ahead:?}: {answer:?}");
    }
    // Clocks are adjusted by less than a second. The next second's quota is not sold twice.
    let second = now_ms() / 1_000 + 1;
    let mut write = redis::cmd("HSET");
    write.arg(&counts).arg("second").arg(second).arg("in_second").arg(2);
    app.stores.redis::<u64>(&write).await;
    assert_eq!(app.client().claim("shop", "sale", &crowd[2].token).await.result(), "try-again");
    claim_all(&app, &crowd[3..]).await;
}

/// What a step back by an hour leaves behind: keys with a TTL that lasts for an hour, and beats of a dead instance
/// dated an hour ahead. Its row says that it holds the first entry of the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_step_back_the_dead_hold_up_neither_the_sweep_nor_a_rebuild() {
    let app = TestApp::start_without_rates().await;
    let (_, crowd) = sale(&app, 0, 2).await;
    let (stores, keys) = (&app.stores, app.stores.keys());
    stores
        .execute(
            "INSERT INTO instances (instance, process, beat_at, oldest_entry, format) \
             VALUES ('elsewhere/10.0.0.1:1', 'feed', NOW(3) + INTERVAL 1 HOUR, '1-1', 2)",
        )
        .await;
    let set = |key: &str, value: &str| {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(3_600_000);
        command
    };
    stores.redis::<()>(&set(&keys.sweeper().to_string(), "feed")).await;
    stores.redis::<()>(&set(&keys.beat("feed"), "1")).await;
    orphan(&app, &crowd[0]).await;
    eventually_stored(&app, &crowd[0]).await;

    stores.redis::<()>(&set(&keys.live().to_string(), "rebuild:feed")).await;
    eventually("the gate closes", || async { !app.client().is_ready().await }).await;
    eventually("the token of the dead ends", || async {
        let live: Option<String> = stores.redis(redis::cmd("GET").arg(keys.live())).await;
        live.as_deref() != Some("rebuild:feed")
    })
    .await;
    eventually("the gate opens again", || async { app.client().is_ready().await }).await;
    claim_all(&app, &crowd[1..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_that_is_dated_in_the_future_is_published_too() {
    let app = TestApp::start().await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "plain", 10).await;
    let change =
        "UPDATE coupons SET revision = revision + 1, description = 'new', changed_at = NOW(3) + INTERVAL 1 HOUR";
    app.stores.execute(change).await;
    let coupon = app.stores.keys().coupon(COUPON).to_string();
    eventually("the repair publishes the change", || async {
        app.stores.redis::<String>(redis::cmd("HGET").arg(&coupon).arg("description")).await == "new"
    })
    .await;
}

/// Steps of Redis' clock, forward and back, in the middle of a sale.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sale_goes_on_when_the_clock_of_redis_steps() {
    let clock = Clock::new();
    let redis = RedisServer::start_by(Some(clock.clone())).await;
    let stores = Stores::create(Some(redis.url())).await;
    let app = TestApp::start_on(stores, without_rates).await;
    let (_, crowd) = sale(&app, 50, 60).await;
    let mut tokens = Vec::new();
    for (step, ahead_s) in [0, 10, 0, 3_600, 0, -10, -3_600, 0].into_iter().enumerate() {
        clock.set(ahead_s);
        let began = Instant::now();
        tokens.extend(claim_all(&app, &crowd[step * 7..step * 7 + 6]).await);
        assert!(began.elapsed() < Duration::from_secs(5), "step {step}: claims took {:?}", began.elapsed());
        orphan(&app, &crowd[step * 7 + 6]).await;
        eventually_stored(&app, &crowd[step * 7 + 6]).await;
        let real = i64::try_from(now_ms()).expect("a time in this age") + ahead_s * 1_000;
        let latest = app.stores.number("SELECT claimed_at FROM claims ORDER BY seq DESC LIMIT 1").await;
        assert!((latest - real).abs() < 20_000, "step {step}: a claim is dated {latest}, and the clock says {real}");
    }
    app.settle().await;
    let claimed: Vec<Customer> = crowd.chunks(7).take(8).flat_map(|crowd| crowd[..6].to_vec()).collect();
    assert_same_tokens(&app, &claimed, &tokens).await;
    rebuild(&app).await;
    assert_same_tokens(&app, &claimed, &tokens).await;
    drop(app);
    drop(redis);
    clock.remove();
}

/// Steps of the clock of the program, and of everything that is dated by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sale_goes_on_when_the_clock_of_the_program_steps() {
    let app = TestApp::start_without_rates().await;
    let (_, crowd) = sale(&app, 0, 12).await;
    let clock = Clock::new();
    let serving = Serving::start_by(&app.stores, &clock).await;
    let before = now_ms();
    for (step, ahead_s) in [0, 10, 0, -10, -3_000, 0].into_iter().enumerate() {
        clock.set(ahead_s);
        for customer in &crowd[step * 2..step * 2 + 2] {
            let answer = serving.client.claim("shop", "sale", &customer.token).await;
            assert_eq!(answer.result(), "claimed", "step {step}: {answer:?}");
        }
        assert!(serving.ops.is_ready().await, "step {step}");
    }
    app.settle().await;
    let dated = format!("SELECT COUNT(*) FROM claims WHERE claimed_at BETWEEN {before} AND {}", now_ms());
    assert_eq!(app.stores.number(&dated).await, 12);
    let (stopped, log) = serving.terminate().await;
    assert!(stopped, "{log}");
    clock.remove();
}
