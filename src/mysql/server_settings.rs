//! Settings of the MySQL server that decide whether commits survive.

use diesel::QueryableByName;
use diesel::sql_types::Bigint;
use diesel_async::RunQueryDsl;

use super::{Db, DbError};

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct MysqlSettings {
    /// `innodb_flush_log_at_trx_commit`.
    #[diesel(sql_type = Bigint)]
    pub flush_at_commit: i64,
    #[diesel(sql_type = Bigint)]
    pub log_bin: i64,
    #[diesel(sql_type = Bigint)]
    pub sync_binlog: i64,
}

const SETTINGS: &str = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED) AS flush_at_commit, \
    CAST(@@log_bin AS SIGNED) AS log_bin, CAST(@@sync_binlog AS SIGNED) AS sync_binlog";

/// Reads the settings.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read(db: &Db) -> Result<MysqlSettings, DbError> {
    let mut connection = db.connect().await?;
    db.within("read settings", diesel::sql_query(SETTINGS).get_result(&mut connection)).await
}
