//! `couponrush migrate`: migrates the database.

use crate::app::{StartError, open_db};
use crate::config::MysqlArgs;
use crate::mysql::migrate::migrate;

/// Migrates the database to the version of this program and prints the migrations that ran.
///
/// # Errors
/// Returns a [`StartError`] if MySQL cannot be reached or a migration fails.
pub async fn run(args: &MysqlArgs) -> Result<(), StartError> {
    let db = open_db(args)?;
    db.ping().await.map_err(StartError::Mysql)?;
    let names = migrate(&db).await.map_err(StartError::Migrate)?;
    for name in &names {
        println!("migrated: {name}");
    }
    if names.is_empty() {
        println!("the database already has the version of this program");
    }
    Ok(())
}
