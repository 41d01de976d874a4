//! Queries and faults on MySQL, over direct connections past the program and its proxies.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::history::{Claim, Coupon, CouponInMysql, MysqlCounts, Sale, User};
use crate::stores::{InMysql, Row};
use crate::world::COUPONS;

const WAIT: Duration = Duration::from_secs(2);
/// The checker judges the coupons up to this id. Rows of others are edited by hand.
const JUDGED: usize = COUPONS.len();

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A connection. `None` if MySQL does not answer in time.
pub async fn connect(url: &str) -> Option<AsyncMysqlConnection> {
    let connecting = async {
        let mut connection = AsyncMysqlConnection::establish(url).await.ok()?;
        // A node of Galera then waits for the earlier commits of the others. A MySQL does not know the setting.
        let _ = connection.batch_execute("SET SESSION wsrep_sync_wait = 1").await;
        Some(connection)
    };
    tokio::time::timeout(WAIT, connecting).await.ok()?
}

/// The age of the oldest open transaction. `None` if no transaction is open.
pub async fn oldest_transaction(url: &str) -> Option<Duration> {
    let mut connection = connect(url).await?;
    let age = "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) FROM information_schema.innodb_trx";
    query_number(&mut connection, age).await.map(|seconds| Duration::from_secs(in_range(seconds)))
}

/// Runs statements. MySQL must be available.
pub async fn execute(url: &str, sql: &str) {
    let mut connection = connect(url).await.expect("MySQL answers");
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The result of a query for a single number.
pub async fn query_number(connection: &mut AsyncMysqlConnection, sql: &str) -> Option<i64> {
    let query = diesel::sql_query(format!("SELECT CAST(({sql}) AS SIGNED) AS value"));
    tokio::time::timeout(WAIT, query.get_result::<NumberRow>(connection)).await.ok()?.ok().map(|row| row.value)
}

/// The results of a query with the text column `value`.
pub async fn query_texts(connection: &mut AsyncMysqlConnection, sql: &str) -> Option<Vec<String>> {
    let query = diesel::sql_query(sql.to_owned());
    let rows = tokio::time::timeout(WAIT * 5, query.load::<TextRow>(connection)).await.ok()?.ok()?;
    Some(rows.into_iter().map(|row| row.value).collect())
}

fn numbers(line: &str) -> Vec<i64> {
    line.split(' ').map(|number| number.parse().expect("the query gives numbers")).collect()
}

fn in_range<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).unwrap_or_else(|_| panic!("{number} is out of its range"))
}

/// Counts of judged coupons at a single moment. `None` if MySQL does not answer in time.
pub async fn count(url: &str) -> Option<MysqlCounts> {
    let mut connection = connect(url).await?;
    let begin = connection.batch_execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    tokio::time::timeout(WAIT, begin).await.ok()?.ok()?;
    let coupons = format!(
        "SELECT CONCAT_WS(' ', c.id, c.amount, c.left_count, COUNT(r.seq), COALESCE(MAX(r.seq), 0)) AS value \
                   FROM coupons c LEFT JOIN claims r ON r.coupon_id = c.id WHERE c.id <= {JUDGED} GROUP BY c.id"
    );
    let most = format!(
        "SELECT CONCAT_WS(' ', coupon_id, MAX(held)) AS value FROM \
                (SELECT coupon_id, COUNT(*) AS held FROM claims WHERE coupon_id <= {JUDGED} GROUP BY coupon_id, user_id) AS h GROUP BY coupon_id"
    );
    let mut counts = MysqlCounts::default();
    for line in query_texts(&mut connection, &coupons).await? {
        let row = numbers(&line);
        let (amount, left) = (in_range(row[1]), row[2]);
        let (rows, highest) = (in_range(row[3]), in_range(row[4]));
        counts.coupons.insert(in_range(row[0]), CouponInMysql { amount, left, rows, highest, most_held: 0 });
    }
    for line in query_texts(&mut connection, &most).await? {
        let row = numbers(&line);
        counts.coupons.entry(in_range(row[0])).or_default().most_held = in_range(row[1]);
    }
    counts.poisoned = in_range(query_number(&mut connection, "SELECT COUNT(*) FROM poisoned_claims").await?);
    Some(counts)
}

/// All claims of judged coupons in MySQL. MySQL must be available.
pub async fn read_all(url: &str) -> InMysql {
    let counts = count(url).await.expect("MySQL answers");
    let mut connection = connect(url).await.expect("MySQL answers");
    let claims = format!(
        "SELECT CONCAT_WS(' ', coupon_id, user_id, seq, nth, activity_id, claimed_at) AS value \
                  FROM claims WHERE coupon_id <= {JUDGED}"
    );
    let rows = query_texts(&mut connection, &claims).await.expect("MySQL answers");
    let rows = rows.iter().map(|line| {
        let row = numbers(line);
        let (seq, nth, activity) = (in_range(row[2]), in_range(row[3]), in_range(row[4]));
        let claim = Claim { seq, nth, activity, claimed_at_ms: in_range(row[5]) };
        Row { coupon: in_range(row[0]), user: in_range(row[1]), claim }
    });
    let rows = rows.collect();
    let poisoned =
        query_texts(&mut connection, "SELECT CONCAT(claim, ' ', reason) AS value FROM poisoned_claims").await;
    InMysql { counts, rows, poisoned: poisoned.expect("MySQL answers") }
}

/// Makes or changes a coupon's only activity in MySQL alone, as an instance does that dies before publishing. The
/// repair publishes the change.
pub async fn write_sale(url: &str, coupon: Coupon, sale: &Sale) {
    let Sale { start, end, total, speed, buy_limit } = sale;
    let columns =
        format!("start_time = {start}, end_time = {end}, total = {total}, speed = {speed}, buy_limit = {buy_limit}");
    // MySQL assigns from left to right, so the activity gets the new revision of the coupon.
    let sql = format!(
        "START TRANSACTION;\
         SELECT id FROM coupons WHERE id = {coupon} FOR UPDATE;\
         INSERT INTO activities SET id = {coupon}, coupon_id = {coupon}, name = 'a sale', {columns} \
         ON DUPLICATE KEY UPDATE {columns}, revision = revision + 1, changed_at = NOW(3);\
         UPDATE coupons SET scheduled = 1, revision = revision + 1, activity_revision = revision, \
         changed_at = NOW(3) - INTERVAL 1 SECOND WHERE id = {coupon};\
         COMMIT"
    );
    execute(url, &sql).await;
}

/// Whether MySQL has this number of claims of a coupon.
pub async fn has_claims(url: &str, coupon: Coupon, count: usize) -> bool {
    let Some(mut connection) = connect(url).await else { return false };
    let sql = format!("SELECT COUNT(*) = {count} FROM claims WHERE coupon_id = {coupon}");
    query_number(&mut connection, &sql).await == Some(1)
}

/// Whether MySQL has a user's claim. `None` if MySQL does not answer.
pub async fn has_claim(url: &str, coupon: Coupon, user: User, claim: &Claim) -> Option<bool> {
    let mut connection = connect(url).await?;
    let Claim { seq, nth, activity, claimed_at_ms } = claim;
    let sql = format!(
        "SELECT COUNT(*) FROM claims WHERE coupon_id = {coupon} AND seq = {seq} AND user_id = {user} AND nth = {nth} \
         AND activity_id = {activity} AND claimed_at = {claimed_at_ms}"
    );
    query_number(&mut connection, &sql).await.map(|rows| rows == 1)
}

/// Whether MySQL records that Redis has every change of the coupon.
pub async fn is_published(url: &str, coupon: Coupon) -> bool {
    let Some(mut connection) = connect(url).await else { return false };
    let sql = format!("SELECT published_revision >= revision FROM coupons WHERE id = {coupon}");
    query_number(&mut connection, &sql).await == Some(1)
}

/// Selects connections of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionSet {
    All,
    InTransactions,
}

/// Kills the service's connections.
pub async fn kill_connections(url: &str, set: ConnectionSet) {
    let mut connection = connect(url).await.expect("MySQL answers");
    let sql = match set {
        ConnectionSet::All => {
            "SELECT CAST(id AS CHAR) AS value FROM information_schema.processlist WHERE user = 'service'"
        }
        ConnectionSet::InTransactions => {
            "SELECT CAST(trx_mysql_thread_id AS CHAR) AS value FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.user = 'service'"
        }
    };
    let ids = query_texts(&mut connection, sql).await.unwrap_or_default();
    for id in ids {
        // The connection may have ended meanwhile.
        let _ = connection.batch_execute(&format!("KILL {id}")).await;
    }
}

/// Takes a lock with `sql` and holds it until the returned connection is dropped.
pub async fn hold_lock(url: &str, sql: &str) -> AsyncMysqlConnection {
    let mut connection = connect(url).await.expect("MySQL answers");
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection
}

/// Locks the coupons in the reverse of the ledger's order. MySQL finds a deadlock and rolls back one of the two
/// transactions.
pub async fn deadlock(url: &str, coupons: &[Coupon]) {
    let Some(mut connection) = connect(url).await else { return };
    let mut sql = "SET SESSION innodb_lock_wait_timeout = 2; START TRANSACTION;".to_owned();
    for coupon in coupons.iter().rev() {
        sql.push_str(&format!("UPDATE coupons SET face_value = face_value WHERE id = {coupon}; DO SLEEP(0.05);"));
        sql.push_str(&format!("SELECT id FROM coupons WHERE id = {coupon} FOR UPDATE;"));
    }
    sql.push_str("ROLLBACK");
    // Either transaction may be rolled back.
    let _ = connection.batch_execute(&sql).await;
}
