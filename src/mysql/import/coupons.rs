//! Imported coupons.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{TakeError, begin};
use crate::domain::{CouponId, CouponName, Description, FaceValue, ShardId, UserId};
use crate::mysql::schema::coupons;
use crate::mysql::{Db, DbConnection, DbError, new_ids};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedCoupon {
    /// The id of the coupon in this service, existing or assigned.
    pub id: CouponId,
    pub saler_id: UserId,
    pub name: CouponName,
    /// Units without a holder, 0 to [`crate::domain::Amount::MAX`].
    pub left: u32,
    pub face_value: FaceValue,
    pub description: Description,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentCoupon {
    pub id: CouponId,
    pub name: String,
    pub amount: u32,
    /// The number of stored claims.
    pub claimed: u32,
    /// Whether the coupon was ever in Redis and therefore on sale in this service.
    pub is_published: bool,
}

/// All coupons of a saler.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_by_saler(db: &Db, saler: UserId) -> Result<Vec<PresentCoupon>, DbError> {
    let query = coupons::table.filter(coupons::saler_id.eq(saler.0)).select(columns());
    let mut connection = db.connect().await?;
    let rows: Vec<ImportedCouponColumns> = db.within("find coupons of a saler", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(stored).collect())
}

/// The first of the ids that MySQL has not issued to a coupon yet. The highest id in the table can be lower, because
/// MySQL skips ids after a failover.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn next_id(db: &Db) -> Result<CouponId, DbError> {
    let mut tx = new_ids::begin(db).await?;
    let next = new_ids::next_coupon(db, &mut tx).await?;
    tx.roll_back().await;
    Ok(CouponId(next))
}

/// Stores coupons without claims in one transaction. The amount of a coupon is `left`, at least 1.
///
/// # Errors
/// Returns a [`TakeError`]. After a failed commit the outcome is unknown, otherwise no row is stored.
pub async fn take(db: &Db, new: &[ImportedCoupon]) -> Result<(), TakeError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut taking = begin(db).await?;
    let rows: Vec<_> = new.iter().map(|coupon| (coupon, 0)).collect();
    taking.forget_redis().await?;
    insert(db, taking.shards, taking.transaction.connection(), &rows).await?;
    taking.transaction.commit().await?;
    Ok(())
}

fn shard_of(coupon: CouponId, shards: usize) -> ShardId {
    let number = usize::try_from(coupon.0).unwrap_or(0) % shards.max(1);
    ShardId::new(number).unwrap_or(ShardId::FIRST)
}

type ImportedCouponColumns = (u64, String, u32, i32, u64);

#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn columns() -> _ {
    (coupons::id, coupons::name, coupons::amount, coupons::left_count, coupons::published_revision)
}

pub(super) fn stored((id, name, amount, left, published_revision): ImportedCouponColumns) -> PresentCoupon {
    let claimed = u32::try_from(i64::from(amount) - i64::from(left)).unwrap_or(0);
    PresentCoupon { id: CouponId(id), name, amount, claimed, is_published: published_revision > 0 }
}

/// Inserts coupons with the number of claims stored for them in the same transaction. They are spread over all shards.
pub(super) async fn insert(
    db: &Db,
    shards: usize,
    connection: &mut DbConnection,
    new: &[(&ImportedCoupon, u32)],
) -> Result<(), DbError> {
    if new.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = new
        .iter()
        .map(|(coupon, claims)| {
            (
                coupons::id.eq(coupon.id.0),
                coupons::saler_id.eq(coupon.saler_id.0),
                coupons::name.eq(coupon.name.as_str()),
                coupons::amount.eq(coupon.left + claims),
                coupons::left_count.eq(i32::try_from(coupon.left).unwrap_or(i32::MAX)),
                coupons::face_value.eq(coupon.face_value.get()),
                coupons::description.eq(coupon.description.as_str()),
                coupons::shard.eq(shard_of(coupon.id, shards).name()),
            )
        })
        .collect();
    db.within("insert coupons", diesel::insert_into(coupons::table).values(rows).execute(connection)).await?;
    Ok(())
}
