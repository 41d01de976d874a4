//! Commits that come late or never: MySQL away, refused and late claims, lost connections, a stop, a loss of Redis.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::claim::{COMMIT_WAIT, Ledger, Teller, Told, Waiters};
use couponrush::domain::{ActivityId, Claim, CouponId, EntryId, Epoch, UserId};
use couponrush::mysql::migrate::migrate;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    AT_ONCE, PATIENCE, RUSH, all_wait, assert_stored, assert_unknown, claim_stored, rows_of, selling, start,
    until_waiting,
};
use crate::helpers::{
    Customer, Got, MysqlServer, RedisServer, Stores, TestApp, eventually, proof, rush, without_rates,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_commit_in_time_the_outcome_is_unknown_and_asking_again_tells() {
    let mut mysql = MysqlServer::start().await;
    let app = TestApp::start_on(Stores::create_on(&mysql.url(), None).await, without_rates).await;
    let crowd = selling(&app).await;
    let known = claim_stored(app.client(), &crowd[4]).await;
    assert_stored(&known, 201);
    app.settle().await;
    mysql.kill();
    for _ in 0..2 {
        let began = Instant::now();
        assert_unknown(&claim_stored(app.client(), &crowd[0]).await);
        assert!(began.elapsed() >= COMMIT_WAIT.mul_f64(0.9), "answered after {:?}", began.elapsed());
        assert!(began.elapsed() < COMMIT_WAIT + AT_ONCE, "answered after {:?}", began.elapsed());
    }
    // Nobody can tell whether MySQL still has a claim that has left the outbox.
    assert_unknown(&claim_stored(app.client(), &crowd[4]).await);
    let granted = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((granted.status, granted.header("Claim-Durability")), (204, "granted"), "{granted:?}");
    mysql.start_again();
    eventually("MySQL answers", || async { app.stores.db.ping().await.is_ok() }).await;
    eventually("asking again tells", || async {
        let again = claim_stored(app.client(), &crowd[0]).await;
        again.status == 204 && again.header("Claim-Token") == granted.header("Claim-Token")
    })
    .await;
    assert_eq!(rows_of(&app.stores, &crowd[0], &granted).await, 1);
    assert_stored(&claim_stored(app.client(), &crowd[4]).await, 204);
    drop(app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_poisoned_claim_is_an_unknown_outcome_at_once() {
    let (app, crowd) = start().await;
    let check = format!("ALTER TABLE claims ADD CONSTRAINT refused CHECK (user_id <> {})", crowd[7].user.id);
    app.stores.execute(&check).await;
    for attempt in 0..3 {
        let began = Instant::now();
        assert_unknown(&claim_stored(app.client(), &crowd[7]).await);
        assert!(began.elapsed() < AT_ONCE, "attempt {attempt} was answered after {:?}", began.elapsed());
        app.settle().await;
    }
    // The unit of another claim has the row of another customer, as after Redis went back in time.
    assert_stored(&claim_stored(app.client(), &crowd[9]).await, 201);
    app.settle().await;
    let give = async |from: &Customer, to: &Customer| {
        let (from, to) = (from.user.id, to.user.id);
        app.stores.execute(&format!("UPDATE claims SET user_id = {to} WHERE user_id = {from}")).await;
    };
    give(&crowd[9], &crowd[8]).await;
    assert_unknown(&claim_stored(app.client(), &crowd[9]).await);
    give(&crowd[8], &crowd[9]).await;
    // In a batch of many, the others are stored.
    let lock = app.stores.lock_table("claims").await;
    let mut crowd = crowd;
    crowd.remove(9);
    let refused = crowd.remove(7);
    let mut tasks = all_wait(app.client(), &crowd);
    until_waiting(&app, crowd.len()).await;
    drop(lock);
    while let Some(done) = tasks.join_next().await {
        assert_stored(&done.expect("the task does not panic").1, 201);
    }
    let granted = app.client().claim("shop", "rush", &refused.token).await;
    assert_eq!((granted.status, granted.header("Claim-Durability")), (204, "granted"), "{granted:?}");
    app.stores.execute("ALTER TABLE claims DROP CONSTRAINT refused").await;
    let (_, output) = crate::helpers::audit(&app.stores, &["--repair"]).await;
    assert!(output.contains("1 claims that only Redis had were written"), "{output}");
    assert_stored(&claim_stored(app.client(), &refused).await, 204);
    app.stores.execute("DELETE FROM poisoned_claims").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_resets_its_connection_gives_its_place_back_and_loses_nothing() {
    let (app, crowd) = start().await;
    let lock = app.stores.lock_table("claims").await;
    let address = app.instances[0].address;
    let sockets: Vec<_> = crowd[..10].iter().map(|customer| send_claim(address, &customer.token)).collect();
    until_waiting(&app, 10).await;
    let began = Instant::now();
    drop(sockets);
    until_waiting(&app, 0).await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    drop(lock);
    for customer in &crowd[..10] {
        let again = claim_stored(app.client(), customer).await;
        assert_stored(&again, 204);
        assert_eq!(rows_of(&app.stores, customer, &again).await, 1);
    }
}

/// Sends a claim that waits for the commit. Dropping the stream resets the connection.
fn send_claim(address: SocketAddr, token: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("sockets are free");
    socket.connect(&address.into()).expect("the service listens");
    socket.set_linger(Some(Duration::ZERO)).expect("the linger option can be set");
    let mut stream = TcpStream::from(socket);
    let head = format!("PATCH {RUSH} HTTP/1.1\r\nHost: x\r\nClaim-Wait: stored\r\nAuthorization: {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the socket is connected");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_answers_those_who_wait() {
    let (mut app, crowd) = start().await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd[..10]);
    until_waiting(&app, 10).await;
    app.instances[0].signal();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(lock);
    for (customer, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
        assert_eq!(rows_of(&app.stores, &customer, &answer).await, 1);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_wait_are_answered_in_spite_of_a_loss_of_redis() {
    let redis = RedisServer::start().await;
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, without_rates).await;
    let crowd = selling(&app).await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd[..10]);
    until_waiting(&app, 10).await;
    redis.command::<()>(&["FLUSHALL"]).await;
    let gate = app.instances[0].claiming().gate;
    let closing = async {
        while gate.live().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    tokio::time::timeout(Duration::from_millis(1_500), closing).await.expect("the loss is noticed");
    drop(lock);
    let mut answers = Vec::new();
    for (customer, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
        answers.push((customer, answer));
    }
    eventually("the service is ready", || app.instances[0].ops.is_ready()).await;
    for (customer, answer) in answers {
        let again = claim_stored(app.client(), &customer).await;
        assert_stored(&again, 204);
        assert_eq!(proof(&again).seq, proof(&answer).seq);
    }
    let rest = rush(&[app.client().clone()], &crowd[10..], ("shop", "rush"), 4, PATIENCE).await;
    assert!(rest.iter().all(Got::has_unit));
    drop(app);
}

/// A persister of its own, with a shard in epoch 4 that is being rebuilt, so claims of epoch 3 are late.
struct Storing {
    stores: Stores,
    ledger: Ledger,
    close: CancellationToken,
    running: JoinHandle<usize>,
}

impl Storing {
    async fn start() -> Self {
        let stores = Stores::create(None).await;
        migrate(&stores.db).await.expect("a new database can be migrated");
        stores.execute("UPDATE shards SET epoch = 4, state = 'rebuilding', run_id = 'r'").await;
        let columns = "id, saler_id, name, amount, left_count, face_value, description";
        stores.execute(&format!("INSERT INTO coupons ({columns}) VALUES (1, 1, 'c', 100, 100, 5, '')")).await;
        let (ledger, channel) = Ledger::new(1_000, Arc::new(Waiters::new(100)), Arc::default());
        let persister = stores.persister(&ledger, Duration::from_secs(10), Duration::from_millis(100));
        let close = CancellationToken::new();
        let running = tokio::spawn(persister.run(channel, close.clone()));
        Self { stores, ledger, close, running }
    }

    /// Hands a claim of epoch 3 over, and waits for it.
    async fn told(&self, seq: u32) -> Option<Told> {
        let entry = EntryId { ms: u64::from(seq), counter: 0 };
        let (coupon, user, activity) = (CouponId(1), UserId(seq.into()), ActivityId(0));
        let claim = Claim { coupon, user, entry, seq, activity, epoch: Epoch(3), nth: 1, claimed_at_ms: entry.ms };
        let waiter = self.ledger.state().waiters.place().expect("a place is free").register(claim);
        self.ledger.reserve().expect("there is room").put(claim, 1);
        let began = Instant::now();
        let told = waiter.told(Teller::Ledger, &self.stores.db).await;
        assert!(began.elapsed() < AT_ONCE, "told after {:?}", began.elapsed());
        told
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_claim_is_told_at_once_and_counts_as_stored_only_if_the_rebuild_stored_it() {
    let storing = Storing::start().await;
    assert_eq!(storing.told(1).await, Some(Told::NotStored), "the shard is being rebuilt");
    storing.stores.execute("UPDATE shards SET state = 'live'").await;
    eventually("the late claim is settled", || async { storing.ledger.unsettled() == 0 }).await;
    assert_eq!(storing.told(2).await, Some(Told::NotStored), "the rebuild has not stored the claim");
    let row = "INSERT INTO claims (coupon_id, seq, user_id, claimed_at) VALUES (1, 3, 3, 3)";
    storing.stores.execute(row).await;
    assert_eq!(storing.told(3).await, Some(Told::Stored), "the rebuild has stored the claim");
    eventually("every claim is settled", || async { storing.ledger.unsettled() == 0 }).await;
    storing.close.cancel();
    assert_eq!(storing.running.await.expect("the task does not panic"), 0);
    assert_eq!(storing.stores.number("SELECT COUNT(*) FROM poisoned_claims").await, 2);
    storing.stores.remove().await;
}
