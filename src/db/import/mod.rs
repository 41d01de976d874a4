//! Taking over the Go system's database: what is read there ([`source`]), and the transactions that store it here.
//!
//! Each function that stores is one transaction of its caller's batch, and finds out what an earlier run stored, so that a
//! run which was killed is simply repeated. What the rows mean is decided by `commands::import`.
//!
//! Invariants: after each transaction the claims of a coupon are dense and `left_count` is its amount less its claims; no row
//! is stored while an instance of the service is alive; and after new coupons or claims the next start loads Redis anew.

pub mod claims;
pub mod coupons;
pub mod hashes;
pub mod source;
pub mod users;

use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;

use super::instances::DEAD_AFTER;
use super::schema::{coupons as coupons_table, import_sources, instances, shards};
use super::{Connection, Db, DbError, Transaction};

/// A row's `id` in the Go system's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub i64);

/// A database that rows are taken over from; a row of `import_sources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportSource {
    pub(super) id: u16,
    /// An earlier run had come through all rows.
    pub rows_taken: bool,
}

/// Why rows could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Its Redis would not know of the rows.
    #[error("an instance of the service runs on this database")]
    ServiceAlive { instance: String },
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The row of `import_sources` with that name, which is made where there is none.
///
/// # Errors
/// [`DbError`]; repeating it is safe.
pub async fn open_source(db: &Db, name: &str) -> Result<ImportSource, DbError> {
    let mut connection = db.connect().await?;
    // Ignores the duplicate only: the update changes nothing.
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

/// Notes that a run has come through all rows of that source.
///
/// # Errors
/// [`DbError`]; repeating it is safe.
pub async fn note_rows_taken(db: &Db, source: ImportSource) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = import_sources::table.find(source.id).filter(import_sources::rows_taken_at.is_null());
    let update = diesel::update(row).set(import_sources::rows_taken_at.eq(diesel::dsl::sql("NOW(3)")));
    db.within("note that rows are taken over", update.execute(&mut connection)).await?;
    Ok(())
}

/// The name of an instance that is alive; `None` where none is.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn find_alive(db: &Db) -> Result<Option<String>, DbError> {
    let mut connection = db.connect().await?;
    alive_on(db, &mut connection).await
}

/// A transaction that stores rows, with the `shards` locked until it ends.
struct Taking<'a> {
    db: &'a Db,
    transaction: Transaction<'a>,
    /// Redis has been loaded since rows were last stored: every coupon that is here may have been sold from, and claims
    /// of it may still be in the outbox only.
    redis_was_loaded: bool,
}

/// Begins one.
///
/// A service that starts beats before it locks the `shards`. So either its beat is seen here, or it reads what it needs
/// after our commit. Two imports at once take turns.
async fn begin(db: &Db) -> Result<Taking<'_>, TakeError> {
    let mut transaction = db.begin().await?;
    let lock = shards::table.select(shards::run_id).for_update();
    let run_ids: Vec<String> = db.within("lock shards", lock.load(transaction.connection())).await?;
    match alive_on(db, transaction.connection()).await? {
        None => Ok(Taking { db, transaction, redis_was_loaded: run_ids.iter().any(|run_id| !run_id.is_empty()) }),
        Some(instance) => Err(TakeError::ServiceAlive { instance }),
    }
}

impl Taking<'_> {
    fn connection(&mut self) -> &mut Connection {
        self.transaction.connection()
    }

    /// Says that no Redis holds what MySQL has, so that the next start loads it anew: otherwise a coupon that Redis does
    /// not know would be published as one that nobody has claimed. Belongs before coupons or claims are stored.
    async fn forget_redis(&mut self) -> Result<(), DbError> {
        if !self.redis_was_loaded {
            return Ok(());
        }
        // What is said in `shards` from now on no longer tells these from coupons that never were in Redis.
        let published = diesel::update(coupons_table::table.filter(coupons_table::published_revision.eq(0)))
            .set(coupons_table::published_revision.eq(coupons_table::revision));
        let forgotten = diesel::update(shards::table).set((shards::state.eq("recovering"), shards::run_id.eq("")));
        let connection = self.transaction.connection();
        self.db.within("mark coupons as published", published.execute(connection)).await?;
        self.db.within("mark shards for recovery", forgotten.execute(connection)).await?;
        Ok(())
    }

    /// Commits. An error says that the outcome is unknown.
    async fn commit(self) -> Result<(), DbError> {
        self.transaction.commit().await
    }
}

async fn alive_on(db: &Db, connection: &mut Connection) -> Result<Option<String>, DbError> {
    let seconds = DEAD_AFTER.as_secs();
    let beats = diesel::dsl::sql::<Bool>(&format!("beat_at > NOW(3) - INTERVAL {seconds} SECOND"));
    let query = instances::table.filter(beats).select(instances::instance);
    db.within("find instances", async { query.first(connection).await.optional() }).await
}
