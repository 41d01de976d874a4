//! Answers that wait until MySQL has committed the claim, by the header `Claim-Wait: stored` or for all.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use couponrush::claim::{COMMIT_WAIT, Ledger, Persister, PersisterSettings, Teller, Told};
use couponrush::domain::{ActivityId, Claim, CouponId, Durability, EntryId, Epoch, UserId};
use couponrush::mysql::ledgers::Fence;
use couponrush::mysql::migrate::migrate;
use couponrush::redis::{Attempt, Outbox, Taken};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    Answer, Client, Customer, Got, MysqlServer, RedisServer, Stores, TestApp, customers, eventually, proof, rush,
    without_rates,
};

const RUSH: &str = "/api/users/shop/coupons/rush";
const PATIENCE: Duration = Duration::from_secs(20);
/// For an answer that does not wait, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(1_200);
const CLAIMS: &str = "SELECT COUNT(*) FROM claims";

/// `shop/rush` of 500 units, and 40 customers.
async fn selling(app: &TestApp) -> Vec<Customer> {
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "rush", 500).await;
    customers(&app.stores, "crowd", 40).await
}

async fn start() -> (TestApp, Vec<Customer>) {
    let app = TestApp::start_with(without_rates).await;
    let crowd = selling(&app).await;
    (app, crowd)
}

async fn claim_with(client: &Client, customer: &Customer, wait: &str) -> Answer {
    let request = client.request("PATCH", RUSH).header("Authorization", &customer.token);
    Answer::of(request.header("Claim-Wait", wait)).await
}

async fn claim_stored(client: &Client, customer: &Customer) -> Answer {
    claim_with(client, customer, "stored").await
}

/// Claims of all customers at once, each waiting for the commit.
fn all_wait(client: &Client, crowd: &[Customer]) -> JoinSet<(Customer, Answer)> {
    let mut tasks = JoinSet::new();
    for customer in crowd.iter().cloned() {
        let client = client.clone();
        tasks.spawn(async move {
            let answer = claim_stored(&client, &customer).await;
            (customer, answer)
        });
    }
    tasks
}

/// Attempts that wait for MySQL's commit, or will wait.
fn waiting(app: &TestApp) -> usize {
    app.instances[0].shared.selling.claiming.ledger.state().waiters.places().0
}

async fn until_waiting(app: &TestApp, count: usize) {
    eventually("the attempts wait for the commit", || async {
        let in_flight = app.instances[0].shared.selling.claiming.gate.in_flight();
        waiting(app) == count && in_flight == 0
    })
    .await;
}

fn assert_unknown(answer: &Answer) {
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unknown-outcome"), "{answer:?}");
    assert!(answer.header("Claim-Durability").is_empty() && answer.header("Claim-Token").is_empty(), "{answer:?}");
}

fn assert_stored(answer: &Answer, status: u16) {
    assert_eq!((answer.status, answer.header("Claim-Durability")), (status, "stored"), "{answer:?}");
}

/// The number of rows of the answered claim.
async fn rows_of(stores: &Stores, customer: &Customer, answer: &Answer) -> i64 {
    let (user, seq) = (customer.user.id, proof(answer).seq);
    stores.number(&format!("{CLAIMS} WHERE user_id = {user} AND seq = {seq}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_says_what_is_certain_and_waits_only_when_asked_to() {
    let (app, crowd) = start().await;
    let lock = app.stores.lock_table("claims").await;
    let granted = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((granted.status, granted.header("Claim-Durability")), (201, "granted"), "{granted:?}");
    let again = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((again.status, again.header("Claim-Durability")), (204, "granted"), "{again:?}");
    drop(lock);

    let stored = claim_stored(app.client(), &crowd[1]).await;
    assert_stored(&stored, 201);
    assert_eq!(rows_of(&app.stores, &crowd[1], &stored).await, 1, "MySQL has the claim when it is answered");
    app.settle().await;
    let again = claim_stored(app.client(), &crowd[1]).await;
    assert_stored(&again, 204);
    assert_eq!(again.header("Claim-Token"), stored.header("Claim-Token"));

    for value in ["granted", "Stored", "", "5"] {
        let refused = claim_with(app.client(), &crowd[2], value).await;
        let message = "Claim-Wait should be stored, or absent.".to_owned();
        assert_eq!(refused.error(), (400, message, "bad-request".to_owned()), "{value}");
        assert_eq!(refused.json()["field"], "Claim-Wait");
    }
    app.settle().await;
    assert_eq!(app.stores.number(CLAIMS).await, 2, "a refused request claims nothing");
    let absent = claim_with(app.client(), &crowd[2], "stored").await;
    assert_eq!(absent.status, 201);
    let request = app.client().request("PATCH", "/api/users/shop/coupons/none").header("Claim-Wait", "stored");
    let refused = Answer::of(request.header("Authorization", &crowd[3].token)).await;
    assert_eq!((refused.result(), refused.header("Claim-Durability")), ("no-such-coupon", ""), "{refused:?}");
    let page = app.instances[0].ops.get("/metrics", "").await.text;
    assert!(
        page.contains("couponrush_commit_waiting 0\n") && page.contains("couponrush_commit_waiting_max 20000\n"),
        "{page}"
    );
    assert!(page.contains("couponrush_commit_wait_duration_seconds_count 3\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purchase_says_what_is_certain_in_the_same_header() {
    let (app, crowd) = start().await;
    let product = app.stores.number("SELECT id FROM coupons").await;
    let buy = async |customer: &Customer, wait: Option<&str>| {
        let request = app.client().request("POST", "/sec/kill").header("Authorization", &customer.token);
        let request = wait.into_iter().fold(request, |request, wait| request.header("Claim-Wait", wait));
        Answer::of(request.body(json!({ "product_id": product }).to_string())).await
    };
    for (customer, wait, word) in [(&crowd[0], None, "granted"), (&crowd[1], Some("stored"), "stored")] {
        for (code, status) in [(200, 200), (1010, 400)] {
            let answer = buy(customer, wait).await;
            assert_eq!((answer.status, answer.json()["code"].as_u64()), (status, Some(code)), "{answer:?}");
            assert_eq!(answer.header("Claim-Durability"), word, "{answer:?}");
            if word == "stored" {
                assert_eq!(app.stores.number(&format!("{CLAIMS} WHERE user_id = {}", customer.user.id)).await, 1);
            }
        }
    }
    let refused = buy(&crowd[2], Some("granted")).await;
    assert_eq!((refused.status, refused.json()["code"].as_u64()), (400, Some(1001)), "{refused:?}");
    let lock = app.stores.lock_table("claims").await;
    let unknown = buy(&crowd[3], Some("stored")).await;
    assert_eq!((unknown.status, unknown.json()["code"].as_u64()), (503, Some(1008)), "{unknown:?}");
    assert!(unknown.header("Claim-Durability").is_empty(), "{unknown:?}");
    drop(lock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_the_setting_every_claim_is_stored_when_it_is_answered() {
    let app = TestApp::start_with(|args| args.answer_when = Durability::Stored).await;
    let crowd = selling(&app).await;
    for customer in &crowd[..5] {
        let answer = app.client().claim("shop", "rush", &customer.token).await;
        assert_stored(&answer, 201);
        assert_eq!(rows_of(&app.stores, customer, &answer).await, 1);
        let again = app.client().claim("shop", "rush", &customer.token).await;
        assert_stored(&again, 204);
        assert_eq!(again.header("Claim-Token"), answer.header("Claim-Token"));
    }
    let got = rush(&[app.client().clone()], &crowd, ("shop", "rush"), 16, PATIENCE).await;
    assert_eq!(app.stores.number(CLAIMS).await, 40, "nothing waits in the ledger after the last answer");
    assert!(got.iter().all(|got| got.answer.as_ref().is_some_and(|got| got.header("Claim-Durability") == "stored")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_wait_for_one_commit_outside_of_the_gate() {
    let (app, _) = start().await;
    let crowd = customers(&app.stores, "many", 300).await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd);
    until_waiting(&app, 300).await;
    let batches = app.instances[0].shared.selling.claiming.ledger.state().batches.claims.distribution().count;
    drop(lock);
    for (customer, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
        assert_eq!(rows_of(&app.stores, &customer, &answer).await, 1);
    }
    let after = app.instances[0].shared.selling.claiming.ledger.state().batches.claims.distribution().count;
    assert!(after - batches <= 3, "{} transactions", after - batches);
    assert_eq!(waiting(&app), 0);
}

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
async fn a_claim_that_was_stored_for_another_request_is_found_in_mysql() {
    let (app, crowd) = start().await;
    let coupon = CouponId(u64::try_from(app.stores.number("SELECT id FROM coupons").await).expect("an id"));
    let (connection, live) = (app.stores.connection().await, app.stores.live().await);
    let attempt = Attempt::new(coupon, crowd[0].user.id);
    // As after a handler was dropped. The next request hands the claim over, and leaves its entry to the sweep.
    let taken = app.stores.stock().take(&connection, &live, &attempt, PATIENCE).await;
    assert!(matches!(taken, Ok(Taken::Claimed { .. })), "{taken:?}");
    let granted = app.client().claim("shop", "rush", &crowd[0].token).await;
    assert_eq!((granted.status, granted.result()), (204, "already-claimed"), "{granted:?}");
    eventually("the claim is stored", || async { app.stores.number(CLAIMS).await == 1 }).await;
    let began = Instant::now();
    assert_stored(&claim_stored(app.client(), &crowd[0]).await, 204);
    assert!(began.elapsed() < AT_ONCE, "answered after {:?}", began.elapsed());
    let mut length = redis::cmd("XLEN");
    let entries: u64 = app.stores.redis(length.arg(app.stores.keys().outbox())).await;
    assert_eq!(entries, 1, "the entry still waits, so the test has shown nothing");
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
async fn attempts_without_a_place_to_wait_change_nothing() {
    let app = TestApp::start_with(|args| {
        without_rates(args);
        args.waiting_max = 3;
    })
    .await;
    let crowd = selling(&app).await;
    let lock = app.stores.lock_table("claims").await;
    let tasks = all_wait(app.client(), &crowd[..3]);
    until_waiting(&app, 3).await;
    let refused = claim_stored(app.client(), &crowd[3]).await;
    assert_eq!((refused.status, refused.error().2.as_str()), (503, "overloaded"), "{refused:?}");
    assert!(!refused.header("Retry-After").is_empty(), "{refused:?}");
    let granted = app.client().claim("shop", "rush", &crowd[4].token).await;
    assert_eq!(granted.status, 201, "claims that do not wait go on");
    drop(lock);
    for (_, answer) in tasks.join_all().await {
        assert_stored(&answer, 201);
    }
    app.settle().await;
    let holds = format!("{CLAIMS} WHERE user_id = {}", crowd[3].user.id);
    assert_eq!(app.stores.number(&holds).await, 0, "a refused attempt took no unit");
    assert_stored(&claim_stored(app.client(), &crowd[3]).await, 201);
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
    let gate = &app.instances[0].shared.selling.claiming.gate;
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
        let (ledger, channel) = Ledger::new(1_000, 100);
        let settings = PersisterSettings {
            instance: "test".to_owned(),
            batch_max: 1_000,
            linger_max: Duration::ZERO,
            store_wait: Duration::from_secs(10),
            pauses: (Duration::from_millis(10), Duration::from_millis(100)),
            sweep_every: Duration::from_millis(100),
            sweep_age: Duration::from_secs(60),
            sweep_batches_max: 1,
        };
        let outbox = Outbox::new(stores.keys(), "test".to_owned(), Duration::from_secs(1));
        let fence = Arc::new(Fence::new("s0", "test".to_owned()));
        let persister = Persister::new(stores.db.clone(), stores.pool(), outbox, fence, &ledger, settings);
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
