//! The ways of a claim to MySQL: through the channel, through the sweep, both at the same time, and while MySQL is
//! unavailable.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use couponrush::domain::{CouponId, Epoch};
use couponrush::mysql::claims::{self, StoreOutcome};
use couponrush::mysql::ledgers::Fence;
use couponrush::redis::OutboxEntry;
use couponrush::redis::{Attempt, Head, Outbox, ReadTo, Taken};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::helpers::{Customer, Got, Stores, TestApp, customers, eventually, proof, rush};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running service with a coupon, `shop/rush`, of this many units.
async fn selling(units: u32, backlog_max: u32) -> (TestApp, CouponId) {
    let app = TestApp::start_with(|args| args.backlog_max = backlog_max).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", units).await;
    let id = app.stores.number("SELECT id FROM coupons").await;
    (app, CouponId(u64::try_from(id).expect("an id is positive")))
}

async fn rows(stores: &Stores) -> i64 {
    stores.number("SELECT COUNT(*) FROM claims").await
}

/// Asserts that the rows are exactly the claims proved by the customers' tokens.
async fn assert_stored(stores: &Stores, crowd: &[Customer], got: &[Got]) {
    let proved: BTreeSet<String> = crowd
        .iter()
        .zip(got)
        .filter(|(_, got)| got.has_unit())
        .map(|(customer, got)| {
            let proof = proof(got.answer.as_ref().expect("a result comes from an answer"));
            format!("{}:{}", customer.user.id, proof.seq)
        })
        .collect();
    let stored = stores.texts("SELECT CONCAT(user_id, ':', seq) AS value FROM claims").await;
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), proved);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_whose_handlers_vanished_are_swept_within_seconds() {
    let (app, coupon) = selling(300, 100_000).await;
    let crowd = customers(&app.stores, "gone", 300).await;
    let (connection, live) = (app.stores.connection().await, app.stores.live().await);
    for customer in &crowd {
        // As after a handler is dropped before it fills its slot.
        let stock = app.stores.stock();
        let taken =
            stock.take(&connection, &live, &Attempt::new(coupon, customer.user.id), Duration::from_secs(5)).await;
        assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
    }
    let made = Instant::now();
    eventually("the claims are stored", || async { rows(&app.stores).await == 300 }).await;
    assert!(made.elapsed() < Duration::from_secs(8), "swept after {:?}", made.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_reset_their_connections_lose_no_claim() {
    let (app, coupon) = selling(500, 100_000).await;
    let crowd = customers(&app.stores, "rude", 600).await;
    let address = app.instances[0].address;
    let mut tasks = JoinSet::new();
    for (n, chunk) in crowd.chunks(60).enumerate() {
        let tokens: Vec<String> = chunk.iter().map(|customer| customer.token.clone()).collect();
        tasks.spawn_blocking(move || {
            for (m, token) in tokens.iter().enumerate() {
                claim_and_reset(address, token, Duration::from_micros(((n * 61 + m) % 40 * 100) as u64));
            }
        });
    }
    tasks.join_all().await;
    app.settle().await;
    let mut claimed = redis::cmd("HGET");
    claimed.arg(app.stores.keys().coupon(coupon)).arg("claimed");
    let claimed: i64 = app.stores.redis(&claimed).await;
    assert!(claimed > 0, "all resets came before a claim was granted");
    assert_eq!(rows(&app.stores).await, claimed);
}

/// Sends a claim, waits, and resets the connection without reading.
fn claim_and_reset(address: SocketAddr, token: &str, wait: Duration) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("sockets are free");
    socket.connect(&address.into()).expect("the service listens");
    socket.set_linger(Some(Duration::ZERO)).expect("the linger option can be set");
    let mut stream = std::net::TcpStream::from(socket);
    let head = "PATCH /api/users/shop/coupons/rush HTTP/1.1\r\nHost: x\r\nAuthorization: ";
    stream.write_all(format!("{head}{token}\r\n\r\n").as_bytes()).expect("the socket is connected");
    std::thread::sleep(wait);
    if wait > Duration::from_millis(3) {
        // Some clients read the begin of the answer.
        stream.set_read_timeout(Some(wait)).expect("the wait is not zero");
        let _ = stream.read(&mut [0; 16]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn channel_and_sweep_may_store_the_same_claims_at_once() {
    const UNITS: u32 = 1_500;
    let (mut app, _) = selling(UNITS, 100_000).await;
    app.start_another().await;
    let crowd = customers(&app.stores, "both", 2_500).await;
    let clients = [app.instances[0].client.clone(), app.instances[1].client.clone()];
    let stop = CancellationToken::new();
    let mut sweepers = JoinSet::new();
    for n in 0..2 {
        sweepers.spawn(sweep_everything(app.stores.clone(), format!("sweeper-{n}"), stop.clone()));
    }
    let got = rush(&clients, &crowd, ("shop", "rush"), 64, PATIENCE).await;
    app.settle().await;
    stop.cancel();
    let swept: usize = sweepers.join_all().await.iter().sum();
    assert!(swept > 0, "the sweepers found no entries");
    assert_eq!(got.iter().filter(|got| got.has_unit()).count(), UNITS as usize);
    assert_eq!(app.stores.number("SELECT left_count FROM coupons").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 0);
    assert_stored(&app.stores, &crowd, &got).await;
}

/// Sweeps all entries of any age, even those held by a running process. The channels bring the same claims.
async fn sweep_everything(stores: Stores, name: String, stop: CancellationToken) -> usize {
    let (connection, live) = (stores.connection().await, stores.live().await);
    let fence = Fence::new("s0", name.clone());
    let outbox = Outbox::new(stores.keys(), name, Duration::from_secs(5));
    let mut mysql = stores.db.connect_alone().await.expect("MySQL answers");
    let mut swept = 0;
    while !stop.is_cancelled() {
        stores.redis::<u64>(redis::cmd("DEL").arg(stores.keys().sweeper())).await;
        let head = outbox.head(&connection, live.as_str(), live.epoch, ReadTo::End, 200).await;
        let Ok(Head::Entries { entries, .. }) = head else { continue };
        let claims = couponrush::redis::claims(&entries);
        if claims.is_empty() {
            continue;
        }
        if let Ok(StoreOutcome::Done(outcome)) = claims::store(&mut mysql, &fence, Epoch(live.epoch.0), &claims).await {
            let done: Vec<_> = entries.iter().map(OutboxEntry::done).collect();
            outbox
                .delete(&connection, live.as_str(), fence.committed(), &done)
                .await
                .expect("Redis executes the command");
            swept += outcome.inserted;
        } else {
            mysql = stores.db.connect_alone().await.expect("MySQL answers");
        }
    }
    swept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_mysql_stores_nothing_claims_go_on_and_are_stored_afterwards() {
    let (app, _) = selling(400, 100_000).await;
    let crowd = customers(&app.stores, "patient", 400).await;
    let lock = app.stores.lock_table("claims").await;
    let got = rush(&[app.client().clone()], &crowd, ("shop", "rush"), 16, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit), "claims are answered while MySQL is locked");
    eventually("the service is ready and shows the age of waiting claims", || async {
        let ready = app.instances[0].ops.get("/readyz", "").await;
        ready.status == 200 && ready.json()["ledger"]["lag_ms"].as_u64().expect("the report has the field") > 0
    })
    .await;
    let mut waiting = redis::cmd("GET");
    waiting.arg(app.stores.keys().waiting());
    assert_eq!(app.stores.redis::<u64>(&waiting).await, 400);
    drop(lock);
    app.settle().await;
    assert_stored(&app.stores, &crowd, &got).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_connections_and_deadlocks_lose_and_double_nothing() {
    let (app, coupon) = selling(3_000, 100_000).await;
    let saler = app.client().log_in("shop", crate::helpers::PASSWORD).await.header("Authorization").to_owned();
    app.client().create_coupon("shop", &saler, "other", 10).await;
    let crowd = customers(&app.stores, "tough", 1_500).await;
    let stop = CancellationToken::new();
    let killing = tokio::spawn(kill_for_a_while(app.stores.clone(), stop.clone()));
    let locking = tokio::spawn(lock_backwards(app.stores.clone(), coupon, stop.clone()));
    let clients = [app.client().clone()];
    let got = rush(&clients, &crowd, ("shop", "rush"), 16, PATIENCE).await;
    stop.cancel();
    assert!(killing.await.expect("the task does not panic") > 0, "no connection was killed");
    locking.await.expect("the task does not panic");
    app.settle().await;
    assert!(got.iter().all(Got::has_unit));
    assert_eq!(app.stores.number("SELECT left_count FROM coupons WHERE name = 'rush'").await, 1_500);
    assert_stored(&app.stores, &crowd, &got).await;
}

async fn kill_for_a_while(stores: Stores, stop: CancellationToken) -> usize {
    let mut killed = 0;
    while !stop.is_cancelled() {
        killed += stores.kill_connections().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    killed
}

/// Locks a coupon's row and then the shard's row, in the reverse of the ledger's order.
async fn lock_backwards(stores: Stores, coupon: CouponId, stop: CancellationToken) {
    use diesel_async::SimpleAsyncConnection;
    while !stop.is_cancelled() {
        let Ok(mut connection) = stores.db.connect_alone().await else { continue };
        let sql = format!(
            "START TRANSACTION; SELECT id FROM coupons WHERE id = {coupon} FOR UPDATE; DO SLEEP(0.05); \
             SELECT epoch FROM shards WHERE shard = 's0' FOR UPDATE; ROLLBACK"
        );
        let _ = connection.batch_execute(&sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_backlog_refuses_with_nothing_done_and_sales_resume() {
    let (app, coupon) = selling(2_000, 1_000).await;
    let crowd = customers(&app.stores, "many", 1_100).await;
    let (first, late) = crowd.split_at(1_000);
    let clients = [app.client().clone()];
    let lock = app.stores.lock_table("claims").await;
    let got = rush(&clients, first, ("shop", "rush"), 16, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit));

    let refused = rush(&clients, late, ("shop", "rush"), 16, Duration::ZERO).await;
    for got in &refused {
        let answer = got.answer.as_ref().expect("the customer was answered");
        assert_eq!((answer.status, answer.error().2.as_str()), (503, "overloaded"), "{answer:?}");
        assert!(answer.header("Retry-After").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
    }
    let mut claimed = redis::cmd("HGET");
    claimed.arg(app.stores.keys().coupon(coupon)).arg("claimed");
    assert_eq!(app.stores.redis::<u32>(&claimed).await, 1_000, "refused attempts take no unit");
    let mut held = redis::cmd("EXISTS");
    let keys = app.stores.keys();
    held.arg(late.iter().map(|customer| keys.holder(customer.user.id)).collect::<Vec<_>>());
    assert_eq!(app.stores.redis::<u32>(&held).await, 0, "refused customers hold no claim");

    drop(lock);
    let got = rush(&clients, late, ("shop", "rush"), 16, PATIENCE).await;
    assert!(got.iter().all(Got::has_unit), "sales resume");
    app.settle().await;
    assert_eq!(rows(&app.stores).await, 1_100);
}
