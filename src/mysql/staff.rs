//! Staff: users who act for a saler, in the table `users`.
//!
//! Deleted staff keep their row, without password and rights. So nobody else can get the name, and only the same saler can use
//! the name again.

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::users;
use super::{Db, DbError, Transaction, new_ids, revoked_tokens, second_factors};
use crate::domain::{Kind, Rights, STAFF_MAX, UserId, UserName};

/// Why staff were not added. Nothing has happened, unless the [`DbError`] leaves the outcome unknown.
#[derive(Debug, thiserror::Error)]
pub enum AddStaffError {
    #[error("another user has the name")]
    NameTaken,
    #[error("the saler has as many staff as a saler may have")]
    TooMany,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Staff of a saler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffMember {
    pub name: String,
    pub rights: Rights,
}

/// Adds staff of `saler`.
///
/// # Errors
/// Returns an [`AddStaffError`].
pub async fn add(
    db: &Db,
    saler: UserId,
    name: &UserName,
    rights: Rights,
    password_hash: &str,
) -> Result<(), AddStaffError> {
    let mut tx = new_ids::begin(db).await?;
    match add_within(db, &mut tx, saler, name, rights, password_hash).await {
        Ok(()) => Ok(tx.commit().await?),
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
    name: &UserName,
    rights: Rights,
    password_hash: &str,
) -> Result<(), AddStaffError> {
    let connection = tx.connection();
    // Staff of a saler are added one at a time, so the limit is exact.
    let lock = users::table.find(saler.0).select(users::id).for_update();
    let _: u64 = db.within("lock saler", lock.first(connection)).await.map_err(DbError::before_commit)?;
    let count = users::table.filter(users::acts_for.eq(saler.0)).filter(users::rights.gt(0)).select(count_star());
    let count: i64 = db.within("count staff", count.first(connection)).await.map_err(DbError::before_commit)?;
    if count >= STAFF_MAX.into() {
        return Err(AddStaffError::TooMany);
    }
    // The hash and the rights are empty only for deleted staff.
    let deleted = users::table.filter(users::username.eq(name.as_str())).filter(users::acts_for.eq(saler.0));
    let deleted = deleted.filter(users::rights.eq(0));
    let again = (users::password_hash.eq(password_hash), users::rights.eq(rights.bits()));
    let again = diesel::update(deleted).set(again);
    if db.within("add staff again", again.execute(connection)).await.map_err(DbError::before_commit)? > 0 {
        return Ok(());
    }
    let row = (
        users::username.eq(name.as_str()),
        users::kind.eq(Kind::Staff.as_str()),
        users::password_hash.eq(password_hash),
        users::acts_for.eq(saler.0),
        users::rights.eq(rights.bits()),
    );
    let insert = diesel::insert_into(users::table).values(row);
    match db.within("insert staff", insert.execute(connection)).await.map_err(DbError::before_commit) {
        Ok(_) => Ok(()),
        Err(DbError::Duplicate { .. }) => Err(AddStaffError::NameTaken),
        Err(error) => Err(error.into()),
    }
}

/// The staff of `saler`, by name. Staff with unreadable rights are left out.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn list(db: &Db, saler: UserId) -> Result<Vec<StaffMember>, DbError> {
    let mut connection = db.connect().await?;
    let query = users::table.filter(users::acts_for.eq(saler.0)).filter(users::rights.gt(0));
    let query = query.order(users::username).limit(STAFF_MAX.into()).select((users::username, users::rights));
    let rows: Vec<(String, u8)> = db.within("list staff", query.load(&mut connection)).await?;
    let member = |(name, bits)| Some(StaffMember { name, rights: Rights::from_bits(bits)? });
    Ok(rows.into_iter().filter_map(member).collect())
}

/// The staff of `saler` who have not ended.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn ids_of(db: &Db, saler: UserId) -> Result<Vec<UserId>, DbError> {
    let mut connection = db.connect().await?;
    let query = users::table.filter(users::acts_for.eq(saler.0)).filter(users::rights.gt(0)).select(users::id);
    let ids: Vec<u64> = db.within("find staff", query.load(&mut connection)).await?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// Ends all staff of an erased saler, whose row is locked. `expires_at` is the expiry of the last token.
pub(super) async fn end_all(db: &Db, tx: &mut Transaction<'_>, saler: UserId, expires_at: u64) -> Result<(), DbError> {
    let of_saler = users::table.filter(users::acts_for.eq(saler.0));
    let ids: Vec<u64> = db.within("find staff", of_saler.select(users::id).load(tx.connection())).await?;
    for id in ids {
        revoked_tokens::raise_generation(db, tx, UserId(id), expires_at).await?;
        second_factors::forget(db, tx, UserId(id)).await?;
    }
    let end = diesel::update(of_saler).set((users::password_hash.eq(""), users::rights.eq(0)));
    db.within("end staff", end.execute(tx.connection())).await.map(drop)
}

/// Ends staff of `saler`: password, rights and all tokens. Returns the user and the generation of future tokens, or `None` if
/// the saler has no such staff. `expires_at` is the expiry of the last token.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn end(
    db: &Db,
    saler: UserId,
    name: &UserName,
    expires_at: u64,
) -> Result<Option<(UserId, Option<u32>)>, DbError> {
    let mut tx = db.begin().await?;
    let row = users::table.filter(users::username.eq(name.as_str())).filter(users::acts_for.eq(saler.0));
    let row = row.filter(users::rights.gt(0)).select(users::id).for_update();
    let id: Option<u64> = db.within("lock staff", async { row.first(tx.connection()).await.optional() }).await?;
    let Some(id) = id else {
        tx.roll_back().await;
        return Ok(None);
    };
    let generation = revoked_tokens::raise_generation(db, &mut tx, UserId(id), expires_at).await?;
    second_factors::forget(db, &mut tx, UserId(id)).await?;
    let end = diesel::update(users::table.find(id)).set((users::password_hash.eq(""), users::rights.eq(0)));
    db.within("end staff", end.execute(tx.connection())).await?;
    tx.commit().await?;
    Ok(Some((UserId(id), generation)))
}
