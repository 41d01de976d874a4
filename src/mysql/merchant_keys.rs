//! The table `merchant_keys`: keys with which programs act for a saler. Instances keep a copy in memory.
//!
//! A deleted key stays as an ended row for a month, so other instances find the end among the recent rows, and people the name.

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bigint, Datetime, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::{merchant_keys, users};
use super::{Db, DbError, Transaction};
use crate::domain::{KEYS_MAX, KeyHash, KeyId, Kind, Mandate, Rights, User, UserId, UserName};

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub rights: Rights,
    pub hash: KeyHash,
    /// Seconds since 1970, or `None` for a key without an end.
    pub expires_at: Option<u64>,
}

/// Why a key was not stored. Nothing has happened, unless the [`DbError`] leaves the outcome unknown.
#[derive(Debug, thiserror::Error)]
pub enum AddKeyError {
    #[error("the saler has as many keys as a saler may have")]
    TooMany,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A key on the list of its saler. Times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    pub id: KeyId,
    pub name: String,
    pub rights: Rights,
    pub created_at: u64,
    pub expires_at: Option<u64>,
    pub last_used_at: Option<u64>,
}

/// A key as instances know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadKey {
    pub id: KeyId,
    /// `None` for an ended key, and for one whose row cannot be read.
    pub valid: Option<ValidKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidKey {
    pub mandate: Mandate,
    pub hash: KeyHash,
    pub expires_at: Option<u64>,
}

/// The keys to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysSince {
    /// All keys that have not ended.
    Ever,
    /// All keys written in the last minute. A row is stamped at the start of its statement and visible after the commit, at most
    /// 20 s later.
    Lately,
}

const NOW: &str = "UTC_TIMESTAMP(3)";
const A_MINUTE_AGO: &str = "UTC_TIMESTAMP(3) - INTERVAL 60 SECOND";

/// Stores a key of `saler`, and returns its id.
///
/// # Errors
/// Returns an [`AddKeyError`].
pub async fn add(db: &Db, saler: UserId, new: &NewKey, now_seconds: u64) -> Result<KeyId, AddKeyError> {
    let mut tx = db.begin().await?;
    match add_within(db, &mut tx, saler, new, now_seconds).await {
        Ok(id) => {
            tx.commit().await?;
            Ok(id)
        }
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

async fn add_within(
    db: &Db,
    tx: &mut Transaction<'_>,
    saler: UserId,
    new: &NewKey,
    now_seconds: u64,
) -> Result<KeyId, AddKeyError> {
    let connection = tx.connection();
    // Keys of a saler are added one at a time, so the limit is exact.
    let lock = users::table.find(saler.0).select(users::id).for_update();
    let _: u64 = db.within("lock saler", lock.first(connection)).await.map_err(DbError::before_commit)?;
    let count = of_saler(saler).select(count_star());
    let count: i64 = db.within("count keys", count.first(connection)).await.map_err(DbError::before_commit)?;
    if count >= KEYS_MAX.into() {
        return Err(AddKeyError::TooMany);
    }
    let row = (
        merchant_keys::saler_id.eq(saler.0),
        merchant_keys::name.eq(&new.name),
        merchant_keys::rights.eq(new.rights.bits()),
        merchant_keys::secret_hash.eq(&new.hash.0[..]),
        merchant_keys::created_at.eq(now_seconds),
        merchant_keys::expires_at.eq(new.expires_at),
        merchant_keys::changed_at.eq(sql::<Datetime>(NOW)),
    );
    let insert = diesel::insert_into(merchant_keys::table).values(row);
    db.within("insert key", insert.execute(connection)).await.map_err(DbError::before_commit)?;
    let last = diesel::select(sql::<Unsigned<Bigint>>("LAST_INSERT_ID()"));
    let id: u64 = db.within("read id", last.first(connection)).await.map_err(DbError::before_commit)?;
    Ok(KeyId(u32::try_from(id).expect("the column is an INT UNSIGNED")))
}

#[diesel::dsl::auto_type(no_type_alias)]
fn of_saler(saler: UserId) -> _ {
    let saler: u64 = saler.0;
    merchant_keys::table.filter(merchant_keys::saler_id.eq(saler)).filter(merchant_keys::ended_at.is_null())
}

type ListedKeyRow = (u32, String, u8, u64, Option<u64>, Option<u64>);

/// The keys of `saler` that have not ended, the newest first. Keys with unreadable rights are left out.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn list(db: &Db, saler: UserId) -> Result<Vec<ListedKey>, DbError> {
    let query = of_saler(saler).order(merchant_keys::id.desc()).limit(KEYS_MAX.into()).select((
        merchant_keys::id,
        merchant_keys::name,
        merchant_keys::rights,
        merchant_keys::created_at,
        merchant_keys::expires_at,
        merchant_keys::last_used_at,
    ));
    let mut connection = db.connect().await?;
    let rows: Vec<ListedKeyRow> = db.within("list keys", query.load(&mut connection)).await?;
    let listed = |(id, name, bits, created_at, expires_at, last_used_at)| {
        let rights = Rights::from_bits(bits)?;
        Some(ListedKey { id: KeyId(id), name, rights, created_at, expires_at, last_used_at })
    };
    Ok(rows.into_iter().filter_map(listed).collect())
}

/// Ends a key of `saler`. Returns `false` if the saler has no such key.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, a retry is safe.
pub async fn end(db: &Db, saler: UserId, id: KeyId, now_seconds: u64) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let update = diesel::update(of_saler(saler).filter(merchant_keys::id.eq(id.0)))
        .set((merchant_keys::ended_at.eq(now_seconds), merchant_keys::changed_at.eq(sql::<Datetime>(NOW))));
    db.within("end key", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// Ends all keys of an erased saler.
pub(super) async fn end_all(db: &Db, tx: &mut Transaction<'_>, saler: UserId, now_seconds: u64) -> Result<(), DbError> {
    let end = diesel::update(of_saler(saler))
        .set((merchant_keys::ended_at.eq(now_seconds), merchant_keys::changed_at.eq(sql::<Datetime>(NOW))));
    db.within("end keys", end.execute(tx.connection())).await.map(drop)
}

type KeyRow = (u32, u64, String, String, u8, Vec<u8>, Option<u64>, Option<u64>);

/// Reads up to `rows_max` keys behind `after`, by id.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read(db: &Db, since: KeysSince, after: KeyId, rows_max: u32) -> Result<Vec<ReadKey>, DbError> {
    let query = merchant_keys::table
        .inner_join(users::table)
        .filter(merchant_keys::id.gt(after.0))
        .order(merchant_keys::id)
        .limit(rows_max.into())
        .select((
            merchant_keys::id,
            users::id,
            users::username,
            users::kind,
            merchant_keys::rights,
            merchant_keys::secret_hash,
            merchant_keys::expires_at,
            merchant_keys::ended_at,
        ))
        .into_boxed();
    let query = match since {
        KeysSince::Ever => query.filter(merchant_keys::ended_at.is_null()),
        KeysSince::Lately => query.filter(merchant_keys::changed_at.ge(sql::<Datetime>(A_MINUTE_AGO))),
    };
    let mut connection = db.connect().await?;
    let rows: Vec<KeyRow> = db.within("read keys", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|row| ReadKey { id: KeyId(row.0), valid: valid(row) }).collect())
}

fn valid((_, saler, name, kind, rights, hash, expires_at, ended_at): KeyRow) -> Option<ValidKey> {
    if ended_at.is_some() || Kind::parse(&kind) != Some(Kind::Saler) {
        return None;
    }
    let saler = User { id: UserId(saler), name: UserName::parse(name).ok()?, kind: Kind::Saler };
    let mandate = Mandate { saler, rights: Rights::from_bits(rights)? };
    Some(ValidKey { mandate, hash: KeyHash(hash.try_into().ok()?), expires_at })
}

/// Notes that keys were used at `now_seconds`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn note_use(db: &Db, ids: &[KeyId], now_seconds: u64) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut connection = db.connect().await?;
    let used = merchant_keys::table.filter(merchant_keys::id.eq_any(ids.iter().map(|id| id.0)));
    let update = diesel::update(used).set(merchant_keys::last_used_at.eq(now_seconds));
    db.within("note use of keys", update.execute(&mut connection)).await?;
    Ok(())
}

/// Deletes up to `rows_max` keys that ended before `before`, in seconds since 1970. Returns the number of rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn delete_ended(db: &Db, before: u64, rows_max: u32) -> Result<usize, DbError> {
    let mut connection = db.connect().await?;
    let delete = diesel::sql_query("DELETE FROM merchant_keys WHERE ended_at < ? LIMIT ?");
    let delete = delete.bind::<Unsigned<Bigint>, _>(before).bind::<Unsigned<Bigint>, _>(u64::from(rows_max));
    db.within("delete ended keys", delete.execute(&mut connection)).await
}
