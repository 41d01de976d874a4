//! The table `blocks`: who is kept out. MySQL has the truth; instances keep a copy in memory.
//!
//! A block that is taken away stays as a row that has ended, so that the other instances find it among what is new, until
//! [`delete_ended`]. Rows are stamped with MySQL's clock in UTC; ends are in seconds of the instances' clocks.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Nullable, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::blocks;
use super::{Db, DbError};
use crate::domain::{Address, Block, BlockReason, Subject, Until, UserId};

type Number = Unsigned<Bigint>;

/// What memory keeps of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub subject: Subject,
    pub until: Until,
}

/// Some rows, and where the next ones begin; `None` where these were the last.
#[derive(Debug)]
pub struct Page {
    pub known: Vec<Known>,
    pub next: Option<Position>,
}

/// A row's place in the order of keys.
#[derive(Debug, Clone)]
pub struct Position {
    kind: String,
    value: String,
}

#[derive(Debug, QueryableByName)]
struct KnownRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = Nullable<Number>)]
    ends_at: Option<u64>,
}

/// A block that holds, with whom it is about.
#[derive(Debug)]
pub struct Listed {
    pub whom: Whom,
    pub block: Block,
}

/// Whom a block is about, as people know him.
#[derive(Debug)]
pub enum Whom {
    User(String),
    Address(Address),
}

#[derive(Debug, QueryableByName)]
struct ListedRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    value: String,
    #[diesel(sql_type = Nullable<Text>)]
    username: Option<String>,
    #[diesel(sql_type = Nullable<Number>)]
    ends_at: Option<u64>,
    #[diesel(sql_type = Number)]
    since: u64,
    #[diesel(sql_type = Text)]
    blocked_by: String,
    #[diesel(sql_type = Text)]
    reason: String,
}

/// Which rows a read gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All that hold at this second, since 1970.
    Ever { now_seconds: u64 },
    /// All that were written in the last minute, those that have ended or were taken away too. A row is stamped when its
    /// statement begins and seen once it is committed, at most 20 s later.
    Lately,
}

const PAGE_AND_ORDER: &str = "AND (kind > ? OR (kind = ? AND value > ?)) ORDER BY kind, value LIMIT ?";
const HOLDING: &str = "SELECT kind, value, ends_at FROM blocks WHERE (ends_at IS NULL OR ends_at > ?)";
const RECENT: &str = "SELECT kind, value, ends_at FROM blocks WHERE changed_at >= UTC_TIMESTAMP(3) - INTERVAL ? SECOND";
const RECENT_SECONDS: u64 = 60;

/// What an admin asks for replaces what is there.
const REPLACE: &str = "ON DUPLICATE KEY UPDATE since = VALUES(since), blocked_by = VALUES(blocked_by), \
    reason = VALUES(reason), changed_at = VALUES(changed_at), ends_at = VALUES(ends_at)";
/// What happens by itself leaves a block alone that still holds. Assignments are made from left to right, so that the
/// column they all look at comes last.
const UNLESS_HOLDING: &str = "ON DUPLICATE KEY UPDATE \
    blocked_by = IF(ends_at <= VALUES(since), VALUES(blocked_by), blocked_by), \
    reason = IF(ends_at <= VALUES(since), VALUES(reason), reason), \
    since = IF(ends_at <= VALUES(since), VALUES(since), since), \
    changed_at = VALUES(changed_at), \
    ends_at = IF(ends_at <= VALUES(since), VALUES(ends_at), ends_at)";

/// The block of `subject`, whether it holds or not; `None` where there was none lately.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn find(db: &Db, subject: Subject) -> Result<Option<Block>, DbError> {
    let mut connection = db.connect().await?;
    let (kind, value) = key(subject);
    let query =
        blocks::table.find((kind, &value)).select((blocks::ends_at, blocks::since, blocks::blocked_by, blocks::reason));
    let row: Option<(Option<u64>, u64, String, String)> =
        db.within("find block", async { query.first(&mut connection).await.optional() }).await?;
    let block = |(until, since, by, reason): (_, _, _, String)| {
        let reason = BlockReason::parse(&reason).ok_or_else(|| DbError::Unreadable {
            operation: "find block",
            what: format!("{kind} {value}: {reason}"),
        })?;
        Ok(Block { until: Until(until), since, by, reason })
    };
    row.map(block).transpose()
}

/// Keeps `subject` out, whatever was there before.
///
/// # Errors
/// [`DbError`]; where the outcome is open, writing again is safe.
pub async fn put(db: &Db, subject: Subject, block: &Block) -> Result<(), DbError> {
    insert(db, &[(subject, block)], REPLACE).await
}

/// Keeps offenders out, but for those that are kept out already.
///
/// # Errors
/// [`DbError`]; where the outcome is open, writing again is safe.
pub async fn add_offenders(db: &Db, offenders: &[(Subject, Block)]) -> Result<(), DbError> {
    let rows: Vec<(Subject, &Block)> = offenders.iter().map(|(subject, block)| (*subject, block)).collect();
    insert(db, &rows, UNLESS_HOLDING).await
}

async fn insert(db: &Db, rows: &[(Subject, &Block)], on_duplicate: &str) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let places = vec!["(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))"; rows.len()].join(", ");
    let mut query = diesel::sql_query(format!(
        "INSERT INTO blocks (kind, value, ends_at, since, blocked_by, reason, changed_at) VALUES {places} {on_duplicate}"
    ))
    .into_boxed();
    for (subject, block) in rows {
        let (kind, value) = key(*subject);
        query = query
            .bind::<Text, _>(kind)
            .bind::<Text, _>(value)
            .bind::<Nullable<Number>, _>(block.until.0)
            .bind::<Number, _>(block.since)
            .bind::<Text, _>(&block.by)
            .bind::<Text, _>(block.reason.as_str());
    }
    let mut connection = db.connect().await?;
    db.within("write blocks", query.execute(&mut connection)).await?;
    Ok(())
}

/// Takes the block of `subject` away; `false` where none holds at `now_seconds`.
///
/// # Errors
/// [`DbError`]; where the outcome is open, taking it away again is safe.
pub async fn take_away(db: &Db, subject: Subject, now_seconds: u64) -> Result<bool, DbError> {
    let (kind, value) = key(subject);
    let mut connection = db.connect().await?;
    let update = diesel::sql_query(
        "UPDATE blocks SET ends_at = 0, changed_at = UTC_TIMESTAMP(3) \
         WHERE kind = ? AND value = ? AND (ends_at IS NULL OR ends_at > ?)",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(value)
    .bind::<Number, _>(now_seconds);
    db.within("take block away", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Up to `rows_max` rows behind `after`, in the order of their keys. A row that this program cannot have written is passed
/// over: it must not keep the others from being read.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn read(db: &Db, since: Since, after: Option<&Position>, rows_max: u32) -> Result<Page, DbError> {
    let (statement, bound) = match since {
        Since::Ever { now_seconds } => (HOLDING, now_seconds),
        Since::Lately => (RECENT, RECENT_SECONDS),
    };
    let (kind, value) = after.map_or(("", ""), |after| (after.kind.as_str(), after.value.as_str()));
    let query = diesel::sql_query(format!("{statement} {PAGE_AND_ORDER}"))
        .bind::<Number, _>(bound)
        .bind::<Text, _>(kind)
        .bind::<Text, _>(kind)
        .bind::<Text, _>(value)
        .bind::<Number, _>(u64::from(rows_max));
    let mut connection = db.connect().await?;
    let rows: Vec<KnownRow> = db.within("read blocks", query.load(&mut connection)).await?;
    let is_full = rows.len() >= rows_max as usize;
    let known = rows.iter().filter_map(known).collect();
    let next = rows.into_iter().next_back().filter(|_| is_full);
    Ok(Page { known, next: next.map(|row| Position { kind: row.kind, value: row.value }) })
}

/// Up to `rows_max` blocks that hold at `now_seconds`, the latest first, without the first `skipped` of them. Whoever skips
/// many waits for them to be counted: it is for people who look.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn list(db: &Db, now_seconds: u64, skipped: u64, rows_max: u64) -> Result<Vec<Listed>, DbError> {
    let query = diesel::sql_query(
        "SELECT page.kind, value, username, ends_at, since, blocked_by, reason FROM ( \
             SELECT * FROM blocks WHERE ends_at IS NULL OR ends_at > ? \
             ORDER BY changed_at DESC, kind DESC, value DESC LIMIT ? OFFSET ?) AS page \
         LEFT JOIN users ON page.kind = 'user' AND users.id = CAST(value AS UNSIGNED) \
         ORDER BY changed_at DESC, page.kind DESC, value DESC",
    )
    .bind::<Number, _>(now_seconds)
    .bind::<Number, _>(rows_max)
    .bind::<Number, _>(skipped);
    let mut connection = db.connect().await?;
    let rows: Vec<ListedRow> = db.within("list blocks", query.load(&mut connection)).await?;
    Ok(rows.into_iter().filter_map(listed).collect())
}

/// Deletes up to `rows_max` rows that ended before `before` and that every instance has read as such; returns how many.
///
/// # Errors
/// [`DbError`]
pub async fn delete_ended(db: &Db, before: u64, rows_max: u32) -> Result<usize, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query(
        "DELETE FROM blocks WHERE ends_at < ? AND changed_at < UTC_TIMESTAMP(3) - INTERVAL 10 MINUTE LIMIT ?",
    )
    .bind::<Number, _>(before)
    .bind::<Number, _>(u64::from(rows_max));
    db.within("delete ended blocks", delete.execute(&mut connection)).await
}

const USER: &str = "user";
const ADDRESS: &str = "address";

fn key(subject: Subject) -> (&'static str, String) {
    match subject {
        Subject::User(id) => (USER, id.to_string()),
        Subject::Address(address) => (ADDRESS, address.to_string()),
    }
}

fn known(row: &KnownRow) -> Option<Known> {
    let subject = match row.kind.as_str() {
        USER => row.value.parse::<UserId>().ok().map(Subject::User),
        ADDRESS => row.value.parse().ok().map(Subject::Address),
        _ => None,
    };
    Some(Known { subject: subject?, until: Until(row.ends_at) })
}

/// `None` for a row that this program cannot have written.
fn listed(row: ListedRow) -> Option<Listed> {
    let whom = match row.kind.as_str() {
        USER => Whom::User(row.username?),
        ADDRESS => Whom::Address(row.value.parse().ok()?),
        _ => return None,
    };
    let reason = BlockReason::parse(&row.reason)?;
    Some(Listed { whom, block: Block { until: Until(row.ends_at), since: row.since, by: row.blocked_by, reason } })
}
