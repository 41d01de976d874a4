//! Migrates the database to the version of this program.

use diesel::migration::MigrationSource;
use diesel::mysql::Mysql;
use diesel::prelude::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Db, DbConnection, DbError, formats, installation};
use crate::domain::Format;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("another process has been migrating this database for a minute")]
    Locked,
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Runs the missing migrations and returns their names, oldest first. Makes the id of the installation. Instances that start together take turns. The
/// wait for a turn is at most a minute. Needs a multi-threaded tokio runtime, because diesel's migrations block.
///
/// # Errors
/// Returns a [`MigrateError`]. The migrations before the failed migration stay.
pub async fn migrate(db: &Db) -> Result<Vec<String>, MigrateError> {
    migrate_for(db, Format::NEWEST).await
}

/// Does the same for a process that knows the formats up to `known`. A new database starts at the highest format, and a
/// migrated database stays at its format.
///
/// # Errors
/// Returns a [`MigrateError`], as [`migrate`] does.
pub async fn migrate_for(db: &Db, known: Format) -> Result<Vec<String>, MigrateError> {
    let mut connection = db.connect_alone().await?;
    lock(&mut connection).await?;
    let is_behind = is_behind(&mut connection).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let versions = if is_behind { harness.run_pending_migrations(MIGRATIONS) } else { Ok(Vec::new()) };
    let versions = versions.map_err(MigrateError::Migration)?;
    if known == Format::NEWEST {
        formats::start_at_newest(db).await?;
    }
    installation::make_id(db).await?;
    Ok(versions.iter().map(ToString::to_string).collect())
    // Closing the connection of `harness` releases the lock.
}

/// Waits until no other process migrates this database through this server, at most a minute. Later statements wait for
/// locked tables as long.
async fn lock(connection: &mut DbConnection) -> Result<(), MigrateError> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = BigInt)]
        is_ours: i64,
    }
    const LOCK: &str = "SELECT CAST(COALESCE(GET_LOCK(CONCAT(DATABASE(), '.couponrush'), 60), 0) AS SIGNED) AS is_ours";
    let failed = |source| DbError::Failed { operation: "lock for migrations", source };
    let lock: Lock = diesel::sql_query(LOCK).get_result(connection).await.map_err(failed)?;
    connection.batch_execute("SET SESSION lock_wait_timeout = 60").await.map_err(failed)?;
    if lock.is_ours == 1 { Ok(()) } else { Err(MigrateError::Locked) }
}

/// Whether a migration is missing. Diesel would create its table to find out, which the user of the service may not do.
async fn is_behind(connection: &mut DbConnection) -> Result<bool, MigrateError> {
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let applied = diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load::<Applied>(connection).await;
    let Ok(applied) = applied else { return Ok(true) };
    let known = MigrationSource::<Mysql>::migrations(&MIGRATIONS).map_err(MigrateError::Migration)?;
    let is_missing = |version: String| !applied.iter().any(|applied| applied.version == version);
    Ok(known.iter().any(|migration| is_missing(migration.name().version().to_string())))
}

/// Reverts every migration, newest first. All tables and rows are deleted.
///
/// # Errors
/// Returns a [`MigrateError`], as [`migrate`] does.
pub fn revert_all(connection: DbConnection) -> Result<(), MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.revert_all_migrations(MIGRATIONS).map_err(MigrateError::Migration)?;
    Ok(())
}
