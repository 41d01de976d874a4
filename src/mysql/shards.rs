//! The table `shards`: the Redis process and loading of each shard, and the rebuild under way.
//!
//! A rebuild calls [`begin`], [`raise_epoch`], [`forget_found`] if needed, and [`finish`]. Each step succeeds only with
//! the expected epoch and token, so at most one of two rebuilds continues. `Ok(false)` ends the other.

use std::collections::HashMap;

use diesel::mysql::Mysql;
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::shards;
use super::{Db, DbError, Transaction, ledgers};
use crate::domain::{Commits, Epoch, Format, ShardId};

const LIVE: &str = "live";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    pub epoch: Epoch,
    /// The `run_id` of the Redis process that was loaded last. Empty if none was ever loaded.
    pub run_id: String,
    /// The `run_id` of the process that was loaded before. Empty if none.
    pub previous_run_id: String,
    /// The address of the process that was loaded last, as its loader reached it. Empty if unknown.
    pub redis_address: String,
    /// Whether no rebuild is under way.
    pub is_live: bool,
    /// The token of the current or the last rebuild.
    pub token: String,
    /// The epoch that the current rebuild will set.
    pub next_epoch: Epoch,
    /// The key `live` at the start of the current rebuild. Empty if the key was missing, `None` without a rebuild.
    pub found_live: Option<String>,
    /// Of the data in Redis.
    pub format: Format,
    /// The format that the next rebuild raises `format` to.
    pub wanted_format: Format,
}

/// The epoch and the token expected by a step of a rebuild.
#[derive(Debug, Clone, Copy)]
pub struct ShardToken<'a> {
    pub epoch: Epoch,
    pub token: &'a str,
}

/// Reads the shard's row.
///
/// # Errors
/// Returns a [`DbError`]. [`DbError::Unreadable`] if there is no row.
pub async fn read(db: &Db, shard: &str) -> Result<ShardRow, DbError> {
    let row = read_each(db, &[shard]).await?.pop().flatten();
    row.ok_or_else(|| missing(shard))
}

/// The error where a shard has no row.
pub(super) fn missing(shard: &str) -> DbError {
    DbError::Unreadable { operation: "read shards", what: format!("no row of {shard}") }
}

/// Reads the rows of these shards, in this order. `None` for a shard without a row.
///
/// # Errors
/// Returns a [`DbError`].
pub(super) async fn read_each(db: &Db, shards: &[&str]) -> Result<Vec<Option<ShardRow>>, DbError> {
    let mut connection = db.connect().await?;
    let query = shards::table.filter(shards::shard.eq_any(shards)).select((
        shards::shard,
        shards::epoch,
        shards::run_id,
        shards::state,
        shards::token,
        shards::next_epoch,
        shards::found_live,
        shards::previous_run_id,
        shards::redis_address,
        (shards::format, shards::wanted_format),
    ));
    type Row = (String, u32, String, String, String, u32, Option<String>, String, String, (u8, u8));
    let rows: Vec<Row> = db.within("read shards", query.load(&mut connection)).await?;
    let read = |row: Row| {
        let (shard, epoch, run_id, state, token, next_epoch, found_live, previous_run_id, redis_address, formats) = row;
        let row = ShardRow {
            epoch: Epoch(epoch),
            run_id,
            previous_run_id,
            redis_address,
            is_live: state == LIVE,
            token,
            next_epoch: Epoch(next_epoch),
            found_live,
            format: Format(formats.0),
            wanted_format: Format(formats.1),
        };
        (shard, row)
    };
    let mut rows: HashMap<String, ShardRow> = rows.into_iter().map(read).collect();
    Ok(shards.iter().map(|shard| rows.remove(*shard)).collect())
}

/// All shards of the database, in the order of their numbers. There is at least one, and the numbers have no gaps.
///
/// # Errors
/// Returns a [`DbError`]. [`DbError::Unreadable`] if a row has a name that no program makes, or if a number is missing.
pub async fn all(db: &Db) -> Result<Vec<ShardId>, DbError> {
    let mut connection = db.connect().await?;
    let names: Vec<String> =
        db.within("read shards", shards::table.select(shards::shard).load(&mut connection)).await?;
    let unreadable = || DbError::Unreadable { operation: "read shards", what: names.join(", ") };
    let mut ids = names.iter().map(|name| ShardId::parse(name)).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    ids.sort_unstable();
    let is_dense = ids.iter().enumerate().all(|(place, id)| id.number() == place) && !ids.is_empty();
    is_dense.then_some(ids).ok_or_else(unreadable)
}

/// The outcome of [`add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The database has these shards more. Instances load them within seconds.
    Done { first: ShardId, last: ShardId },
    /// The first shard has an older format, and releases that know only one shard may run. Nothing has changed.
    OldFormat,
    /// The database would have more than [`ShardId::MAX`] shards. Nothing has changed.
    TooMany,
}

/// Adds `count` shards, at least one.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn add(db: &Db, count: usize) -> Result<Added, DbError> {
    let mut tx = db.begin().await?;
    let present = lock_all(db, &mut tx).await?;
    add_within(db, tx, &present, count).await
}

/// Gives a new database `count` shards. Does nothing if a shard was loaded before, or if there are several.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn start_with(db: &Db, count: usize) -> Result<(), DbError> {
    if count <= 1 {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    // Under the lock, because instances start at the same time.
    let present = lock_all(db, &mut tx).await?;
    if !matches!(present[..], [(_, 0)]) {
        tx.roll_back().await;
        return Ok(());
    }
    add_within(db, tx, &present, count - 1).await.map(drop)
}

/// Locks all rows, so that nobody adds a shard meanwhile. Returns the format and the epoch of each.
async fn lock_all(db: &Db, tx: &mut Transaction<'_>) -> Result<Vec<(u8, u32)>, DbError> {
    let lock = shards::table.select((shards::format, shards::epoch)).for_update();
    db.within("lock shards", lock.load(tx.connection())).await
}

/// Adds shards to the locked ones, and commits.
async fn add_within(db: &Db, mut tx: Transaction<'_>, present: &[(u8, u32)], count: usize) -> Result<Added, DbError> {
    let (first, last) = (ShardId::new(present.len()), ShardId::new(present.len() + count.max(1) - 1));
    let outcome = match (first, last) {
        (Some(first), Some(last)) if present.iter().all(|(format, _)| *format == Format::NEWEST.0) => {
            Added::Done { first, last }
        }
        (Some(_), Some(_)) => Added::OldFormat,
        _ => Added::TooMany,
    };
    let Added::Done { first, last } = outcome else {
        tx.roll_back().await;
        return Ok(outcome);
    };
    let newest = (shards::format.eq(Format::NEWEST.0), shards::wanted_format.eq(Format::NEWEST.0));
    let rows = (first.number()..=last.number()).filter_map(ShardId::new);
    let rows: Vec<_> = rows.map(|shard| (shards::shard.eq(shard.name()), newest)).collect();
    db.within("add shards", diesel::insert_into(shards::table).values(rows).execute(tx.connection())).await?;
    tx.commit().await?;
    Ok(outcome)
}

/// The open coupons of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCoupons {
    pub shard: ShardId,
    /// Coupons that are not archived.
    pub coupons: i64,
    /// Whether all running processes know the shard. Only then it may get coupons, because a process that does not know it
    /// would say that the coupon does not exist.
    pub is_known: bool,
}

/// The open coupons of each shard, in the order of their numbers.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn open_coupons(db: &Db) -> Result<Vec<OpenCoupons>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Varchar)]
        shard: String,
        #[diesel(sql_type = Bigint)]
        coupons: i64,
        #[diesel(sql_type = Bool)]
        is_known: bool,
    }
    let query = diesel::sql_query(
        "SELECT s.shard, (SELECT COUNT(*) FROM coupons c WHERE c.archived = FALSE AND c.shard = s.shard) AS coupons, \
         NOT EXISTS (SELECT 1 FROM instances i WHERE i.shard = 's0' AND NOT EXISTS \
         (SELECT 1 FROM instances k WHERE k.instance = i.instance AND k.shard = s.shard)) AS is_known FROM shards s",
    );
    let mut connection = db.connect().await?;
    let rows: Vec<Row> = db.within("count open coupons", query.load(&mut connection)).await?;
    let open = |Row { shard, coupons, is_known }: Row| {
        ShardId::parse(&shard).map(|shard| OpenCoupons { shard, coupons, is_known })
    };
    let mut open: Vec<OpenCoupons> = rows.into_iter().filter_map(open).collect();
    open.sort_by_key(|open| open.shard);
    Ok(open)
}

/// Begins a rebuild under `token` that will raise the epoch to `next`. Stores the value found in `live`, unless an
/// unfinished rebuild has stored one already.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn begin(
    db: &Db,
    shard: &str,
    was: ShardToken<'_>,
    token: &str,
    next: Epoch,
    found_live: &str,
) -> Result<bool, DbError> {
    // MySQL assigns from left to right. `found_live` depends on the old `state` and is therefore assigned first.
    let set = "found_live = IF(state = 'recovering' AND found_live IS NOT NULL, found_live, ?), state = 'recovering', \
               token = ?, next_epoch = ?";
    update(db, shard, was, "begin rebuild", set, &[found_live, token, &next.to_string()]).await
}

/// The result of [`raise_epoch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raised {
    /// The epoch is raised. These are the commits that MySQL has.
    Done(Commits),
    /// Another rebuild has the shard. Nothing has changed.
    Overtaken,
    /// MySQL lacks commits that Redis knows. Nothing has changed.
    WentBack,
}

/// Raises the epoch in `shards` and in all rows of `ledgers`, raises the format if a higher one is wanted, and deletes
/// the rows of processes that have left or are dead. Waits for batches of the old epoch that are being stored. Later batches of that epoch are late. `redis` are the
/// commits that Redis knows, read while no other process can raise them.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn raise_epoch(
    db: &Db,
    shard: &str,
    was: ShardToken<'_>,
    next: Epoch,
    redis: &Commits,
) -> Result<Raised, DbError> {
    let mut tx = db.begin().await?;
    let rows = diesel::sql_query("UPDATE ledgers SET epoch = ? WHERE shard = ?")
        .bind::<Unsigned<Integer>, _>(next.0)
        .bind::<Varchar, _>(shard);
    db.within("raise epoch", rows.execute(tx.connection())).await?;
    let held = db.within("read ledgers", ledgers::commits(tx.connection(), shard)).await?;
    if redis.are_ahead_of(&held) {
        tx.roll_back().await;
        return Ok(Raised::WentBack);
    }
    let epoch = diesel::sql_query(
        "UPDATE shards SET epoch = ?, format = wanted_format WHERE shard = ? AND epoch = ? AND token = ?",
    )
    .bind::<Unsigned<Integer>, _>(next.0)
    .bind::<Varchar, _>(shard)
    .bind::<Unsigned<Integer>, _>(was.epoch.0)
    .bind::<Varchar, _>(was.token);
    if db.within("raise epoch", epoch.execute(tx.connection())).await? != 1 {
        tx.roll_back().await;
        return Ok(Raised::Overtaken);
    }
    let dead = diesel::sql_query(
        "DELETE FROM ledgers WHERE shard = ? AND process NOT IN (SELECT process FROM instances WHERE shard = ?)",
    )
    .bind::<Varchar, _>(shard)
    .bind::<Varchar, _>(shard);
    db.within("raise epoch", dead.execute(tx.connection())).await?;
    let left = db.within("read ledgers", ledgers::commits(tx.connection(), shard)).await?;
    tx.commit().await?;
    Ok(Raised::Done(left))
}

/// Clears `found_live` before the keys are deleted. A restarted rebuild must not take an emptied Redis for complete.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn forget_found(db: &Db, shard: &str, was: ShardToken<'_>) -> Result<bool, DbError> {
    update(db, shard, was, "clear found live", "found_live = ''", &[]).await
}

/// Marks the shard as loaded into the Redis process `run_id` at `address`.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn finish(db: &Db, shard: &str, was: ShardToken<'_>, run_id: &str, address: &str) -> Result<bool, DbError> {
    // MySQL assigns from left to right. `previous_run_id` depends on the old `run_id` and is therefore assigned first.
    let set = "previous_run_id = IF(run_id = ?, previous_run_id, run_id), run_id = ?, redis_address = ?, \
               state = 'live', found_live = NULL";
    update(db, shard, was, "finish rebuild", set, &[run_id, run_id, address]).await
}

/// Updates the row if epoch and token equal `was`. Every step changes a column, so a matched row is a changed row.
async fn update(
    db: &Db,
    shard: &str,
    was: ShardToken<'_>,
    operation: &'static str,
    set: &str,
    values: &[&str],
) -> Result<bool, DbError> {
    let epoch = was.epoch.to_string();
    let sql = format!("UPDATE shards SET {set} WHERE shard = ? AND epoch = ? AND token = ?");
    let mut statement = diesel::sql_query(sql).into_boxed::<Mysql>();
    for value in values.iter().chain(&[shard, &epoch, was.token]) {
        statement = statement.bind::<Varchar, _>(*value);
    }
    let mut connection = db.connect().await?;
    db.within(operation, statement.execute(&mut connection)).await.map(|rows| rows == 1)
}
