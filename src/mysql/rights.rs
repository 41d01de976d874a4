//! The rights of the MySQL user.

use diesel_async::SimpleAsyncConnection;

use super::{Db, DbError, QueryError};

/// The tables that `serve` reads and writes, each with one of its columns.
const TABLES: [(&str, &str); 19] = [
    ("users", "id"),
    ("freed_names", "name_hash"),
    ("coupons", "id"),
    ("activities", "id"),
    ("claims", "coupon_id"),
    ("shards", "shard"),
    ("ledgers", "shard"),
    ("instances", "instance"),
    ("revoked_tokens", "jti"),
    ("known_networks", "network"),
    ("poisoned_claims", "id"),
    ("settings", "name"),
    ("blocks", "kind"),
    ("installation", "id"),
    ("audit_trail", "id"),
    ("merchant_keys", "id"),
    ("saler_skeletons", "user_id"),
    ("second_factors", "user_id"),
    ("recovery_codes", "user_id"),
];

/// Checks that the user may read, insert, change and delete rows of every table. The statements match no row.
///
/// # Errors
/// The first denied statement, as [`DbError::Failed`] with the right and the table. Any other error, such as a table that
/// is locked for long, proves nothing and is ignored.
pub async fn check(db: &Db) -> Result<(), DbError> {
    let Ok(mut connection) = db.connect().await else { return Ok(()) };
    for (table, column) in TABLES {
        // IGNORE, because the columns without a default get no value.
        let statements = format!(
            "SELECT {column} FROM {table} WHERE FALSE; \
             INSERT IGNORE INTO {table} ({column}) SELECT {column} FROM {table} WHERE FALSE; \
             UPDATE {table} SET {column} = {column} WHERE FALSE; \
             DELETE FROM {table} WHERE FALSE"
        );
        match db.within("check rights", connection.batch_execute(&statements)).await {
            Err(error) if is_denied(&error) => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Whether a right is missing. The driver does not pass on the number of an error.
fn is_denied(error: &DbError) -> bool {
    match error {
        DbError::Failed { source: QueryError::DatabaseError(_, said), .. } => said.message().contains("denied"),
        _ => false,
    }
}
