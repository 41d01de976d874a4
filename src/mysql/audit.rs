//! Reads for the audit. Nothing is locked, so a value may change between two reads.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Bool, Integer, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::DbConnection;
use super::activities::SoldRow;
use crate::domain::{ActivityId, ShardId};

/// A coupon with the count and the highest seq of its claims.
#[derive(Debug, Clone, QueryableByName)]
pub struct CouponCounts {
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub id: u64,
    #[diesel(sql_type = Unsigned<Integer>)]
    pub amount: u32,
    #[diesel(sql_type = Integer)]
    pub left_count: i32,
    #[diesel(sql_type = Bigint)]
    pub rows_count: i64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub highest: u64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub revision: u64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub published_revision: u64,
    #[diesel(sql_type = Bool)]
    pub archived: bool,
    /// Redis may lack the claims.
    #[diesel(sql_type = Bool)]
    pub unloaded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForbiddenRows {
    /// Claims of a coupon that does not exist.
    ClaimsWithoutCoupon,
    /// Poisoned claims that nobody has acknowledged.
    PoisonedClaims,
    /// Later claims of a user outside activities.
    LaterClaimsWithoutActivity,
}

impl ForbiddenRows {
    /// A query for the names of the rows, in the column `subject`.
    fn query(self) -> &'static str {
        match self {
            Self::ClaimsWithoutCoupon => {
                "SELECT CONCAT('coupon ', k.coupon_id) AS subject FROM claims k \
                 LEFT JOIN coupons c ON c.id = k.coupon_id WHERE c.id IS NULL GROUP BY k.coupon_id"
            }
            Self::PoisonedClaims => {
                "SELECT CONCAT('entry ', entry, ' (', claim, '): ', reason) AS subject FROM poisoned_claims \
                 WHERE acknowledged_at IS NULL"
            }
            Self::LaterClaimsWithoutActivity => {
                "SELECT CONCAT('user ', user_id, ' of coupon ', coupon_id) AS subject FROM claims \
                 WHERE nth > 1 AND activity_id = 0"
            }
        }
    }
}

/// Counts the claims of all coupons. The coupons are sorted by id.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn coupon_counts(connection: &mut DbConnection, shard: ShardId) -> QueryResult<Vec<CouponCounts>> {
    let query = "SELECT c.id, c.amount, c.left_count, COUNT(k.seq) AS rows_count, \
        CAST(COALESCE(MAX(k.seq), 0) AS UNSIGNED) AS highest, c.revision, c.published_revision, \
        c.archived, c.unloaded FROM coupons c LEFT JOIN claims k ON k.coupon_id = c.id \
        WHERE c.shard = ? GROUP BY c.id, c.amount, c.left_count, c.revision, c.published_revision, c.archived, c.unloaded ORDER BY c.id";
    diesel::sql_query(query).bind::<Text, _>(shard.name()).load(connection).await
}

/// Names up to 1,000 forbidden rows of a kind.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn forbidden_rows(connection: &mut DbConnection, kind: ForbiddenRows) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        subject: String,
    }
    let query = diesel::sql_query(format!("{} LIMIT 1000", kind.query()));
    Ok(query.load::<Row>(connection).await?.into_iter().map(|row| row.subject).collect())
}

/// Counts the claims of all activities whose claims Redis must have. Includes activities without claims, and claims of missing activities.
///
/// # Errors
/// Returns the error of MySQL.
pub async fn sold(connection: &mut DbConnection, shard: ShardId) -> QueryResult<HashMap<ActivityId, u64>> {
    let query = "SELECT a.id AS activity_id, CAST(COUNT(k.seq) AS UNSIGNED) AS claims FROM activities a \
        LEFT JOIN claims k ON k.coupon_id = a.coupon_id AND k.activity_id = a.id \
        WHERE a.coupon_id IN (SELECT id FROM coupons WHERE unloaded = FALSE AND shard = ?) GROUP BY a.id \
        UNION ALL SELECT k.activity_id, CAST(COUNT(*) AS UNSIGNED) FROM claims k \
        LEFT JOIN activities a ON a.id = k.activity_id AND a.coupon_id = k.coupon_id \
        WHERE k.activity_id > 0 AND a.id IS NULL AND k.coupon_id IN (SELECT id FROM coupons WHERE unloaded = FALSE AND shard = ?) \
        GROUP BY k.activity_id";
    let query = diesel::sql_query(query).bind::<Text, _>(shard.name()).bind::<Text, _>(shard.name());
    let rows: Vec<SoldRow> = query.load(connection).await?;
    Ok(rows.into_iter().map(|row| (ActivityId(row.activity_id), row.claims)).collect())
}
