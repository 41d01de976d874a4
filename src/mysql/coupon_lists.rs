//! Lists of coupons: those of all salers, and those of a user while Redis cannot be read.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::coupons::{CouponRow, StoredCoupon, columns, stored};
use super::schema::{coupons, users};
use super::{Db, DbError};
use crate::domain::{Coupon, CouponId, PageStart, ShardId, UserId};

/// Up to `count` coupons of a saler in a shard from `start`, newest first. Unreadable rows are skipped.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn of_saler(
    db: &Db,
    shard: ShardId,
    saler: UserId,
    start: PageStart,
    count: u64,
) -> Result<Vec<StoredCoupon>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table
        .left_join(users::table)
        .filter(coupons::saler_id.eq(saler.0))
        .filter(coupons::shard.eq(shard.name()))
        .order(coupons::id.desc())
        .limit(i64::try_from(count).unwrap_or(i64::MAX))
        .select(columns())
        .into_boxed();
    let query = match start {
        PageStart::Skip(items) => query.offset(i64::try_from(items).unwrap_or(i64::MAX)),
        PageStart::After(id) => query.filter(coupons::id.lt(id)),
    };
    let rows: Vec<CouponRow> = db.within("list coupons", query.load(&mut connection)).await?;
    Ok(db.unreadable().skip(rows.into_iter().map(stored)))
}

/// The coupons with these ids that exist and can be read, in any order.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_all(db: &Db, ids: &[CouponId]) -> Result<Vec<StoredCoupon>, DbError> {
    let mut connection = db.connect().await?;
    let ids = ids.iter().map(|id| id.0);
    let query = coupons::table.left_join(users::table).filter(coupons::id.eq_any(ids)).select(columns());
    let rows: Vec<CouponRow> = db.within("find coupons", query.load(&mut connection)).await?;
    Ok(db.unreadable().skip(rows.into_iter().map(stored)))
}

/// Up to `count` coupons from `start`, newest first. Unreadable rows are skipped, so a page may have fewer coupons.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn newest(db: &Db, start: PageStart, count: i64) -> Result<Vec<Coupon>, DbError> {
    let mut connection = db.connect().await?;
    let query = coupons::table.left_join(users::table).order(coupons::id.desc()).limit(count);
    let query = query.select(columns()).into_boxed();
    let query = match start {
        PageStart::Skip(items) => query.offset(i64::try_from(items).unwrap_or(i64::MAX)),
        PageStart::After(id) => query.filter(coupons::id.lt(id)),
    };
    let rows: Vec<CouponRow> = db.within("list coupons", query.load(&mut connection)).await?;
    Ok(db.unreadable().skip(rows.into_iter().map(|row| Ok(stored(row)?.coupon))))
}
