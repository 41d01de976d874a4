//! The table `revoked_tokens`: tokens that are refused until their expiry.
//!
//! A row revokes one token by its `jti`. A row with an empty `jti` revokes all tokens of a user below a generation. The row of
//! [`EVERYBODY`] has a time in the place of the generation.
//! MySQL's UTC clock stamps the rows. The instances use the stamps to find new rows.

use diesel::prelude::*;
use diesel::sql_types::{Integer, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::users;
use super::{Db, DbError, Transaction, UnsignedBigint};
use crate::domain::UserId;

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct RevokedToken {
    #[diesel(sql_type = UnsignedBigint)]
    pub user_id: u64,
    /// Empty if the row revokes all tokens of the user below `generation`.
    #[diesel(sql_type = Text)]
    pub jti: String,
    #[diesel(sql_type = Unsigned<Integer>)]
    pub generation: u32,
    /// Seconds since 1970.
    #[diesel(sql_type = UnsignedBigint)]
    pub expires_at: u64,
}

/// No user has this id. The row revokes the tokens of all users that were issued before `generation`, in seconds since 1970.
pub const EVERYBODY: UserId = UserId(u64::MAX);

/// A time of MySQL's clock. All rows up to this time have been read.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct ReadPoint {
    #[diesel(sql_type = Text)]
    utc: String,
}

impl ReadPoint {
    /// A time before all rows.
    pub fn first() -> Self {
        Self { utc: "2000-01-01 00:00:00".to_owned() }
    }
}

/// Both bounds only grow, so a repeated write never makes a revoked token valid again.
const WRITE: &str = "INSERT INTO revoked_tokens (user_id, jti, generation, expires_at, revoked_at) \
    VALUES (?, ?, ?, ?, UTC_TIMESTAMP(3)) \
    ON DUPLICATE KEY UPDATE generation = GREATEST(generation, VALUES(generation)), \
    expires_at = GREATEST(expires_at, VALUES(expires_at)), revoked_at = VALUES(revoked_at)";

/// The stamp is the start of the statement. Statement and commit take at most 10 s each, so a row may appear 20 s
/// behind a read point. A backward step of MySQL's clock must not hide rows either.
const READ: &str = "SELECT user_id, jti, generation, expires_at FROM revoked_tokens \
    WHERE revoked_at >= LEAST(CAST(? AS DATETIME(3)), UTC_TIMESTAMP(3)) - INTERVAL 30 SECOND \
    AND (user_id > ? OR (user_id = ? AND jti > ?)) \
    ORDER BY user_id, jti LIMIT ?";

/// Revokes one token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn insert(db: &Db, user: UserId, jti: &str, expires_at: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = diesel::sql_query(WRITE)
        .bind::<UnsignedBigint, _>(user.0)
        .bind::<Text, _>(jti)
        .bind::<Unsigned<Integer>, _>(0_u32)
        .bind::<UnsignedBigint, _>(expires_at);
    db.within("revoke token", row.execute(&mut connection)).await?;
    Ok(())
}

/// Revokes all tokens of `user`. Returns the generation of the user's future tokens, or `None` if the user does not
/// exist. `expires_at` is the expiry of the user's last token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn revoke_all(db: &Db, user: UserId, expires_at: u64) -> Result<Option<u32>, DbError> {
    let mut transaction = db.begin().await?;
    let generation = raise_generation(db, &mut transaction, user, expires_at).await?;
    transaction.commit().await?;
    Ok(generation)
}

/// Revokes the tokens of all users that were issued before the second `issued_before` since 1970.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn revoke_everybody(db: &Db, issued_before: u32, expires_at: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = diesel::sql_query(WRITE)
        .bind::<UnsignedBigint, _>(EVERYBODY.0)
        .bind::<Text, _>("")
        .bind::<Unsigned<Integer>, _>(issued_before)
        .bind::<UnsignedBigint, _>(expires_at);
    db.within("revoke all tokens", row.execute(&mut connection)).await?;
    Ok(())
}

/// The part of [`revoke_all`] inside the caller's transaction.
pub(super) async fn raise_generation(
    db: &Db,
    transaction: &mut Transaction<'_>,
    user: UserId,
    expires_at: u64,
) -> Result<Option<u32>, DbError> {
    let connection = transaction.connection();
    let row = users::table.find(user.0);
    let raise = diesel::update(row).set(users::token_generation.eq(users::token_generation + 1));
    if db.within("raise token generation", raise.execute(connection)).await? == 0 {
        return Ok(None);
    }
    let query = row.select(users::token_generation);
    let generation: u32 = db.within("read token generation", query.first(connection)).await?;
    // All single tokens have a lower generation, so one row replaces them.
    let single = diesel::sql_query("DELETE FROM revoked_tokens WHERE user_id = ? AND jti <> ''");
    db.within("merge revoked tokens", single.bind::<UnsignedBigint, _>(user.0).execute(connection)).await?;
    let below = diesel::sql_query(WRITE)
        .bind::<UnsignedBigint, _>(user.0)
        .bind::<Text, _>("")
        .bind::<Unsigned<Integer>, _>(generation)
        .bind::<UnsignedBigint, _>(expires_at);
    db.within("revoke tokens", below.execute(connection)).await?;
    Ok(Some(generation))
}

/// The current time of MySQL's clock. Taken before a read, it is the start of the next read.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read_point(db: &Db) -> Result<ReadPoint, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query("SELECT CAST(UTC_TIMESTAMP(3) AS CHAR) AS utc");
    db.within("read MySQL's clock", query.get_result(&mut connection)).await
}

/// Reads up to `rows_max` rows written since about `since`, ordered by key and after the row `after`. Rows of the 30 s
/// before `since` are returned again.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_since(
    db: &Db,
    since: &ReadPoint,
    after: Option<&RevokedToken>,
    rows_max: u32,
) -> Result<Vec<RevokedToken>, DbError> {
    let mut connection = db.connect().await?;
    let (user, jti) = after.map_or((0, ""), |row| (row.user_id, &row.jti));
    let query = diesel::sql_query(READ)
        .bind::<Text, _>(&since.utc)
        .bind::<UnsignedBigint, _>(user)
        .bind::<UnsignedBigint, _>(user)
        .bind::<Text, _>(jti)
        .bind::<UnsignedBigint, _>(u64::from(rows_max));
    db.within("read revoked tokens", query.load(&mut connection)).await
}

/// Deletes up to `rows_max` rows that expired before `before`, in seconds since 1970. Returns the number of rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn delete_expired(db: &Db, before: u64, rows_max: u32) -> Result<usize, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query("DELETE FROM revoked_tokens WHERE expires_at < ? LIMIT ?")
        .bind::<UnsignedBigint, _>(before)
        .bind::<UnsignedBigint, _>(u64::from(rows_max));
    db.within("delete expired revoked tokens", delete.execute(&mut connection)).await
}
