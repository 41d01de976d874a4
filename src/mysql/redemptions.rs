//! Redemption of claims, in the table `claims`. A claim is redeemed at most once.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Nullable, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::claims;
use super::{Db, DbError};
use crate::domain::{Author, CouponId, Nth, Seq, UserId};

/// A granted unit and its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub coupon: CouponId,
    pub seq: Seq,
    pub user: UserId,
    pub nth: Nth,
}

/// The result of redeeming a claim. Times are in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// Redeemed by this call, for the first time.
    First,
    /// Redeemed earlier, at the given time. Nothing has changed.
    Before(u64),
    /// MySQL does not have the claim, or not yet. Nothing has changed.
    NotStored,
    /// Another user holds the unit. Nothing has changed.
    AnothersUnit,
}

/// The coupon of a claim token, with the redemption of the claim.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Granted {
    #[diesel(sql_type = Varchar)]
    pub saler: String,
    #[diesel(sql_type = Varchar)]
    pub name: String,
    /// In ms since 1970. `None` if the claim is not redeemed.
    #[diesel(sql_type = Nullable<Unsigned<Bigint>>)]
    pub redeemed_at: Option<u64>,
}

/// Redeems a claim at `now_ms` for `by`, unless the claim is redeemed already. A single statement decides, so only one of
/// several concurrent calls is the first.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, repeating the call tells.
pub async fn redeem(db: &Db, grant: &Grant, by: Author<'_>, now_ms: u64) -> Result<Redemption, DbError> {
    let mut connection = db.connect().await?;
    let unit = claims::table.find((grant.coupon.0, grant.seq));
    let granted = unit.filter(claims::user_id.eq(grant.user.0)).filter(claims::nth.eq(grant.nth));
    let unused = granted.filter(claims::redeemed_at.is_null());
    let update = diesel::update(unused).set((claims::redeemed_at.eq(now_ms), claims::redeemed_by.eq(by.stored())));
    if db.within("redeem claim", update.execute(&mut connection)).await? > 0 {
        return Ok(Redemption::First);
    }
    let stored = unit.select((claims::user_id, claims::nth, claims::redeemed_at));
    let stored = db.within("read claim", async { stored.first(&mut connection).await.optional() }).await;
    // A failed read has no effect.
    let stored: Option<(u64, Nth, Option<u64>)> = stored.map_err(DbError::before_commit)?;
    Ok(match stored {
        Some((user, nth, Some(at))) if (user, nth) == (grant.user.0, grant.nth) => Redemption::Before(at),
        // The claim was stored between the two statements.
        Some((user, nth, None)) if (user, nth) == (grant.user.0, grant.nth) => Redemption::NotStored,
        Some(_) => Redemption::AnothersUnit,
        None => Redemption::NotStored,
    })
}

/// Reads a claim's coupon and redemption, or `None` without a coupon. A claim without a row counts as not redeemed.
///
/// # Errors
/// Returns a [`DbError`].
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
