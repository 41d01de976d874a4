//! Brings the database to this version.

use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Connection, Db, DbError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Why the database could not be brought to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Runs the migrations that are missing and returns their names, oldest first. Several instances that start at once
/// wait for each other, up to a minute.
///
/// Needs a multi-threaded tokio runtime (diesel's migrations block).
///
/// # Errors
/// [`MigrateError`]; the migrations before the one that failed stay.
pub async fn migrate(db: &Db) -> Result<Vec<String>, MigrateError> {
    let mut connection = db.connect_alone().await?;
    const LOCK: &str = "DO GET_LOCK(CONCAT(DATABASE(), '.couponrush'), 60); SET SESSION lock_wait_timeout = 60";
    connection
        .batch_execute(LOCK)
        .await
        .map_err(|source| DbError::Failed { operation: "lock for migrations", source })?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let versions = harness.run_pending_migrations(MIGRATIONS).map_err(MigrateError::Migration)?;
    Ok(versions.iter().map(ToString::to_string).collect())
    // Closing the connection gives the lock back.
}

/// Takes every migration back, newest first: all tables and their rows are gone.
///
/// # Errors
/// [`MigrateError`], as [`migrate`].
pub fn revert_all(connection: Connection) -> Result<(), MigrateError> {
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.revert_all_migrations(MIGRATIONS).map_err(MigrateError::Migration)?;
    Ok(())
}
