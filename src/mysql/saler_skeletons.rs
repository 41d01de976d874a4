//! The table `saler_skeletons`: the skeletons of salers' names, so that no new saler looks like an earlier one.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::{saler_skeletons, users};
use super::{Db, DbError, Transaction};
use crate::domain::{Kind, Skeleton, UserId, UserName};

/// Users that a page passes over, and salers that it enters.
const USERS_MAX: i64 = 10_000;
const SALERS_MAX: i64 = 1_000;

/// The result of [`enter_page`].
#[derive(Debug)]
pub struct EnteredPage {
    /// The last user of the page.
    pub last: UserId,
    /// Salers who got a row.
    pub entered: usize,
    /// Salers who look like an earlier one, and got no row.
    pub alike: usize,
}

/// Whether a saler has this skeleton.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn is_taken(db: &Db, skeleton: &Skeleton) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let query = saler_skeletons::table.find(skeleton.as_bytes()).select(saler_skeletons::user_id);
    let holder = async { query.first::<u64>(&mut connection).await.optional() };
    Ok(db.within("find skeleton", holder).await?.is_some())
}

/// Adds the skeleton of the saler inserted by this transaction.
///
/// # Errors
/// Returns [`DbError::Duplicate`] if another saler has it. The transaction must be rolled back.
pub(super) async fn insert(
    db: &Db,
    tx: &mut Transaction<'_>,
    name: &UserName,
    skeleton: &Skeleton,
) -> Result<(), DbError> {
    let saler = users::table.filter(users::username.eq(name.as_str())).select(users::id);
    let id = db.within("find inserted saler", saler.first::<u64>(tx.connection())).await;
    let row = (
        saler_skeletons::skeleton.eq(skeleton.as_bytes()),
        saler_skeletons::user_id.eq(id.map_err(DbError::before_commit)?),
    );
    let insert = diesel::insert_into(saler_skeletons::table).values(row);
    let inserted = db.within("insert skeleton", insert.execute(tx.connection())).await;
    inserted.map(drop).map_err(DbError::before_commit)
}

/// Enters the salers without a row among the next users behind `after`, the oldest first. Returns `None` if there are no
/// further users. A saler whose name cannot be read is passed over.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn enter_page(db: &Db, after: UserId) -> Result<Option<EnteredPage>, DbError> {
    let mut connection = db.connect().await?;
    let page = users::table.filter(users::id.gt(after.0)).order(users::id).limit(USERS_MAX).select(users::id);
    let ids: Vec<u64> = db.within("read users' ids", page.load(&mut connection)).await?;
    let Some(mut last) = ids.last().copied() else { return Ok(None) };
    let query = users::table
        .left_join(saler_skeletons::table)
        .filter(users::id.gt(after.0).and(users::id.le(last)))
        .filter(users::kind.eq(Kind::Saler.as_str()).and(saler_skeletons::user_id.is_null()))
        .order(users::id)
        .limit(SALERS_MAX)
        .select((users::id, users::username));
    let salers: Vec<(u64, String)> = db.within("read salers", query.load(&mut connection)).await?;
    if let Some((id, _)) = salers.get(SALERS_MAX as usize - 1) {
        last = *id;
    }
    let rows: Vec<_> = salers
        .into_iter()
        .filter_map(|(id, name)| Some((Skeleton::of(&UserName::parse(name).ok()?), id)))
        .map(|(skeleton, id)| {
            (saler_skeletons::skeleton.eq(skeleton.as_bytes().to_vec()), saler_skeletons::user_id.eq(id))
        })
        .collect();
    let mut entered = 0;
    let found = rows.len();
    if found > 0 {
        // Of equal skeletons the first one stays, within this statement and in the table.
        let insert = diesel::insert_or_ignore_into(saler_skeletons::table).values(rows);
        entered = db.within("enter skeletons", insert.execute(&mut connection)).await?;
    }
    Ok(Some(EnteredPage { last: UserId(last), entered, alike: found - entered }))
}
