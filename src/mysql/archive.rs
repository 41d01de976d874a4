//! Archived coupons in the table `coupons`.
//!
//! Three columns tell the state. `archived`: the coupon is not sold. `unloaded`: Redis may lack its claims.
//! `first_archived_at`: a customer's list needs its rows in `claims`.

use std::time::Duration;

use diesel::dsl::{count_star, sql};
use diesel::mysql::Mysql;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Bigint, Bool, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::{coupons, users};
use super::{Db, DbError, Transaction};
use crate::domain::{CouponId, OpenOffer, ShardId, UserId};

/// A published coupon that is not archived and cannot be claimed any more: sold out, or scheduled with activities that are
/// all over or not in force. The time of the last claim is that of the highest seq. A later claim has filled a hole.
///
/// Binds the age in seconds, and twice Redis' clock and the age. The earlier of both clocks counts, so a single clock that is
/// ahead archives nothing during a sale.
const FINISHED: &str = "archived = FALSE AND published_revision > 0 AND changed_at < NOW(3) - INTERVAL ? SECOND AND (\
    (left_count <= 0 AND COALESCE((SELECT claimed_at FROM claims WHERE coupon_id = coupons.id ORDER BY seq DESC LIMIT 1), 0) \
        < (LEAST(UNIX_TIMESTAMP(), ?) - ?) * 1000) \
    OR (scheduled AND activity_revision > 0 AND NOT EXISTS (SELECT 1 FROM activities WHERE coupon_id = coupons.id \
        AND status = 0 AND end_time > LEAST(UNIX_TIMESTAMP(), ?) - ?)))";

/// For how long a coupon must have been impossible to claim.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// Redis' clock, in seconds since 1970.
    pub now: u64,
    pub age: Duration,
}

/// Up to `count` coupons of a shard, ordered by id, that cannot be claimed any more since the age of `finished`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn finished(db: &Db, shard: ShardId, finished: Finished, count: i64) -> Result<Vec<CouponId>, DbError> {
    let mut connection = db.connect().await?;
    let query = select_finished("AND shard = ? ORDER BY id LIMIT ?", finished)
        .bind::<Varchar, _>(shard.name())
        .bind::<Bigint, _>(count);
    let rows: Vec<FinishedRow> = db.within("find finished coupons", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|row| CouponId(row.id)).collect())
}

/// Whether a coupon, whose row is locked, cannot be claimed any more since the age of `finished`.
pub(crate) async fn is_finished(
    db: &Db,
    tx: &mut Transaction<'_>,
    coupon: CouponId,
    finished: Finished,
) -> Result<bool, DbError> {
    let query = select_finished("AND id = ?", finished).bind::<Unsigned<Bigint>, _>(coupon.0);
    let rows: Vec<FinishedRow> = db.within("find finished coupon", query.load(tx.connection())).await?;
    Ok(!rows.is_empty())
}

#[derive(QueryableByName)]
struct FinishedRow {
    #[diesel(sql_type = Unsigned<Bigint>)]
    id: u64,
}

/// The ids of finished coupons, with `rest` at the end of the statement.
fn select_finished(rest: &str, Finished { now, age }: Finished) -> BoxedSqlQuery<'static, Mysql, SqlQuery> {
    let age = age.as_secs();
    let mut query = diesel::sql_query(format!("SELECT id FROM coupons WHERE {FINISHED} {rest}")).into_boxed::<Mysql>();
    for number in [age, now, age, now, age] {
        query = query.bind::<Unsigned<Bigint>, _>(number);
    }
    query
}

/// The names of the shards with coupons whose row is ahead of Redis.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn lagging_shards(db: &Db) -> Result<Vec<String>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.filter(sql::<Bool>("lags")).select(coupons::shard).distinct();
    db.within("find lagging shards", query.load(&mut connection)).await
}

/// Up to `count` coupons of a shard whose tombstone or claims Redis may lack. Those with an id above `last` come first.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn lagging(db: &Db, shard: ShardId, last: CouponId, count: i64) -> Result<Vec<CouponId>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table
        .filter(sql::<Bool>("lags"))
        .filter(coupons::unloaded)
        .filter(coupons::shard.eq(shard.name()))
        .order((coupons::id.le(last.0), coupons::id))
        .select(coupons::id)
        .limit(count);
    let ids: Vec<u64> = db.within("find coupons to archive", query.load(&mut connection)).await?;
    Ok(ids.into_iter().map(CouponId).collect())
}

/// Records that Redis has all claims of a coupon, at its revision. Does nothing if the coupon has a later revision.
///
/// # Errors
/// Returns a [`DbError`]. The next round of archiving publishes the coupon again.
pub async fn set_loaded(db: &Db, id: CouponId, revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = coupons::table.find(id.0).filter(coupons::revision.eq(revision)).filter(coupons::archived.eq(false));
    let update = diesel::update(row).set((coupons::published_revision.eq(revision), coupons::unloaded.eq(false)));
    db.within("note loaded", update.execute(&mut connection)).await?;
    Ok(())
}

/// Whether Redis is known to have a revision of a coupon.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn is_published(db: &Db, id: CouponId, revision: u64) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.find(id.0).select(coupons::published_revision.ge(revision));
    let published = db.within("read coupon", async { query.first(&mut connection).await.optional() }).await?;
    Ok(published.unwrap_or(false))
}

/// The open coupons of a saler: those that are not archived; and whether the saler's sales are withheld. Locks the saler's row,
/// so that they do not change before the end of the transaction.
pub(crate) async fn lock_open(db: &Db, tx: &mut Transaction<'_>, saler: UserId) -> Result<(OpenOffer, bool), DbError> {
    let lock = users::table.find(saler.0).select(users::sales_withheld).for_update();
    let is_withheld: bool =
        db.within("lock saler", lock.first(tx.connection())).await.map_err(DbError::before_commit)?;
    let open = coupons::table.filter(coupons::saler_id.eq(saler.0)).filter(coupons::archived.eq(false));
    let units = sql::<Unsigned<Bigint>>("CAST(COALESCE(SUM(amount), 0) AS UNSIGNED)");
    let counted = db.within("count coupons", open.select((count_star(), units)).first(tx.connection())).await;
    let (coupons, units): (i64, u64) = counted.map_err(DbError::before_commit)?;
    Ok((OpenOffer { coupons: u64::try_from(coupons).unwrap_or(0), units }, is_withheld))
}

/// The open coupons of all salers, and their units. Reads an index of the open coupons.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn count_open(db: &Db) -> Result<OpenOffer, DbError> {
    let units = sql::<Unsigned<Bigint>>("CAST(COALESCE(SUM(amount), 0) AS UNSIGNED)");
    let open = coupons::table.filter(coupons::archived.eq(false)).select((count_star(), units));
    let mut connection = db.connect().await?;
    let (coupons, units): (i64, u64) = db.within("count open coupons", open.first(&mut connection)).await?;
    Ok(OpenOffer { coupons: u64::try_from(coupons).unwrap_or(0), units })
}

/// Coupons among `ids` that are archived.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn archived_of(db: &Db, ids: &[CouponId]) -> Result<Vec<CouponId>, DbError> {
    let mut connection = db.connect().await?;
    let ids = ids.iter().map(|id| id.0);
    let query = coupons::table.filter(coupons::id.eq_any(ids)).filter(coupons::archived).select(coupons::id);
    let ids: Vec<u64> = db.within("find archived coupons", query.load(&mut connection)).await?;
    Ok(ids.into_iter().map(CouponId).collect())
}
