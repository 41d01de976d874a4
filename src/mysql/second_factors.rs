//! The tables `second_factors` and `recovery_codes`. Secrets are encrypted, and codes are hashes.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::{recovery_codes, second_factors};
use super::{Db, DbError, Transaction, UnsignedBigint, revoked_tokens};
use crate::domain::UserId;

/// Codes of the telephone that are checked for a user in [`TRIES_SECONDS`], all instances together, unless one is right. Who
/// knows the password guesses one of three right codes among a million, and so succeeds once in 460 days on average.
const TRIES_MAX: u64 = 30;
/// In seconds.
pub const TRIES_SECONDS: u64 = 3_600;

/// The row of a user.
#[derive(Debug, Clone, Queryable)]
pub struct FactorRow {
    /// The encrypted secret in force. `None` before the first confirmation.
    pub secret: Option<Vec<u8>>,
    /// Since when codes are counted, in seconds since 1970.
    pub tries_since: u64,
    /// An encrypted secret that is not confirmed yet.
    pub pending: Option<Vec<u8>>,
    /// Since when, in seconds since 1970.
    pub pending_at: u64,
}

/// The row of a user, or `None` for a user who has never begun to enrol.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find(db: &Db, user: UserId) -> Result<Option<FactorRow>, DbError> {
    let mut connection = db.connect().await?;
    let columns =
        (second_factors::secret, second_factors::tries_since, second_factors::pending, second_factors::pending_at);
    let query = second_factors::table.find(user.0).select(columns);
    db.within("find second factor", async { query.first(&mut connection).await.optional() }).await
}

/// Stores a secret to be confirmed, in place of an earlier one. The secret in force stays.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn begin(db: &Db, user: UserId, pending: &[u8], now_seconds: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let columns = (second_factors::pending.eq(pending), second_factors::pending_at.eq(now_seconds));
    let insert = diesel::insert_into(second_factors::table).values((second_factors::user_id.eq(user.0), columns));
    let insert = insert.on_conflict(diesel::dsl::DuplicatedKeys).do_update().set(columns);
    db.within("begin second factor", insert.execute(&mut connection)).await.map(drop)
}

/// Puts the secret `pending` into force, with new recovery codes, and revokes all tokens of the user, in one transaction.
/// `step` is the step whose code has confirmed the secret. Returns the generation of the user's future tokens, or `None` if
/// the secret is not pending any more. `expires_at` is the expiry of the last revoked token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn confirm(
    db: &Db,
    user: UserId,
    pending: &[u8],
    step: u64,
    code_hashes: &[[u8; 32]],
    expires_at: u64,
) -> Result<Option<u32>, DbError> {
    let mut tx = db.begin().await?;
    let row = second_factors::table.find(user.0).filter(second_factors::pending.eq(pending));
    let update = diesel::update(row).set((
        second_factors::secret.eq(pending),
        second_factors::last_step.eq(step),
        second_factors::pending.eq(None::<Vec<u8>>),
    ));
    let confirmed = db.within("confirm second factor", update.execute(tx.connection())).await;
    if confirmed.map_err(DbError::before_commit)? == 0 {
        tx.roll_back().await;
        return Ok(None);
    }
    delete_codes(db, &mut tx, user).await?;
    let rows: Vec<_> = code_hashes
        .iter()
        .map(|hash| (recovery_codes::user_id.eq(user.0), recovery_codes::code_hash.eq(&hash[..])))
        .collect();
    let insert = diesel::insert_into(recovery_codes::table).values(rows);
    let inserted = db.within("insert recovery codes", insert.execute(tx.connection())).await;
    inserted.map_err(DbError::before_commit)?;
    let generation = revoked_tokens::raise_generation(db, &mut tx, user, expires_at).await;
    let generation = generation.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(generation)
}

/// Takes one of the tries that a user has for codes of the telephone, before the code is checked. So all instances together
/// check no more. Returns `false` if none is left within [`TRIES_SECONDS`].
///
/// # Errors
/// Returns a [`DbError`]. After an unknown outcome, a try may be gone.
pub async fn take_try(db: &Db, user: UserId, now_seconds: u64) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let ended_before = now_seconds.saturating_sub(TRIES_SECONDS);
    // MySQL assigns from left to right, so `tries` sees the earlier value of `tries_since`.
    let update = diesel::sql_query(
        "UPDATE second_factors SET tries = IF(tries_since <= ?, 1, tries + 1), \
         tries_since = IF(tries_since <= ?, ?, tries_since) WHERE user_id = ? AND (tries < ? OR tries_since <= ?)",
    )
    .bind::<UnsignedBigint, _>(ended_before)
    .bind::<UnsignedBigint, _>(ended_before)
    .bind::<UnsignedBigint, _>(now_seconds)
    .bind::<UnsignedBigint, _>(user.0)
    .bind::<UnsignedBigint, _>(TRIES_MAX)
    .bind::<UnsignedBigint, _>(ended_before);
    db.within("take try of second factor", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Counts a right code: notes its step as the last one, gives all tries back, and stores the secret as `to`. `from` is the secret that was read. Returns
/// `false` if a code of this or of a later step has counted already, or if another secret is in force.
///
/// # Errors
/// Returns a [`DbError`]. After an unknown outcome, the code may have been counted.
pub async fn use_step(db: &Db, user: UserId, step: u64, from: &[u8], to: &[u8]) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let row = second_factors::table.find(user.0).filter(second_factors::secret.eq(from));
    let update = diesel::update(row.filter(second_factors::last_step.lt(step)));
    let update =
        update.set((second_factors::last_step.eq(step), second_factors::secret.eq(to), second_factors::tries.eq(0)));
    db.within("use step of second factor", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Counts a recovery code by deleting its row. Returns `false` if the user has no such code.
///
/// # Errors
/// Returns a [`DbError`]. After an unknown outcome, the code may have been counted.
pub async fn use_recovery_code(db: &Db, user: UserId, code_hash: &[u8; 32]) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::delete(recovery_codes::table.find((user.0, &code_hash[..])));
    db.within("use recovery code", delete.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Ends the second factor of a user, and revokes all tokens of the user, in one transaction. Returns `false` if the user has
/// none. `expires_at` is the expiry of the last revoked token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn end(db: &Db, user: UserId, expires_at: u64) -> Result<bool, DbError> {
    let mut tx = db.begin().await?;
    if !forget(db, &mut tx, user).await? {
        tx.roll_back().await;
        return Ok(false);
    }
    revoked_tokens::raise_generation(db, &mut tx, user, expires_at).await.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(true)
}

/// Deletes the second factor of a user, with its recovery codes. Returns `false` if the user has none.
pub(super) async fn forget(db: &Db, tx: &mut Transaction<'_>, user: UserId) -> Result<bool, DbError> {
    let delete = diesel::delete(second_factors::table.find(user.0));
    let ended = db.within("end second factor", delete.execute(tx.connection())).await;
    delete_codes(db, tx, user).await?;
    Ok(ended.map_err(DbError::before_commit)? > 0)
}

async fn delete_codes(db: &Db, tx: &mut Transaction<'_>, user: UserId) -> Result<(), DbError> {
    let delete = diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user.0)));
    let deleted = db.within("delete recovery codes", delete.execute(tx.connection())).await;
    deleted.map(drop).map_err(DbError::before_commit)
}
