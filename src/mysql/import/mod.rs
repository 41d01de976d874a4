//! Import of the Go system's database: reading its rows ([`source`]), and the transactions that store them.
//!
//! A storing function runs one transaction for a batch of its caller and skips rows stored by an earlier run. A killed
//! run can therefore be repeated. `commands::import` decides about the meaning of rows.
//!
//! Invariants after every transaction:
//!
//! - The claims of a coupon are dense, and `left_count` is the amount minus the claims.
//! - No row is stored while an instance of the service is alive.
//! - After new coupons or claims, the next start loads Redis from MySQL alone.

pub mod claims;
pub mod coupons;
pub mod hashes;
pub mod source;
pub mod users;

use diesel::prelude::*;
use diesel::sql_types::{Bool, Varchar};
use diesel_async::RunQueryDsl;

use crate::mysql::instances::DEAD_AFTER;
use crate::mysql::schema::{coupons as coupons_table, import_sources, instances, shards};
use crate::mysql::{Db, DbConnection, DbError, Transaction, new_ids};

/// The `id` of a row in the Go system's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub i64);

/// A source database, a row of `import_sources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportSource {
    pub(super) id: u16,
    /// Whether an earlier run has imported all rows.
    pub rows_taken: bool,
}

/// The reason for not storing rows.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A running instance would not load the new rows into Redis.
    #[error("an instance of the service is running on this database")]
    ServiceAlive { instance: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Finds or creates the row of `import_sources` with this name.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn open_source(db: &Db, name: &str) -> Result<ImportSource, DbError> {
    let mut connection = db.connect().await?;
    // The update has no effect. It makes MySQL ignore duplicates, and only duplicates.
    let insert = diesel::insert_into(import_sources::table)
        .values(import_sources::name.eq(name))
        .on_conflict(diesel::dsl::DuplicatedKeys)
        .do_update()
        .set(import_sources::name.eq(name));
    db.within("insert import source", insert.execute(&mut connection)).await?;
    let query = import_sources::table
        .filter(import_sources::name.eq(name))
        .select((import_sources::id, import_sources::rows_taken_at.is_not_null()));
    let (id, rows_taken) = db.within("find import source", query.first(&mut connection)).await?;
    Ok(ImportSource { id, rows_taken })
}

/// Records that a run has imported all rows of the source.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn note_rows_taken(db: &Db, source: ImportSource) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = import_sources::table.find(source.id).filter(import_sources::rows_taken_at.is_null());
    let update = diesel::update(row).set(import_sources::rows_taken_at.eq(diesel::dsl::sql("NOW(3)")));
    db.within("record imported rows", update.execute(&mut connection)).await?;
    Ok(())
}

/// The name of a living instance, or `None`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_alive(db: &Db) -> Result<Option<String>, DbError> {
    let mut connection = db.connect().await?;
    alive_on(db, &mut connection).await
}

/// A transaction for storing rows. The rows of `shards` stay locked until the end.
struct Taking<'a> {
    db: &'a Db,
    transaction: Transaction<'a>,
    /// The number of shards.
    shards: usize,
    /// Whether Redis was loaded since the last import of rows. If so, every existing coupon may have been sold from,
    /// and some claims may exist only in the outbox.
    redis_was_loaded: bool,
}

/// Begins a transaction for storing rows. A starting service writes a beat before locking `shards`. Either this check
/// finds the beat, or the service reads MySQL after our commit. Concurrent imports take turns.
async fn begin(db: &Db) -> Result<Taking<'_>, TakeError> {
    let mut transaction = new_ids::begin(db).await?;
    let lock = shards::table.select(shards::run_id).for_update();
    let run_ids: Vec<String> = db.within("lock shards", lock.load(transaction.connection())).await?;
    match alive_on(db, transaction.connection()).await? {
        None => {
            let redis_was_loaded = run_ids.iter().any(|run_id| !run_id.is_empty());
            Ok(Taking { db, transaction, shards: run_ids.len(), redis_was_loaded })
        }
        Some(instance) => Err(TakeError::ServiceAlive { instance }),
    }
}

impl Taking<'_> {
    fn connection(&mut self) -> &mut DbConnection {
        self.transaction.connection()
    }

    /// Marks Redis as not loaded, so the next start loads Redis from MySQL. Otherwise a coupon unknown to Redis would
    /// be published without claims. Must be called before coupons or claims are stored.
    async fn forget_redis(&mut self) -> Result<(), DbError> {
        if !self.redis_was_loaded {
            return Ok(());
        }
        // The update of `shards` hides whether a coupon was in Redis, so all existing coupons are marked as published.
        let published = diesel::update(coupons_table::table.filter(coupons_table::published_revision.eq(0)))
            .set(coupons_table::published_revision.eq(coupons_table::revision));
        let forgotten = diesel::update(shards::table).set((shards::state.eq("recovering"), shards::run_id.eq("")));
        let connection = self.transaction.connection();
        self.db.within("mark coupons as published", published.execute(connection)).await?;
        self.db.within("mark shards for recovery", forgotten.execute(connection)).await?;
        Ok(())
    }
}

async fn alive_on(db: &Db, connection: &mut DbConnection) -> Result<Option<String>, DbError> {
    let seconds = DEAD_AFTER.as_secs();
    let beats = diesel::dsl::sql::<Bool>(&format!("beat_at > NOW(3) - INTERVAL {seconds} SECOND"));
    let label = diesel::dsl::sql::<Varchar>("IF(label = '', instance, label)");
    let query = instances::table.filter(beats).select(label);
    db.within("find instances", async { query.first(connection).await.optional() }).await
}
