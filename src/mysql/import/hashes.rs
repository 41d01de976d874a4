//! Password hashes of imported users: finding the missing hashes and storing new ones.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{ImportSource, SourceId};
use crate::domain::UserId;
use crate::mysql::schema::{imported_users, users};
use crate::mysql::{Db, DbError};

/// The number of the source's users without a password hash.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn count_missing(db: &Db, source: ImportSource) -> Result<u64, DbError> {
    let query = imported_users::table
        .inner_join(users::table)
        .filter(imported_users::import_source_id.eq(source.id))
        .filter(users::password_hash.eq(""))
        .count();
    let mut connection = db.connect().await?;
    let count: i64 = db.within("count missing hashes", query.get_result(&mut connection)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Up to `rows_max` of the source's users without a password hash, ordered by the id of their row and above `after`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn missing_after(
    db: &Db,
    source: ImportSource,
    after: SourceId,
    rows_max: u32,
) -> Result<Vec<(SourceId, UserId)>, DbError> {
    let query = imported_users::table
        .inner_join(users::table)
        .filter(imported_users::import_source_id.eq(source.id))
        .filter(imported_users::source_id.gt(after.0))
        .filter(users::password_hash.eq(""))
        .order(imported_users::source_id)
        .limit(rows_max.into())
        .select((imported_users::source_id, users::id));
    let mut connection = db.connect().await?;
    let rows: Vec<(i64, u64)> = db.within("find missing hashes", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|(row, user)| (SourceId(row), UserId(user))).collect())
}

/// Stores password hashes in one transaction, for users still without a hash. Returns the number of stored hashes. The
/// service may be running. A password set meanwhile is kept.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn store(db: &Db, hashes: &[(UserId, String)]) -> Result<u64, DbError> {
    let mut transaction = db.begin().await?;
    let mut stored = 0;
    for (user, hash) in hashes {
        let row = users::table.filter(users::id.eq(user.0)).filter(users::password_hash.eq(""));
        let update = diesel::update(row).set(users::password_hash.eq(hash));
        stored += db.within("store password hash", update.execute(transaction.connection())).await?;
    }
    transaction.commit().await?;
    Ok(stored as u64)
}
