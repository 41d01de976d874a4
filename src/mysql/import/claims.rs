//! Imported claims: customers' rows of the Go system.
//!
//! A batch raises the amount of a coupon by the number of added claims, so the tables are consistent after every
//! transaction. A partly imported coupon has too few units, but never a unit that a customer of the Go system holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Unsigned};
use diesel_async::RunQueryDsl;

use super::coupons::{ImportedCoupon, PresentCoupon, columns, insert, stored};
use super::{TakeError, Taking, begin};
use crate::domain::{Amount, CouponId, Nth, Seq, UserId};
use crate::mysql::schema::{claims, coupons};
use crate::mysql::{Db, DbConnection, DbError};

#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    pub coupon: &'a ImportedCoupon,
    pub user: UserId,
}

/// The result of importing a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenClaim {
    Now,
    /// The customer already holds the coupon in this service.
    Earlier,
    /// The coupon is or was on sale in this service, so the next seq may already be granted in Redis.
    OnSale,
    /// The coupon would exceed the largest amount.
    TooMany,
}

/// The `nth` of every imported claim. A customer of the Go system holds a coupon at most once.
const NTH: Nth = 1;

/// Stores claims and missing coupons in one transaction. The results and a coupon's seqs follow the order of `new`.
///
/// # Errors
/// Returns a [`TakeError`]. A failed commit has an unknown outcome, otherwise no row is stored. Repeating is safe.
pub async fn take(db: &Db, new: &[NewClaim<'_>], now_ms: u64) -> Result<Vec<TakenClaim>, TakeError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut taking = begin(db).await?;
    let mut batch = Batch::read(&mut taking, new).await?;
    let taken = new.iter().map(|claim| batch.add(claim)).collect();
    if !batch.claims.is_empty() {
        taking.forget_redis().await?;
        batch.write(&mut taking, now_ms).await?;
    }
    taking.transaction.commit().await?;
    Ok(taken)
}

struct Batch<'a> {
    coupons: BTreeMap<CouponId, Growing<'a>>,
    holders: HashSet<(UserId, CouponId)>,
    claims: Vec<(CouponId, Seq, UserId)>,
    redis_was_loaded: bool,
}

/// A coupon whose amount grows by `added`.
struct Growing<'a> {
    coupon: &'a ImportedCoupon,
    stored: Option<PresentCoupon>,
    added: u32,
}

impl<'a> Batch<'a> {
    async fn read(taking: &mut Taking<'_>, new: &[NewClaim<'a>]) -> Result<Self, DbError> {
        let (db, redis_was_loaded) = (taking.db, taking.redis_was_loaded);
        let connection = taking.connection();
        let by_id: BTreeMap<CouponId, &ImportedCoupon> =
            new.iter().map(|claim| (claim.coupon.id, claim.coupon)).collect();
        let query = coupons::table
            .filter(coupons::id.eq_any(by_id.keys().map(|id| id.0)))
            .order(coupons::id)
            .select(columns())
            .for_update();
        let rows: Vec<_> = db.within("lock coupons", query.load(connection)).await?;
        let mut found: HashMap<CouponId, PresentCoupon> =
            rows.into_iter().map(stored).map(|coupon| (coupon.id, coupon)).collect();
        let growing = |(id, coupon)| (id, Growing { coupon, stored: found.remove(&id), added: 0 });
        let coupons = by_id.into_iter().map(growing).collect();
        let holders = find_holders(db, connection, new).await?;
        Ok(Self { coupons, holders, claims: Vec::new(), redis_was_loaded })
    }

    fn add(&mut self, claim: &NewClaim<'_>) -> TakenClaim {
        let id = claim.coupon.id;
        let Some(growing) = self.coupons.get_mut(&id) else { unreachable!("read() has every coupon of the batch") };
        if self.holders.contains(&(claim.user, id)) {
            return TakenClaim::Earlier;
        }
        let (amount, claimed, is_on_sale) = match &growing.stored {
            Some(stored) => (stored.amount, stored.claimed, stored.is_published || self.redis_was_loaded),
            None => (growing.coupon.left, 0, false),
        };
        if is_on_sale {
            return TakenClaim::OnSale;
        }
        if amount + growing.added >= Amount::MAX {
            return TakenClaim::TooMany;
        }
        growing.added += 1;
        self.holders.insert((claim.user, id));
        self.claims.push((id, claimed + growing.added, claim.user));
        TakenClaim::Now
    }

    async fn write(&self, taking: &mut Taking<'_>, now_ms: u64) -> Result<(), DbError> {
        let (db, shards) = (taking.db, taking.shards);
        let connection = taking.connection();
        let grown = || self.coupons.values().filter(|growing| growing.added > 0);
        for growing in grown().filter(|growing| growing.stored.is_some()) {
            let update = diesel::update(coupons::table.find(growing.coupon.id.0))
                .set(coupons::amount.eq(coupons::amount + growing.added));
            db.within("raise amount", update.execute(connection)).await?;
        }
        let missing: Vec<_> =
            grown().filter(|growing| growing.stored.is_none()).map(|growing| (growing.coupon, growing.added)).collect();
        insert(db, shards, connection, &missing).await?;
        insert_claims(db, connection, &self.claims, now_ms).await
    }
}

#[derive(QueryableByName)]
struct HolderRow {
    #[diesel(sql_type = Unsigned<BigInt>)]
    user_id: u64,
    #[diesel(sql_type = Unsigned<BigInt>)]
    coupon_id: u64,
}

/// Finds customers with an earlier claim of the coupon. Pairs are compared, because a customer may hold many coupons.
async fn find_holders(
    db: &Db,
    connection: &mut DbConnection,
    new: &[NewClaim<'_>],
) -> Result<HashSet<(UserId, CouponId)>, DbError> {
    let pair = |claim: &NewClaim<'_>| format!("(user_id = {} AND coupon_id = {})", claim.user, claim.coupon.id);
    let pairs = new.iter().map(pair).collect::<Vec<_>>().join(" OR ");
    let query = diesel::sql_query(format!("SELECT user_id, coupon_id FROM claims WHERE nth = {NTH} AND ({pairs})"));
    let rows: Vec<HolderRow> = db.within("find holders", query.load(connection)).await?;
    Ok(rows.into_iter().map(|row| (UserId(row.user_id), CouponId(row.coupon_id))).collect())
}

async fn insert_claims(
    db: &Db,
    connection: &mut DbConnection,
    new: &[(CouponId, Seq, UserId)],
    now_ms: u64,
) -> Result<(), DbError> {
    let rows: Vec<_> = new
        .iter()
        .map(|(coupon, seq, user)| {
            (
                claims::coupon_id.eq(coupon.0),
                claims::seq.eq(seq),
                claims::user_id.eq(user.0),
                claims::nth.eq(NTH),
                claims::activity_id.eq(0),
                claims::claimed_at.eq(now_ms),
            )
        })
        .collect();
    db.within("insert claims", diesel::insert_into(claims::table).values(rows).execute(connection)).await?;
    Ok(())
}
