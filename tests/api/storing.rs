//! The ledger's transaction alone: every claim is stored exactly once, in every situation.

use couponrush::domain::{ActivityId, Claim, Commits, CouponId, EntryId, Epoch, UserId};
use couponrush::mysql::claims::{self, StoreOutcome, StoredBatch};
use couponrush::mysql::ledgers::{Fence, FenceRefusal};
use couponrush::mysql::migrate::migrate;
use couponrush::mysql::shards::{self, Raised, ShardToken};
use tokio::task::JoinSet;

use crate::helpers::{SqlServer, Stores};

const SHARD: &str = "s0";

/// Two coupons of 1,000 units in a shard that is live in epoch 3. No service runs.
struct Tables {
    stores: Stores,
}

impl Tables {
    async fn create() -> Self {
        let stores = Stores::create(None).await;
        migrate(&stores.db).await.expect("a new database can be migrated");
        stores.execute("UPDATE shards SET epoch = 3, state = 'live', run_id = 'r'").await;
        let tables = Self { stores };
        tables.coupons([1, 2]).await;
        tables
    }

    async fn coupons(&self, ids: impl IntoIterator<Item = u64>) {
        let rows: Vec<String> = ids.into_iter().map(|id| format!("({id}, 1, 'c{id}', 1000, 1000, 5, '')")).collect();
        let columns = "id, saler_id, name, amount, left_count, face_value, description";
        self.stores.execute(&format!("INSERT INTO coupons ({columns}) VALUES {}", rows.join(","))).await;
    }

    async fn store(&self, epoch: u32, claims: &[Claim]) -> StoreOutcome {
        let mut connection = self.stores.db.connect_alone().await.expect("MySQL answers");
        claims::store(&mut connection, &fence(), Epoch(epoch), claims).await.expect("MySQL executes the statement")
    }

    /// Rows as `coupon:seq:user:nth`.
    async fn rows(&self) -> Vec<String> {
        let row = "CONCAT(coupon_id, ':', seq, ':', user_id, ':', nth)";
        self.stores.texts(&format!("SELECT {row} AS value FROM claims ORDER BY coupon_id, seq")).await
    }

    async fn poisoned(&self) -> Vec<String> {
        self.stores
            .texts("SELECT CONCAT(entry, ' ', claim, ' ', reason) AS value FROM poisoned_claims ORDER BY id")
            .await
    }

    async fn left(&self, coupon: u64) -> i64 {
        self.stores.number(&format!("SELECT left_count FROM coupons WHERE id = {coupon}")).await
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.stores.remove()));
    }
}

/// A claim whose entry id follows from its seq.
fn claim(coupon: u64, seq: u32, user: u64) -> Claim {
    let entry = EntryId { ms: 1_700_000_000_000 + u64::from(seq), counter: 0 };
    let (coupon, user, activity) = (CouponId(coupon), UserId(user), ActivityId(0));
    Claim { coupon, user, entry, seq, activity, epoch: Epoch(3), nth: 1, claimed_at_ms: entry.ms }
}

fn done(inserted: usize, known: usize, poisoned: Vec<Claim>) -> StoreOutcome {
    StoreOutcome::Done(StoredBatch { inserted, known, poisoned })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_once_however_often_it_comes() {
    let tables = Tables::create().await;
    let batch = [claim(1, 2, 20), claim(1, 1, 10), claim(2, 1, 10)];
    assert_eq!(tables.store(3, &batch).await, done(3, 0, vec![]));
    // As after a COMMIT with a lost answer.
    assert_eq!(tables.store(3, &batch).await, done(0, 3, vec![]));
    // A batch of known and new claims.
    assert_eq!(tables.store(3, &[claim(1, 2, 20), claim(1, 3, 30)]).await, done(1, 1, vec![]));
    assert_eq!(tables.rows().await, ["1:1:10:1", "1:2:20:1", "1:3:30:1", "2:1:10:1"]);
    assert_eq!((tables.left(1).await, tables.left(2).await), (997, 999));
    let at = tables.stores.number("SELECT claimed_at FROM claims WHERE coupon_id = 1 AND seq = 3").await;
    assert_eq!(at, 1_700_000_000_003, "the time of the outbox entry");
    assert_eq!(tables.poisoned().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_the_claims_whether_or_not_it_is_what_most_have() {
    let tables = Tables::create().await;
    let row = "CONCAT_WS(':', coupon_id, seq, user_id, nth, activity_id, claimed_at, IFNULL(redeemed_at, '-'))";
    let first = claim(1, 1, 10);
    let second = Claim { nth: 2, ..claim(1, 2, 10) };
    let activity_claim = Claim { activity: ActivityId(7), ..claim(2, 1, 10) };
    // Alone, and in a batch with claims that differ from the defaults.
    assert_eq!(tables.store(3, &[first]).await, done(1, 0, vec![]));
    assert_eq!(tables.store(3, &[second, claim(1, 3, 11)]).await, done(2, 0, vec![]));
    assert_eq!(tables.store(3, &[activity_claim]).await, done(1, 0, vec![]));
    let rows = tables.stores.texts(&format!("SELECT {row} AS value FROM claims ORDER BY coupon_id, seq")).await;
    let expected = [
        "1:1:10:1:0:1700000000001:-",
        "1:2:10:2:0:1700000000002:-",
        "1:3:11:1:0:1700000000003:-",
        "2:1:10:1:7:1700000000001:-",
    ];
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_coupons_each_is_lowered_by_its_own_rows() {
    let tables = Tables::create().await;
    tables.coupons(3..60).await;
    // Coupon n has n % 7 claims, from seq 1 on. The ids have gaps, with coupons without claims between.
    let claims_of = |coupon: u64| (1..=coupon % 7).map(move |seq| claim(coupon, seq as u32, seq));
    let mut batch: Vec<Claim> = (1..60).step_by(2).flat_map(claims_of).collect();
    batch.reverse();
    assert_eq!(tables.store(3, &batch[5..]).await, done(batch.len() - 5, 0, vec![]));
    let contradiction = claim(3, 1, 7);
    batch.push(contradiction);
    assert_eq!(tables.store(3, &batch).await, done(5, batch.len() - 6, vec![contradiction]));
    let wrong = "SELECT COUNT(*) FROM coupons WHERE left_count <> 1000 - IF(id % 2, id % 7, 0)";
    assert_eq!(tables.stores.number(wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_that_comes_again_is_known_and_only_what_is_new_is_added() {
    let tables = Tables::create().await;
    let batch: Vec<Claim> = (1..=4_000).map(|seq| claim(1 + u64::from(seq % 2), seq, u64::from(seq))).collect();
    assert_eq!(tables.store(3, &batch[..3_999]).await, done(3_999, 0, vec![]));
    assert_eq!(tables.store(3, &batch).await, done(1, 3_999, vec![]));
    assert_eq!((tables.left(1).await, tables.left(2).await), (-1_000, -1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_contradicts_a_row_is_poisoned_and_holds_up_nothing() {
    let tables = Tables::create().await;
    tables.store(3, &[claim(1, 1, 10), claim(1, 2, 20)]).await;
    let other_user = claim(1, 1, 11);
    let other_seq = claim(1, 7, 20);
    let batch = [other_user, claim(1, 3, 30), other_seq, claim(2, 1, 20), claim(1, 1, 10)];
    assert_eq!(tables.store(3, &batch).await, done(2, 1, vec![other_user, other_seq]));
    assert_eq!(tables.rows().await, ["1:1:10:1", "1:2:20:1", "1:3:30:1", "2:1:20:1"]);
    assert_eq!((tables.left(1).await, tables.left(2).await), (997, 999));
    let recorded = [
        "1700000000001-0 1:11:1:1:0:3 contradicts a stored claim",
        "1700000000007-0 1:20:7:1:0:3 contradicts a stored claim",
    ];
    assert_eq!(tables.poisoned().await, recorded);
    // A repeated batch records no claim twice.
    tables.store(3, &batch).await;
    assert_eq!(tables.poisoned().await, recorded);
    assert_eq!(tables.left(1).await, 997);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_contradict_each_other_within_a_batch_leave_the_first() {
    let tables = Tables::create().await;
    let same_seq = Claim { entry: EntryId { ms: 1_700_000_000_009, counter: 0 }, ..claim(1, 1, 11) };
    let same_user = claim(1, 5, 10);
    let again = claim(1, 1, 10);
    let batch = [same_seq, same_user, claim(1, 1, 10), again];
    assert_eq!(tables.store(3, &batch).await, done(1, 1, vec![same_seq, same_user]));
    assert_eq!(tables.rows().await, ["1:1:10:1"]);
    assert_eq!(tables.left(1).await, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_claims_wait_for_the_rebuild_and_then_only_what_it_stored_is_done() {
    let tables = Tables::create().await;
    let (stored, rest) = (claim(1, 1, 10), claim(1, 2, 20));
    tables.store(3, &[stored]).await;
    tables.stores.execute("UPDATE shards SET epoch = 4, state = 'recovering'").await;
    assert_eq!(tables.store(3, &[stored, rest]).await, StoreOutcome::Late);
    assert_eq!((tables.rows().await.len(), tables.poisoned().await.len(), tables.left(1).await), (1, 0, 999));
    // The rebuild stores claims under its own epoch.
    assert_eq!(tables.store(4, &[claim(1, 3, 30)]).await, done(1, 0, vec![]));
    tables.stores.execute("UPDATE shards SET state = 'live'").await;
    assert_eq!(tables.store(3, &[stored, rest]).await, done(0, 1, vec![rest]));
    assert_eq!(tables.rows().await, ["1:1:10:1", "1:3:30:1"]);
    assert_eq!(tables.left(1).await, 998);
    let late = "1700000000002-0 1:20:2:1:0:3 late: made before the shard was rebuilt";
    assert_eq!(tables.poisoned().await, [late]);
    // Claims of a later epoch than the row's are never stored. MySQL has lost that epoch.
    assert_eq!(tables.store(5, &[claim(1, 4, 40)]).await, StoreOutcome::Unfenced(FenceRefusal::RowBehind));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_claims_from_many_connections_at_once_are_stored_exactly_once() {
    const CLAIMS: u32 = 400;
    let tables = Tables::create().await;
    // Another connection locks a coupon's row for a while.
    let mut holder = tables.stores.db.connect_alone().await.expect("MySQL answers");
    hold(&mut holder, "START TRANSACTION; SELECT id FROM coupons WHERE id = 1 FOR UPDATE").await;
    let mut tasks = JoinSet::new();
    for connection in 0..6_u32 {
        let db = tables.stores.db.clone();
        tasks.spawn(async move {
            // Every connection has all claims of both coupons, in its own order and batches.
            let mut all: Vec<Claim> =
                (1..=CLAIMS).flat_map(|seq| [claim(1, seq, seq.into()), claim(2, seq, seq.into())]).collect();
            all.rotate_left(connection as usize * 97);
            let (mut inserted, mut repeated) = (0, 0);
            for batch in all.chunks(50 + connection as usize * 13) {
                inserted += repeat(&db, batch, &mut repeated).await;
            }
            (inserted, repeated)
        });
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    hold(&mut holder, "ROLLBACK").await;
    let counts = tasks.join_all().await;
    let inserted: usize = counts.iter().map(|(inserted, _)| inserted).sum();
    assert_eq!(inserted, 800, "{counts:?}");
    assert_eq!(tables.rows().await.len(), 800);
    assert_eq!((tables.left(1).await, tables.left(2).await), (600, 600));
    assert_eq!(tables.poisoned().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_mysql_refuses_for_its_data_has_no_effect_and_the_reason_is_named() {
    let check = match SqlServer::of_suite() {
        SqlServer::MariaDb => "4025",
        SqlServer::MySql => "3819",
    };
    for (change, refused, number) in [
        ("ADD CONSTRAINT small CHECK (seq < 5)", claim(1, 9, 10), check),
        ("ADD FOREIGN KEY (coupon_id) REFERENCES coupons (id)", claim(99, 1, 10), "1452"),
        ("MODIFY seq TINYINT UNSIGNED NOT NULL", claim(1, 300, 10), "1264"),
        ("ADD UNIQUE KEY one_a_user (user_id)", claim(2, 1, 20), "a unique key"),
    ] {
        let tables = Tables::create().await;
        assert_eq!(tables.store(3, &[claim(1, 1, 20)]).await, done(1, 0, vec![]));
        tables.stores.execute(&format!("ALTER TABLE claims {change}")).await;
        let outcome = tables.store(3, &[claim(1, 2, 30), refused]).await;
        assert!(matches!(&outcome, StoreOutcome::Refused(reason) if reason.contains(number)), "{change}: {outcome:?}");
        assert_eq!((tables.rows().await.len(), tables.left(1).await), (1, 999), "{change}: nothing was stored");
        assert_eq!(
            tables.store(3, &[claim(1, 2, 30)]).await,
            done(1, 0, vec![]),
            "{change}: the other claim is stored"
        );
    }
    let tables = Tables::create().await;
    let signal = "CREATE TRIGGER refusing BEFORE INSERT ON claims FOR EACH ROW \
        BEGIN IF NEW.user_id = 10 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not him'; END IF; END";
    tables.stores.execute(signal).await;
    let outcome = tables.store(3, &[claim(1, 1, 10), claim(1, 2, 20)]).await;
    assert!(matches!(&outcome, StoreOutcome::Refused(reason) if reason.contains("1644: not him")), "{outcome:?}");
    // The reason of MySQL may be longer than the column.
    let mut connection = tables.stores.db.connect_alone().await.expect("MySQL answers");
    let poisoned = claims::poison(&mut connection, claim(1, 1, 10).entry, "c", &"r".repeat(400)).await;
    assert!(poisoned.is_ok() && tables.poisoned().await.len() == 1, "{poisoned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_passes_blames_no_claim() {
    let tables = Tables::create().await;
    let mut connection = tables.stores.db.connect_alone().await.expect("MySQL answers");
    hold(&mut connection, "SET SESSION innodb_lock_wait_timeout = 1").await;
    let lock = tables.stores.lock_row("coupons", 1).await;
    let waited = claims::store(&mut connection, &fence(), Epoch(3), &[claim(1, 1, 10)]).await;
    assert!(waited.is_err(), "a lock is waited for in vain: {waited:?}");
    drop(lock);
    let mut connection = tables.stores.db.connect_alone().await.expect("MySQL answers");
    hold(&mut connection, "SET SESSION TRANSACTION READ ONLY").await;
    let read_only = claims::store(&mut connection, &fence(), Epoch(3), &[claim(1, 1, 10)]).await;
    assert!(read_only.is_err(), "the session is read-only: {read_only:?}");
    let mut connection = tables.stores.db.connect_alone().await.expect("MySQL answers");
    tables.stores.kill_connections().await;
    let lost = claims::store(&mut connection, &fence(), Epoch(3), &[claim(1, 1, 10)]).await;
    assert!(lost.is_err(), "the connection is closed: {lost:?}");
    assert_eq!(tables.store(3, &[claim(1, 1, 10)]).await, done(1, 0, vec![]));
}

/// Stores a batch like the ledger: repeated on a new connection after every error.
async fn repeat(db: &couponrush::mysql::Db, batch: &[Claim], repeated: &mut u32) -> usize {
    loop {
        let mut connection = db.connect_alone().await.expect("MySQL answers");
        match claims::store(&mut connection, &fence(), Epoch(3), batch).await {
            Ok(StoreOutcome::Done(outcome)) => {
                assert_eq!(outcome.poisoned, []);
                return outcome.inserted;
            }
            Ok(other) => panic!("the epoch has not changed: {other:?}"),
            Err(_) => *repeated += 1,
        }
    }
}

async fn hold(connection: &mut couponrush::mysql::DbConnection, sql: &str) {
    use diesel_async::SimpleAsyncConnection;
    connection.batch_execute(sql).await.expect("MySQL executes the statement");
}

/// The fence of a process that has stored nothing yet.
fn fence() -> Fence {
    Fence::new(SHARD, format!("{:032x}", rand::random::<u128>()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_needs_the_row_of_its_process_with_all_committed_numbers() {
    let tables = Tables::create().await;
    let stores = &tables.stores;
    let fence = Fence::new(SHARD, "p".to_owned());
    let store = async |claims: &[Claim]| {
        let mut connection = stores.db.connect_alone().await.expect("MySQL answers");
        claims::store(&mut connection, &fence, Epoch(3), claims).await.expect("MySQL executes the statement")
    };
    assert_eq!(store(&[claim(1, 1, 10)]).await, done(1, 0, vec![]));
    assert_eq!(store(&[claim(1, 2, 20)]).await, done(1, 0, vec![]));
    let counter = "SELECT CAST(counter AS SIGNED) FROM ledgers WHERE process = 'p' AND epoch = 3";
    let committed = i64::try_from(fence.committed()).expect("the numbers are small");
    assert_eq!(stores.number(counter).await, committed);
    assert_eq!(stores.number("SELECT CAST(joined AS SIGNED) FROM shards").await, 1);

    stores.execute("UPDATE ledgers SET counter = counter - 1").await;
    assert_eq!(store(&[claim(1, 3, 30)]).await, StoreOutcome::Unfenced(FenceRefusal::RowBehind));
    assert_eq!(fence.refusal(), Some(FenceRefusal::RowBehind));
    assert_eq!((tables.rows().await.len(), stores.number(counter).await), (2, committed - 1), "nothing was written");
    stores.execute("UPDATE ledgers SET counter = counter + 1").await;
    assert_eq!(store(&[claim(1, 3, 30)]).await, done(1, 0, vec![]));
    assert_eq!(fence.refusal(), None);

    // MySQL has lost the epoch. Then a version that does not know the table raises the epoch.
    stores.execute("UPDATE ledgers SET epoch = 2; UPDATE shards SET epoch = 2").await;
    assert_eq!(store(&[claim(1, 4, 40)]).await, StoreOutcome::Unfenced(FenceRefusal::RowBehind));
    stores.execute("UPDATE shards SET epoch = 3").await;
    assert_eq!(store(&[claim(1, 4, 40)]).await, done(1, 0, vec![]));

    // The row of the process alone makes a batch late.
    stores.execute("UPDATE ledgers SET epoch = 4").await;
    assert_eq!(store(&[claim(1, 5, 50)]).await, done(0, 0, vec![claim(1, 5, 50)]));
    stores.execute("UPDATE ledgers SET epoch = 3").await;

    stores.execute("DELETE FROM ledgers").await;
    assert_eq!(store(&[claim(1, 5, 50)]).await, StoreOutcome::Unfenced(FenceRefusal::RowMissing));
    assert_eq!(fence.refusal(), Some(FenceRefusal::RowMissing));
    let committed = fence.committed();
    fence.may_join().await;
    assert_eq!(store(&[claim(1, 5, 50)]).await, done(1, 0, vec![]));
    assert!(fence.committed() > committed, "numbers are used once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_raises_the_epoch_of_all_rows_and_deletes_those_of_the_dead() {
    let tables = Tables::create().await;
    let stores = &tables.stores;
    stores
        .execute(
            "UPDATE shards SET token = 't', state = 'recovering'; \
             INSERT INTO ledgers VALUES ('s0', 'alive', 3, 7), ('s0', 'dead', 3, 9); \
             INSERT INTO instances (instance, process, beat_at, format) VALUES ('i', 'alive', NOW(3), 2)",
        )
        .await;
    let was = ShardToken { epoch: Epoch(3), token: "t" };
    let commits = |epoch: u32, counters: &[(&str, u64)]| Commits {
        epoch: Epoch(epoch),
        counters: counters.iter().map(|(process, counter)| ((*process).to_owned(), *counter)).collect(),
    };
    let raise = async |redis: Commits| {
        shards::raise_epoch(&stores.db, SHARD, was, Epoch(4), &redis).await.expect("MySQL answers")
    };
    assert_eq!(raise(commits(3, &[("dead", 10)])).await, Raised::WentBack);
    assert_eq!(raise(commits(4, &[])).await, Raised::WentBack);
    assert_eq!(stores.number("SELECT CAST(SUM(epoch) AS SIGNED) FROM ledgers").await, 6, "nothing has changed");
    assert_eq!(raise(commits(3, &[("dead", 9), ("alive", 7)])).await, Raised::Done(commits(4, &[("alive", 7)])));
    assert_eq!(raise(Commits::default()).await, Raised::Overtaken);
    let rows = "SELECT CONCAT(process, ' ', epoch, ' ', counter) AS value FROM ledgers";
    assert_eq!(stores.texts(rows).await, ["alive 4 7"]);
}
