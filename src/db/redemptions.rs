//! What becomes of a claim after the sale: whether it is known, and used once. In the table `claims`.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Nullable, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::claims;
use super::{Db, DbError};
use crate::domain::{CouponId, Nth, Seq, UserId};

/// A unit and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub coupon: CouponId,
    pub seq: Seq,
    pub user: UserId,
    pub nth: Nth,
}

/// What became of marking a claim as used. Times in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// Now, and never before.
    First,
    /// It was used before, at this time; nothing has changed.
    Before(u64),
    /// MySQL does not have the claim, or not yet; nothing has changed.
    NotStored,
    /// The unit is somebody else's; nothing has changed.
    AnothersUnit,
}

/// A coupon, as a claim token tells of it, and whether the claim has been used.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Granted {
    #[diesel(sql_type = Varchar)]
    pub saler: String,
    #[diesel(sql_type = Varchar)]
    pub name: String,
    /// In ms since 1970.
    #[diesel(sql_type = Nullable<Unsigned<Bigint>>)]
    pub redeemed_at: Option<u64>,
}

/// Marks a claim as used at `now_ms`, unless it is: one statement, so that of many who try at once one is the first.
///
/// # Errors
/// [`DbError`]; where it leaves the outcome open, asking again tells.
pub async fn redeem(db: &Db, grant: &Grant, now_ms: u64) -> Result<Redemption, DbError> {
    let mut connection = db.connect().await?;
    let unit = claims::table.find((grant.coupon.0, grant.seq));
    let granted = unit.filter(claims::user_id.eq(grant.user.0)).filter(claims::nth.eq(grant.nth));
    let unused = granted.filter(claims::redeemed_at.is_null());
    let update = diesel::update(unused).set(claims::redeemed_at.eq(now_ms));
    if db.within("redeem claim", update.execute(&mut connection)).await? > 0 {
        return Ok(Redemption::First);
    }
    let stored = unit.select((claims::user_id, claims::nth, claims::redeemed_at));
    let stored = db.within("read claim", async { stored.first(&mut connection).await.optional() }).await;
    // Whatever comes of reading, nothing was marked.
    let stored: Option<(u64, Nth, Option<u64>)> = stored.map_err(DbError::before_commit)?;
    Ok(match stored {
        Some((user, nth, Some(at))) if (user, nth) == (grant.user.0, grant.nth) => Redemption::Before(at),
        // Stored between the two statements.
        Some((user, nth, None)) if (user, nth) == (grant.user.0, grant.nth) => Redemption::NotStored,
        Some(_) => Redemption::AnothersUnit,
        None => Redemption::NotStored,
    })
}

/// What is known of a claim and its coupon; `None` where there is no such coupon. A claim that is not stored has not been used.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn granted(db: &Db, grant: &Grant) -> Result<Option<Granted>, DbError> {
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT users.username AS saler, coupons.name, claims.redeemed_at FROM coupons \
         JOIN users ON users.id = coupons.saler_id \
         LEFT JOIN claims ON claims.coupon_id = coupons.id AND claims.seq = ? AND claims.user_id = ? AND claims.nth = ? \
         WHERE coupons.id = ?",
    )
    .bind::<Unsigned<diesel::sql_types::Integer>, _>(grant.seq)
    .bind::<Unsigned<Bigint>, _>(grant.user.0)
    .bind::<Unsigned<diesel::sql_types::TinyInt>, _>(grant.nth)
    .bind::<Unsigned<Bigint>, _>(grant.coupon.0);
    db.within("read granted", async { query.get_result(&mut connection).await.optional() }).await
}
