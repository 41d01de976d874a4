//! The table `ledgers`: the number of the last committed batch of each process, and the fence of a batch.
//!
//! A batch begins by writing a new number into the row of its process. The row must have the epoch of the batch, and at
//! least the number that the process has committed before. Otherwise a rebuild has raised the epoch, or MySQL has gone
//! back in time. A rebuild writes all rows, so it waits for open batches.
//!
//! Every transaction locks rows of `ledgers` first, and the row of `shards` second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::prelude::QueryableByName;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bigint, Integer, Nullable, Text, Unsigned, Varchar};
use diesel_async::SimpleAsyncConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::writable::refusing_settings;
use super::{Db, DbConnection, DbError};
use crate::domain::{Commits, Epoch};

/// The numbers of the batches of this process. Only one batch of a process is stored at a time.
#[derive(Debug)]
pub struct Fence {
    shard: &'static str,
    process: String,
    numbers: Mutex<Numbers>,
    /// A copy of `numbers.committed` that can be read during a batch.
    committed: AtomicU64,
    refusal: AtomicU8,
}

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The highest number written. An unconfirmed commit may have stored it.
    used: u64,
    /// The highest number whose commit was confirmed.
    committed: u64,
    /// Whether a missing row was added. A row that is missing again was deleted, or MySQL has gone back.
    has_joined: bool,
}

/// Why no batch of this process is stored at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum FenceRefusal {
    /// The process has no row. A rebuild took the process for dead, or MySQL has gone back in time.
    #[error("MySQL has no row of this process in ledgers")]
    RowMissing = 1,
    /// The row is behind the process. MySQL has gone back in time.
    #[error("MySQL has lost commits of this process")]
    RowBehind = 2,
}

/// What the rows say at the beginning of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fenced {
    /// The number is written. The epoch and the state of the shard cannot change before the end of the transaction.
    Passed {
        epoch: u32,
        state: String,
    },
    Refused(FenceRefusal),
}

impl Fence {
    pub fn new(shard: &'static str, process: String) -> Self {
        let (numbers, committed, refusal) = (Mutex::default(), AtomicU64::new(0), AtomicU8::new(0));
        Self { shard, process, numbers, committed, refusal }
    }

    /// The highest number whose commit was confirmed, 0 for none.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    pub fn process(&self) -> &str {
        &self.process
    }

    /// Why the last batch was not stored, if the fence refused it.
    pub fn refusal(&self) -> Option<FenceRefusal> {
        match self.refusal.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(FenceRefusal::RowMissing),
            _ => Some(FenceRefusal::RowBehind),
        }
    }

    /// Lets this process add a row again, after a comparison has shown that MySQL has not gone back.
    pub async fn may_join(&self) {
        self.numbers.lock().await.has_joined = false;
        self.refusal.store(0, Ordering::SeqCst);
    }

    /// Waits until no other batch of this process is stored.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().await
    }

    /// Begins a transaction with a new number. Adds a row for a process that never had one.
    pub(super) async fn begin(
        &self,
        numbers: &mut Numbers,
        connection: &mut DbConnection,
        epoch: Epoch,
    ) -> QueryResult<Fenced> {
        let mut fenced = self.write_number(numbers, connection, epoch).await?;
        if fenced == Fenced::Refused(FenceRefusal::RowMissing) && !numbers.has_joined {
            connection.batch_execute("ROLLBACK").await?;
            self.join(numbers, connection).await?;
            fenced = self.write_number(numbers, connection, epoch).await?;
        }
        self.refusal.store(if let Fenced::Refused(why) = fenced { why as u8 } else { 0 }, Ordering::SeqCst);
        Ok(fenced)
    }

    /// Notes a confirmed commit of the transaction that [`Fence::begin`] has begun.
    pub(super) fn commit(&self, numbers: &mut Numbers) {
        numbers.committed = numbers.used;
        self.committed.store(numbers.committed, Ordering::SeqCst);
    }

    /// Writes the next number, locks the row of the shard, and reads both rows.
    async fn write_number(
        &self,
        numbers: &mut Numbers,
        connection: &mut DbConnection,
        epoch: Epoch,
    ) -> QueryResult<Fenced> {
        // Imported here only: its methods hide those of atomics.
        use diesel_async::RunQueryDsl;
        let Self { shard, process, .. } = self;
        numbers.used += 1;
        let Numbers { used, committed, .. } = *numbers;
        // A later epoch makes the batch late, and the row of the shard tells whether it may be looked at.
        connection
            .batch_execute(&format!(
                "START TRANSACTION; UPDATE ledgers SET counter = {used} \
                 WHERE shard = '{shard}' AND process = '{process}' AND epoch >= {epoch} AND counter >= {committed}"
            ))
            .await?;
        let rows: (u32, String, Option<u32>, Option<u64>, String) =
            LockedRows { shard, process }.get_result(connection).await?;
        let (shard_epoch, state, row_epoch, counter, refusing) = rows;
        if !refusing.is_empty() {
            return Err(Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, Box::new(refusing)));
        }
        Ok(match (row_epoch, counter) {
            // Every number is used once, so the row has it only from the statement above.
            (Some(row_epoch), Some(counter)) if counter == used => {
                Fenced::Passed { epoch: shard_epoch.max(row_epoch), state }
            }
            // A version that does not know this table has raised the epoch. A loss of commits changes both rows alike.
            (Some(row_epoch), Some(counter)) if counter >= committed && row_epoch < shard_epoch => {
                numbers.has_joined = false;
                Fenced::Refused(FenceRefusal::RowMissing)
            }
            (Some(_), Some(_)) => Fenced::Refused(FenceRefusal::RowBehind),
            _ => Fenced::Refused(FenceRefusal::RowMissing),
        })
    }

    /// Adds the row of this process, with the epoch of the shard. The transaction also changes the row of the shard, so it
    /// conflicts with a rebuild that raises the epoch. A rebuild in between leaves no row, and the batch is repeated.
    async fn join(&self, numbers: &mut Numbers, connection: &mut DbConnection) -> QueryResult<()> {
        use diesel_async::RunQueryDsl;
        let Self { shard, process, .. } = self;
        let committed = numbers.committed;
        let epoch = format!("SELECT epoch INTO @epoch FROM shards WHERE shard = '{shard}'");
        let row = format!(
            "INSERT INTO ledgers (shard, process, epoch, counter) VALUES ('{shard}', '{process}', @epoch, {committed}) \
             ON DUPLICATE KEY UPDATE epoch = @epoch, counter = GREATEST(counter, {committed})"
        );
        connection.batch_execute(&format!("{epoch}; START TRANSACTION; {row}")).await?;
        let update = format!("UPDATE shards SET joined = joined + 1 WHERE shard = '{shard}' AND epoch = @epoch");
        let is_of_epoch = diesel::sql_query(update).execute(connection).await? == 1;
        connection.batch_execute(if is_of_epoch { "COMMIT" } else { "ROLLBACK" }).await?;
        numbers.has_joined = is_of_epoch;
        Ok(())
    }
}

/// Reads the row of the shard and the row of the process under a shared lock, and the settings by which the server
/// refuses writes. The lock on the row of the shard makes a rebuild wait that does not know `ledgers`. The type is a query
/// of its own, because the driver prepares other texts again for every use.
#[derive(Debug, Clone, Copy)]
struct LockedRows<'a> {
    shard: &'a str,
    process: &'a str,
}

const LOCKED_ROWS: &str = concat!(
    "SELECT s.epoch, s.state, l.epoch, l.counter, ",
    refusing_settings!(),
    " FROM shards s LEFT JOIN ledgers l ON l.shard = s.shard AND l.process = "
);

impl QueryId for LockedRows<'_> {
    type QueryId = LockedRows<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for LockedRows<'_> {
    type SqlType = (Unsigned<Integer>, Text, Nullable<Unsigned<Integer>>, Nullable<Unsigned<Bigint>>, Text);
}

impl QueryFragment<Mysql> for LockedRows<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql(LOCKED_ROWS);
        out.push_bind_param::<Varchar, _>(self.process)?;
        out.push_sql(" WHERE s.shard = ");
        out.push_bind_param::<Varchar, _>(self.shard)?;
        out.push_sql(" LOCK IN SHARE MODE");
        Ok(())
    }
}

/// Reads the epoch of the shard and the numbers of all processes in a single statement, so no rebuild comes in between.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read(db: &Db, shard: &str) -> Result<Commits, DbError> {
    let mut connection = db.connect().await?;
    db.within("read ledgers", commits(&mut connection, shard)).await
}

/// Like [`read`], for several shards, in their order.
///
/// # Errors
/// Returns a [`DbError`].
pub(super) async fn read_each(db: &Db, shards: &[&str]) -> Result<Vec<Commits>, DbError> {
    let mut connection = db.connect().await?;
    db.within("read ledgers", commits_of_each(&mut connection, shards)).await
}

pub(super) async fn commits(connection: &mut DbConnection, shard: &str) -> QueryResult<Commits> {
    Ok(commits_of_each(connection, &[shard]).await?.pop().unwrap_or_default())
}

async fn commits_of_each(connection: &mut DbConnection, shards: &[&str]) -> QueryResult<Vec<Commits>> {
    use diesel_async::RunQueryDsl;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Varchar)]
        shard: String,
        #[diesel(sql_type = Unsigned<Integer>)]
        epoch: u32,
        #[diesel(sql_type = Nullable<Varchar>)]
        process: Option<String>,
        #[diesel(sql_type = Nullable<Unsigned<Bigint>>)]
        counter: Option<u64>,
    }
    let mut query = diesel::sql_query(format!(
        "SELECT s.shard, s.epoch, l.process, l.counter FROM shards s LEFT JOIN ledgers l ON l.shard = s.shard \
         WHERE s.shard IN ({})",
        vec!["?"; shards.len()].join(", ")
    ))
    .into_boxed::<Mysql>();
    for shard in shards {
        query = query.bind::<Varchar, _>(*shard);
    }
    let rows: Vec<Row> = query.load(connection).await?;
    let mut all: HashMap<String, Commits> = HashMap::new();
    for Row { shard, epoch, process, counter } in rows {
        let commits = all.entry(shard).or_default();
        commits.epoch = Epoch(epoch);
        commits.counters.extend(process.zip(counter));
    }
    Ok(shards.iter().map(|shard| all.remove(*shard).unwrap_or_default()).collect())
}
