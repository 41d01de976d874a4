//! `couponrush migrate`

use crate::app::{StartError, open_db};
use crate::config::MysqlArgs;
use crate::db::migrate::migrate;

/// Brings the database to this version and says what was missing.
///
/// # Errors
/// [`StartError`].
pub async fn run(args: &MysqlArgs) -> Result<(), StartError> {
    let db = open_db(&args.mysql_url)?;
    db.ping().await.map_err(StartError::Mysql)?;
    let names = migrate(&db).await.map_err(StartError::Migrate)?;
    for name in &names {
        println!("migrated: {name}");
    }
    if names.is_empty() {
        println!("the database is of this version already");
    }
    Ok(())
}
