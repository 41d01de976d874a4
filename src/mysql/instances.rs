//! The table `instances`: running processes and the state of their ledgers.
//!
//! A process has a row for each shard. The key is the random id of the process, and the shard. Host and address are a label, because cloned machines can have the
//! same ones. A program that does not know the column `label` has host and address as the key.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use diesel::mysql::Mysql;
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Nullable, TinyInt, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::new_ids::SERVER;
use super::schema::instances;
use super::{Db, DbError, UnsignedBigint};
use crate::domain::{EntryId, Epoch, Format, ShardId};

/// An instance without a beat for this time counts as dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// A running process of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// A random id. A restart has another id.
    pub id: String,
    /// Host and listen address, for logs and pages. Several processes may have the same label.
    pub label: String,
    /// The highest format that the process knows.
    pub format: Format,
}

/// The state of an instance, as its beat says.
#[derive(Debug, Clone)]
pub struct InstanceState {
    /// The number of the beat, above all earlier ones of the process.
    pub beat_number: u64,
    pub acknowledged: Epoch,
    /// The oldest outbox entry in the hands of the ledger.
    pub oldest: Option<EntryId>,
    /// The `run_id` and the address of the Redis process that the instance reaches. Empty if it reaches none.
    pub redis_run_id: String,
    pub redis_address: String,
}

/// Writes beats of `process` for some shards, in one statement.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn beat(db: &Db, process: &Process, states: &[(ShardId, InstanceState)]) -> Result<(), DbError> {
    let row = format!("(?, ?, ?, NOW(3), ?, ?, ?, ?, ?, ?, ?, LEFT({SERVER}, 255))");
    let mut upsert = diesel::sql_query(format!(
        "INSERT INTO instances \
         (instance, process, label, beat_at, beat_number, acknowledged_epoch, oldest_entry, redis_run_id, \
         redis_address, format, shard, mysql_server) \
         VALUES {} ON DUPLICATE KEY UPDATE beat_at = NOW(3), \
         beat_number = VALUES(beat_number), \
         acknowledged_epoch = VALUES(acknowledged_epoch), oldest_entry = VALUES(oldest_entry), \
         redis_run_id = VALUES(redis_run_id), redis_address = VALUES(redis_address), \
         format = VALUES(format), mysql_server = VALUES(mysql_server)",
        vec![row; states.len()].join(", ")
    ))
    .into_boxed::<Mysql>();
    for (shard, state) in states {
        upsert = upsert
            .bind::<Varchar, _>(&process.id)
            .bind::<Varchar, _>(&process.id)
            .bind::<Varchar, _>(&process.label)
            .bind::<UnsignedBigint, _>(state.beat_number)
            .bind::<Unsigned<Integer>, _>(state.acknowledged.0)
            .bind::<Nullable<Varchar>, _>(state.oldest.map(|id| id.to_string()))
            .bind::<Varchar, _>(&state.redis_run_id)
            .bind::<Varchar, _>(&state.redis_address)
            .bind::<Unsigned<TinyInt>, _>(process.format.0)
            .bind::<Varchar, _>(shard.name());
    }
    let mut connection = db.connect().await?;
    db.within("beat", upsert.execute(&mut connection)).await?;
    Ok(())
}

/// The number of instances that serve users and do not stop soon: those that have beaten within [`DEAD_AFTER`] by MySQL's
/// clock.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn serving(db: &Db) -> Result<u32, DbError> {
    let mut connection = db.connect().await?;
    let seconds = DEAD_AFTER.as_secs();
    let is_alive = diesel::dsl::sql::<Bool>(&format!("beat_at > NOW(3) - INTERVAL {seconds} SECOND"));
    let first = instances::shard.eq(ShardId::FIRST.name());
    let query = instances::table.filter(first).filter(instances::draining.eq(false)).filter(is_alive).count();
    let count: i64 = db.within("count instances", query.get_result(&mut connection)).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The servers that took the beats of the last seconds, by MySQL's clock. Several in a cluster of MySQL without a single
/// writer.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn mysql_servers(db: &Db) -> Result<Vec<String>, DbError> {
    let mut connection = db.connect().await?;
    let seconds = REPORT_AGE.as_secs();
    let is_fresh = diesel::dsl::sql::<Bool>(&format!("beat_at > NOW(3) - INTERVAL {seconds} SECOND"));
    let named = instances::table.filter(instances::mysql_server.ne("")).filter(is_fresh);
    let query = named.select(instances::mysql_server).distinct().order(instances::mysql_server);
    db.within("read writers", query.load(&mut connection)).await
}

/// Marks a process as one that stops soon.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn drain(db: &Db, process: &str) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let rows = instances::table.filter(instances::instance.eq(process));
    let update = diesel::update(rows).set(instances::draining.eq(true));
    db.within("drain", update.execute(&mut connection)).await?;
    Ok(())
}

/// Deletes the rows of a process that stops.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn leave(db: &Db, process: &Process) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let rows = instances::table.filter(instances::instance.eq(&process.id));
    db.within("leave", diesel::delete(rows).execute(&mut connection)).await?;
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Instance {
    #[diesel(sql_type = Varchar)]
    pub shard: String,
    #[diesel(sql_type = Varchar)]
    pub label: String,
    #[diesel(sql_type = Varchar)]
    pub process: String,
    /// The last beat. The text differs from beat to beat, and is not compared with any clock.
    #[diesel(sql_type = Varchar)]
    pub beat_at: String,
    /// The oldest unstored outbox entry in the hands of the process.
    #[diesel(sql_type = Nullable<Varchar>)]
    pub oldest_entry: Option<String>,
}

/// The last beats of processes, each with the time of its first reading by the monotonic clock of this process. A
/// stepped clock of MySQL can therefore neither make a process silent nor keep a dead process alive.
#[derive(Debug, Default)]
pub struct BeatLog(HashMap<String, (String, Instant)>);

impl BeatLog {
    /// Records the rows of one reading, and forgets all other processes.
    pub fn read(&mut self, rows: &[Instance], now: Instant) {
        self.0.retain(|process, _| rows.iter().any(|row| row.process == *process));
        for Instance { process, beat_at, .. } in rows {
            let (beat, since) = self.0.entry(process.clone()).or_insert_with(|| (beat_at.clone(), now));
            if beat != beat_at {
                (*beat, *since) = (beat_at.clone(), now);
            }
        }
    }

    /// Records a sign of life of `process` in another place.
    pub fn heard(&mut self, process: &str, now: Instant) {
        if let Some((_, since)) = self.0.get_mut(process) {
            *since = now;
        }
    }

    /// The lowest entry in the hands of a living process, by the rows of the last reading.
    pub fn oldest_held(&self, rows: &[Instance], now: Instant) -> Option<EntryId> {
        let living = rows.iter().filter(|row| self.silence(&row.process, now) < DEAD_AFTER);
        living.filter_map(|row| row.oldest_entry.as_deref()?.parse().ok()).min()
    }

    /// Time since the last sign of life of `process`, or since its first reading. Zero for an unknown process.
    pub fn silence(&self, process: &str, now: Instant) -> Duration {
        self.0.get(process).map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }
}

/// All instances of all shards but those of `process`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn others(db: &Db, process: &str) -> Result<Vec<Instance>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(format!("{INSTANCES} WHERE process <> ?")).bind::<Varchar, _>(process);
    db.within("read instances", query.load(&mut connection)).await
}

/// Instances, but not that of `process`, that have not acknowledged `epoch` of a shard.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn without_acknowledgement(
    db: &Db,
    shard: ShardId,
    process: &str,
    epoch: Epoch,
) -> Result<Vec<Instance>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(format!("{INSTANCES} WHERE shard = ? AND process <> ? AND acknowledged_epoch < ?"))
        .bind::<Varchar, _>(shard.name())
        .bind::<Varchar, _>(process)
        .bind::<Unsigned<Integer>, _>(epoch.0);
    db.within("read acknowledgements", query.load(&mut connection)).await
}

/// The Redis process that an instance reaches.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RedisReport {
    #[diesel(sql_type = Varchar)]
    pub label: String,
    #[diesel(sql_type = Varchar)]
    pub run_id: String,
    #[diesel(sql_type = Varchar)]
    pub address: String,
}

impl fmt::Display for RedisReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, run_id, address } = self;
        write!(f, "{label} reaches {run_id} at {address}")
    }
}

/// A report counts for this time. Instances beat every second.
const REPORT_AGE: Duration = Duration::from_secs(3);

/// The Redis processes that instances reach for a shard, as of the last seconds by MySQL's clock.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn redis_reports(db: &Db, shard: ShardId) -> Result<Vec<RedisReport>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT IF(label = '', instance, label) AS label, redis_run_id AS run_id, redis_address AS address \
         FROM instances WHERE redis_run_id <> '' AND beat_at > NOW(3) - INTERVAL ? SECOND AND shard = ? \
         ORDER BY label, instance",
    )
    .bind::<Unsigned<Bigint>, _>(REPORT_AGE.as_secs())
    .bind::<Varchar, _>(shard.name());
    db.within("read Redis processes", query.load(&mut connection)).await
}

/// The number of the last beat of each process for a shard. 0 for a program that does not number its beats.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn beat_numbers(db: &Db, shard: ShardId) -> Result<HashMap<String, u64>, DbError> {
    let mut connection = db.connect().await?;
    let of_shard = instances::table.filter(instances::shard.eq(shard.name()));
    let query = of_shard.select((instances::process, instances::beat_number));
    let rows: Vec<(String, u64)> = db.within("read beats", query.load(&mut connection)).await?;
    Ok(rows.into_iter().collect())
}

/// Deletes the row of a process for a shard, if the process has not beaten since `dead` was read. Returns whether the row
/// was deleted.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn bury(db: &Db, shard: ShardId, dead: &Instance) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query("DELETE FROM instances WHERE shard = ? AND process = ? AND beat_at = ?")
        .bind::<Varchar, _>(shard.name())
        .bind::<Varchar, _>(&dead.process)
        .bind::<Varchar, _>(&dead.beat_at);
    Ok(db.within("delete dead instance", delete.execute(&mut connection)).await? > 0)
}

const INSTANCES: &str = "SELECT shard, IF(label = '', instance, label) AS label, process, CAST(beat_at AS CHAR) AS beat_at, \
    oldest_entry FROM instances";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_from_the_first_reading_of_a_beat_whatever_time_the_beat_says() {
        let (mut log, began) = (BeatLog::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let row = |beat_at: &str| Instance {
            shard: "s0".to_owned(),
            label: "a".to_owned(),
            process: "p".to_owned(),
            beat_at: beat_at.to_owned(),
            oldest_entry: None,
        };
        assert_eq!(log.silence("p", at(9)), Duration::ZERO, "nothing was read");
        for (second, beat) in
            [(0, "2026-11-29 02:00:00.000"), (1, "2026-11-29 01:00:01.000"), (5, "2026-11-29 01:00:01.000")]
        {
            log.read(&[row(beat)], at(second));
        }
        assert_eq!(log.silence("p", at(9)), Duration::from_secs(8));
        log.heard("p", at(8));
        assert_eq!(log.silence("p", at(9)), Duration::from_secs(1));
        log.read(&[], at(9));
        assert_eq!(log.silence("p", at(99)), Duration::ZERO, "the row is deleted");
    }
}
