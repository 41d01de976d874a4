//! The table `blocks`: blocked users and addresses. MySQL decides, and instances keep a copy in memory.
//!
//! A removed block stays as an ended row until [`delete_ended`], so the other instances find it among the recent rows.
//! MySQL's UTC clock stamps the rows. Ends are in seconds of the instances' clocks.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use diesel_async::RunQueryDsl;

use super::schema::blocks;
use super::{Db, DbError, UnsignedBigint};
use crate::domain::{Address, Block, BlockReason, Subject, Until, UserId};

/// The part of a row that is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBlock {
    pub subject: Subject,
    pub until: Until,
}

/// A page of rows, and the position of its last row. `next` is `None` on the last page.
#[derive(Debug)]
pub struct BlockPage {
    pub known: Vec<KnownBlock>,
    pub next: Option<Position>,
}

/// The position of a row in the order of keys.
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
    #[diesel(sql_type = Nullable<UnsignedBigint>)]
    ends_at: Option<u64>,
}

/// A block with the name of the blocked user or address.
#[derive(Debug)]
pub struct Listed {
    pub whom: Whom,
    pub block: Block,
}

/// The blocked user by name, or the blocked address.
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
    #[diesel(sql_type = Nullable<UnsignedBigint>)]
    ends_at: Option<u64>,
    #[diesel(sql_type = UnsignedBigint)]
    since: u64,
    #[diesel(sql_type = Text)]
    blocked_by: String,
    #[diesel(sql_type = Text)]
    reason: String,
}

/// The rows to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All blocks in force at this second since 1970.
    Ever { now_seconds: u64 },
    /// All rows written in the last minute, including ended and removed blocks. A row is stamped at the start of its
    /// statement and visible after the commit, at most 20 s later.
    Lately,
}

const PAGE_AND_ORDER: &str = "AND (kind > ? OR (kind = ? AND value > ?)) ORDER BY kind, value LIMIT ?";
const HOLDING: &str = "SELECT kind, value, ends_at FROM blocks WHERE (ends_at IS NULL OR ends_at > ?)";
const RECENT: &str = "SELECT kind, value, ends_at FROM blocks WHERE changed_at >= UTC_TIMESTAMP(3) - INTERVAL ? SECOND";
const RECENT_SECONDS: u64 = 60;

/// An admin's block replaces an existing block.
const REPLACE: &str = "ON DUPLICATE KEY UPDATE since = VALUES(since), blocked_by = VALUES(blocked_by), \
    reason = VALUES(reason), changed_at = VALUES(changed_at), ends_at = VALUES(ends_at)";
/// An automatic block leaves a block in force unchanged. MySQL assigns from left to right, and all assignments read
/// `ends_at`. Therefore `ends_at` is assigned last.
const UNLESS_HOLDING: &str = "ON DUPLICATE KEY UPDATE \
    blocked_by = IF(ends_at <= VALUES(since), VALUES(blocked_by), blocked_by), \
    reason = IF(ends_at <= VALUES(since), VALUES(reason), reason), \
    since = IF(ends_at <= VALUES(since), VALUES(since), since), \
    changed_at = VALUES(changed_at), \
    ends_at = IF(ends_at <= VALUES(since), VALUES(ends_at), ends_at)";

/// The block of `subject`, in force or ended. Returns `None` if no recent block exists.
///
/// # Errors
/// Returns a [`DbError`].
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

/// Blocks `subject`. An existing block is replaced.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, writing again is safe.
pub async fn put(db: &Db, subject: Subject, block: &Block) -> Result<(), DbError> {
    insert(db, &[(subject, block)], REPLACE).await
}

/// Blocks offenders. A block in force is left unchanged.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, writing again is safe.
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
            .bind::<Nullable<UnsignedBigint>, _>(block.until.0)
            .bind::<UnsignedBigint, _>(block.since)
            .bind::<Text, _>(&block.by)
            .bind::<Text, _>(block.reason.as_str());
    }
    let mut connection = db.connect().await?;
    db.within("write blocks", query.execute(&mut connection)).await?;
    Ok(())
}

/// Removes the block of `subject`. Returns `false` if no block is in force at `now_seconds`.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, removing again is safe.
pub async fn take_away(db: &Db, subject: Subject, now_seconds: u64) -> Result<bool, DbError> {
    let (kind, value) = key(subject);
    let mut connection = db.connect().await?;
    let update = diesel::sql_query(
        "UPDATE blocks SET ends_at = 0, changed_at = UTC_TIMESTAMP(3) \
         WHERE kind = ? AND value = ? AND (ends_at IS NULL OR ends_at > ?)",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(value)
    .bind::<UnsignedBigint, _>(now_seconds);
    db.within("remove block", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Reads up to `rows_max` rows after `after`, ordered by key. Rows that this program cannot have written are skipped,
/// so one bad row does not hide the rest.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read(db: &Db, since: Since, after: Option<&Position>, rows_max: u32) -> Result<BlockPage, DbError> {
    let (statement, bound) = match since {
        Since::Ever { now_seconds } => (HOLDING, now_seconds),
        Since::Lately => (RECENT, RECENT_SECONDS),
    };
    let (kind, value) = after.map_or(("", ""), |after| (after.kind.as_str(), after.value.as_str()));
    let query = diesel::sql_query(format!("{statement} {PAGE_AND_ORDER}"))
        .bind::<UnsignedBigint, _>(bound)
        .bind::<Text, _>(kind)
        .bind::<Text, _>(kind)
        .bind::<Text, _>(value)
        .bind::<UnsignedBigint, _>(u64::from(rows_max));
    let mut connection = db.connect().await?;
    let rows: Vec<KnownRow> = db.within("read blocks", query.load(&mut connection)).await?;
    let is_full = rows.len() >= rows_max as usize;
    let known = rows.iter().filter_map(known).collect();
    let next = rows.into_iter().next_back().filter(|_| is_full);
    Ok(BlockPage { known, next: next.map(|row| Position { kind: row.kind, value: row.value }) })
}

/// Reads up to `rows_max` blocks in force at `now_seconds`, latest first, without the first `skipped` ones. A large
/// `skipped` is slow, because MySQL counts the skipped rows. The list is meant for people.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn list(db: &Db, now_seconds: u64, skipped: u64, rows_max: u64) -> Result<Vec<Listed>, DbError> {
    let query = diesel::sql_query(
        "SELECT page.kind, value, username, ends_at, since, blocked_by, reason FROM ( \
             SELECT * FROM blocks WHERE ends_at IS NULL OR ends_at > ? \
             ORDER BY changed_at DESC, kind DESC, value DESC LIMIT ? OFFSET ?) AS page \
         LEFT JOIN users ON page.kind = 'user' AND users.id = CAST(value AS UNSIGNED) \
         ORDER BY changed_at DESC, page.kind DESC, value DESC",
    )
    .bind::<UnsignedBigint, _>(now_seconds)
    .bind::<UnsignedBigint, _>(rows_max)
    .bind::<UnsignedBigint, _>(skipped);
    let mut connection = db.connect().await?;
    let rows: Vec<ListedRow> = db.within("list blocks", query.load(&mut connection)).await?;
    Ok(rows.into_iter().filter_map(listed).collect())
}

/// Deletes up to `rows_max` rows that ended before `before`, in seconds since 1970, and last changed over 10 minutes
/// ago. By then every instance has read the row. Returns the number of deleted rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn delete_ended(db: &Db, before: u64, rows_max: u32) -> Result<usize, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query(
        "DELETE FROM blocks WHERE ends_at < ? AND changed_at < UTC_TIMESTAMP(3) - INTERVAL 10 MINUTE LIMIT ?",
    )
    .bind::<UnsignedBigint, _>(before)
    .bind::<UnsignedBigint, _>(u64::from(rows_max));
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

fn known(row: &KnownRow) -> Option<KnownBlock> {
    let subject = match row.kind.as_str() {
        USER => row.value.parse::<UserId>().ok().map(Subject::User),
        ADDRESS => row.value.parse().ok().map(Subject::Address),
        _ => None,
    };
    Some(KnownBlock { subject: subject?, until: Until(row.ends_at) })
}

/// Returns `None` for a row that this program cannot have written.
fn listed(row: ListedRow) -> Option<Listed> {
    let whom = match row.kind.as_str() {
        USER => Whom::User(row.username?),
        ADDRESS => Whom::Address(row.value.parse().ok()?),
        _ => return None,
    };
    let reason = BlockReason::parse(&row.reason)?;
    Some(Listed { whom, block: Block { until: Until(row.ends_at), since: row.since, by: row.blocked_by, reason } })
}
