//! What the suite asks of MySQL, past the program and its proxies.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::history::{Claim, Coupon, CouponInMysql, MysqlCounts, Sale};
use crate::stores::{InMysql, Row};

const WAIT: Duration = Duration::from_secs(2);

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A connection; `None` while MySQL does not answer.
pub async fn connect(url: &str) -> Option<AsyncMysqlConnection> {
    tokio::time::timeout(WAIT, AsyncMysqlConnection::establish(url)).await.ok()?.ok()
}

/// How long the oldest open transaction has been open; `None`: there is none.
pub async fn oldest_transaction(url: &str) -> Option<Duration> {
    let mut connection = connect(url).await?;
    let age = "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) FROM information_schema.innodb_trx";
    number(&mut connection, age).await.map(|seconds| Duration::from_secs(small(seconds)))
}

/// Runs statements; MySQL must be there.
pub async fn execute(url: &str, sql: &str) {
    let mut connection = connect(url).await.expect("MySQL answers");
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The one number that a query gives, called `value`.
pub async fn number(connection: &mut AsyncMysqlConnection, sql: &str) -> Option<i64> {
    let query = diesel::sql_query(format!("SELECT CAST(({sql}) AS SIGNED) AS value"));
    tokio::time::timeout(WAIT, query.get_result::<Number>(connection)).await.ok()?.ok().map(|row| row.value)
}

/// The texts that a query gives, called `value`.
pub async fn lines(connection: &mut AsyncMysqlConnection, sql: &str) -> Option<Vec<String>> {
    let query = diesel::sql_query(sql.to_owned());
    let rows = tokio::time::timeout(WAIT * 5, query.load::<Line>(connection)).await.ok()?.ok()?;
    Some(rows.into_iter().map(|row| row.value).collect())
}

fn numbers(line: &str) -> Vec<i64> {
    line.split(' ').map(|number| number.parse().expect("the query gives numbers")).collect()
}

fn small<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).unwrap_or_else(|_| panic!("{number} is out of its range"))
}

/// Counts, all of one moment; `None` where MySQL did not answer in time.
pub async fn count(url: &str) -> Option<MysqlCounts> {
    let mut connection = connect(url).await?;
    let begin = connection.batch_execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    tokio::time::timeout(WAIT, begin).await.ok()?.ok()?;
    let coupons = "SELECT CONCAT_WS(' ', c.id, c.amount, c.left_count, COUNT(r.seq), COALESCE(MAX(r.seq), 0)) AS value \
                   FROM coupons c LEFT JOIN claims r ON r.coupon_id = c.id GROUP BY c.id";
    let most = "SELECT CONCAT_WS(' ', coupon_id, MAX(held)) AS value FROM \
                (SELECT coupon_id, COUNT(*) AS held FROM claims GROUP BY coupon_id, user_id) AS h GROUP BY coupon_id";
    let mut counts = MysqlCounts::default();
    for line in lines(&mut connection, coupons).await? {
        let row = numbers(&line);
        let (amount, left) = (small(row[1]), row[2]);
        let (rows, highest) = (small(row[3]), small(row[4]));
        counts.coupons.insert(small(row[0]), CouponInMysql { amount, left, rows, highest, most_held: 0 });
    }
    for line in lines(&mut connection, most).await? {
        let row = numbers(&line);
        counts.coupons.entry(small(row[0])).or_default().most_held = small(row[1]);
    }
    counts.poisoned = small(number(&mut connection, "SELECT COUNT(*) FROM poisoned_claims").await?);
    Some(counts)
}

/// Everything that MySQL has of claims; it must be there.
pub async fn read_all(url: &str) -> InMysql {
    let counts = count(url).await.expect("MySQL answers");
    let mut connection = connect(url).await.expect("MySQL answers");
    let claims = "SELECT CONCAT_WS(' ', coupon_id, user_id, seq, nth, activity_id, claimed_at) AS value FROM claims";
    let rows = lines(&mut connection, claims).await.expect("MySQL answers");
    let rows = rows.iter().map(|line| {
        let row = numbers(line);
        let (seq, nth, activity) = (small(row[2]), small(row[3]), small(row[4]));
        let claim = Claim { seq, nth, activity, claimed_at_ms: small(row[5]) };
        Row { coupon: small(row[0]), user: small(row[1]), claim }
    });
    let rows = rows.collect();
    let poisoned = lines(&mut connection, "SELECT CONCAT(claim, ' ', reason) AS value FROM poisoned_claims").await;
    InMysql { counts, rows, poisoned: poisoned.expect("MySQL answers") }
}

/// Makes or changes the only activity of a coupon, in MySQL alone: what an instance leaves that dies before it told Redis.
/// The repair publishes it.
pub async fn write_sale(url: &str, coupon: Coupon, sale: &Sale) {
    let Sale { start, end, total, speed, buy_limit } = sale;
    let columns =
        format!("start_time = {start}, end_time = {end}, total = {total}, speed = {speed}, buy_limit = {buy_limit}");
    // MySQL assigns from left to right: the activity's revision is the coupon's new one.
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

/// Whether Redis is known to have every change of the coupon.
pub async fn is_published(url: &str, coupon: Coupon) -> bool {
    let Some(mut connection) = connect(url).await else { return false };
    let sql = format!("SELECT published_revision >= revision FROM coupons WHERE id = {coupon}");
    number(&mut connection, &sql).await == Some(1)
}

/// Which of the service's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    InTransactions,
}

/// Kills the service's connections.
pub async fn kill_connections(url: &str, which: Which) {
    let mut connection = connect(url).await.expect("MySQL answers");
    let sql = match which {
        Which::All => "SELECT CAST(id AS CHAR) AS value FROM information_schema.processlist WHERE user = 'service'",
        Which::InTransactions => {
            "SELECT CAST(trx_mysql_thread_id AS CHAR) AS value FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.user = 'service'"
        }
    };
    let ids = lines(&mut connection, sql).await.unwrap_or_default();
    for id in ids {
        // It may have ended meanwhile.
        let _ = connection.batch_execute(&format!("KILL {id}")).await;
    }
}

/// Holds a lock that is taken by `sql` until the connection is dropped.
pub async fn hold(url: &str, sql: &str) -> AsyncMysqlConnection {
    let mut connection = connect(url).await.expect("MySQL answers");
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection
}

/// Locks the coupons in the order opposite to the ledger's, so that one of both is chosen as a deadlock's victim.
pub async fn deadlock(url: &str, coupons: &[Coupon]) {
    let Some(mut connection) = connect(url).await else { return };
    let mut sql = "SET SESSION innodb_lock_wait_timeout = 2; START TRANSACTION;".to_owned();
    for coupon in coupons.iter().rev() {
        sql.push_str(&format!("UPDATE coupons SET face_value = face_value WHERE id = {coupon}; DO SLEEP(0.05);"));
        sql.push_str(&format!("SELECT id FROM coupons WHERE id = {coupon} FOR UPDATE;"));
    }
    sql.push_str("ROLLBACK");
    // Being the victim is as good as not being it.
    let _ = connection.batch_execute(&sql).await;
}
