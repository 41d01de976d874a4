//! The table `instances`: running processes and the state of their ledgers.

use std::fmt;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Integer, Nullable, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::instances;
use super::{Db, DbError};
use crate::domain::{EntryId, Epoch};

/// An instance without a beat for this time counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// The state of a process, as its beat says.
#[derive(Debug, Clone, Copy)]
pub struct Beat<'a> {
    pub acknowledged: Epoch,
    /// The oldest outbox entry in the hands of the ledger.
    pub oldest: Option<EntryId>,
    /// The `run_id` and the address of the Redis process that the instance reaches. Empty if it reaches none.
    pub redis_run_id: &'a str,
    pub redis_address: &'a str,
}

/// Writes a beat of the instance `instance`, run by `process`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn beat(db: &Db, instance: &str, process: &str, beat: Beat<'_>) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let upsert = diesel::sql_query(
        "INSERT INTO instances (instance, process, beat_at, acknowledged_epoch, oldest_entry, redis_run_id, redis_address) \
         VALUES (?, ?, NOW(3), ?, ?, ?, ?) ON DUPLICATE KEY UPDATE process = VALUES(process), beat_at = NOW(3), \
         acknowledged_epoch = VALUES(acknowledged_epoch), oldest_entry = VALUES(oldest_entry), \
         redis_run_id = VALUES(redis_run_id), redis_address = VALUES(redis_address)",
    )
    .bind::<Varchar, _>(instance)
    .bind::<Varchar, _>(process)
    .bind::<Unsigned<Integer>, _>(beat.acknowledged.0)
    .bind::<Nullable<Varchar>, _>(beat.oldest.map(|id| id.to_string()))
    .bind::<Varchar, _>(beat.redis_run_id)
    .bind::<Varchar, _>(beat.redis_address);
    db.within("beat", upsert.execute(&mut connection)).await?;
    Ok(())
}

/// Deletes the row of a process that stops.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn leave(db: &Db, instance: &str, process: &str) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = instances::table.filter(instances::instance.eq(instance)).filter(instances::process.eq(process));
    db.within("leave", diesel::delete(row).execute(&mut connection)).await?;
    Ok(())
}

/// The oldest unstored outbox entries of living instances other than `instance`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn oldest_entries(db: &Db, instance: &str) -> Result<Vec<EntryId>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Varchar)]
        oldest_entry: String,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT oldest_entry FROM instances WHERE instance <> ? AND oldest_entry IS NOT NULL \
         AND beat_at > NOW(3) - INTERVAL ? SECOND",
    )
    .bind::<Varchar, _>(instance)
    .bind::<Unsigned<Bigint>, _>(DEAD_AFTER.as_secs());
    let rows: Vec<Row> = db.within("read oldest entries", query.load(&mut connection)).await?;
    Ok(rows.iter().filter_map(|row| row.oldest_entry.parse().ok()).collect())
}

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Instance {
    #[diesel(sql_type = Varchar)]
    pub instance: String,
    #[diesel(sql_type = Varchar)]
    pub process: String,
    /// Seconds since the last beat, by MySQL's clock.
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub silent_seconds: u64,
}

/// Instances other than `instance` that have not acknowledged `epoch`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn without_acknowledgement(db: &Db, instance: &str, epoch: Epoch) -> Result<Vec<Instance>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(format!("{INSTANCES} WHERE instance <> ? AND acknowledged_epoch < ?"))
        .bind::<Varchar, _>(instance)
        .bind::<Unsigned<Integer>, _>(epoch.0);
    db.within("read acknowledgements", query.load(&mut connection)).await
}

/// The Redis process that an instance reaches.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RedisReport {
    #[diesel(sql_type = Varchar)]
    pub instance: String,
    #[diesel(sql_type = Varchar)]
    pub run_id: String,
    #[diesel(sql_type = Varchar)]
    pub address: String,
}

impl fmt::Display for RedisReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, run_id, address } = self;
        write!(f, "{instance} reaches {run_id} at {address}")
    }
}

/// The Redis processes that living instances reach.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn redis_reports(db: &Db) -> Result<Vec<RedisReport>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT instance, redis_run_id AS run_id, redis_address AS address FROM instances \
         WHERE redis_run_id <> '' AND beat_at > NOW(3) - INTERVAL ? SECOND ORDER BY instance",
    )
    .bind::<Unsigned<Bigint>, _>(DEAD_AFTER.as_secs());
    db.within("read Redis processes", query.load(&mut connection)).await
}

/// Instances whose last beat is older than `age`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn silent_for(db: &Db, age: Duration) -> Result<Vec<Instance>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(format!("{INSTANCES} WHERE beat_at < NOW(3) - INTERVAL ? SECOND"))
        .bind::<Unsigned<Bigint>, _>(age.as_secs());
    db.within("find silent instances", query.load(&mut connection)).await
}

/// Deletes the row of a process whose last beat is still older than `age`. Returns whether the row was deleted.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn bury(db: &Db, dead: &Instance, age: Duration) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query(
        "DELETE FROM instances WHERE instance = ? AND process = ? AND beat_at < NOW(3) - INTERVAL ? SECOND",
    )
    .bind::<Varchar, _>(&dead.instance)
    .bind::<Varchar, _>(&dead.process)
    .bind::<Unsigned<Bigint>, _>(age.as_secs());
    Ok(db.within("delete dead instance", delete.execute(&mut connection)).await? > 0)
}

const INSTANCES: &str = "SELECT instance, process, \
    CAST(GREATEST(TIMESTAMPDIFF(SECOND, beat_at, NOW(3)), 0) AS UNSIGNED) AS silent_seconds FROM instances";
