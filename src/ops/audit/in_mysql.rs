//! Invariants that the tables of MySQL must satisfy without a look at Redis.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Integer, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::look::{Audit, AuditError, Look};

/// A coupon with the count and the highest seq of its claims.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct CouponCounts {
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub(super) id: u64,
    #[diesel(sql_type = Unsigned<Integer>)]
    pub(super) amount: u32,
    #[diesel(sql_type = Integer)]
    pub(super) left_count: i32,
    #[diesel(sql_type = Bigint)]
    pub(super) rows_count: i64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub(super) highest: u64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub(super) revision: u64,
    #[diesel(sql_type = Unsigned<Bigint>)]
    pub(super) published_revision: u64,
}

const COUPON_ROWS: &str = "SELECT c.id, c.amount, c.left_count, COUNT(k.seq) AS rows_count, \
    CAST(COALESCE(MAX(k.seq), 0) AS UNSIGNED) AS highest, c.revision, c.published_revision \
    FROM coupons c LEFT JOIN claims k ON k.coupon_id = c.id \
    GROUP BY c.id, c.amount, c.left_count, c.revision, c.published_revision ORDER BY c.id";

/// Forbidden rows, as the violated invariant, a query for the names of the rows, and the meaning of a row.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    (
        "I3 no phantom",
        "SELECT CONCAT('coupon ', k.coupon_id) AS subject FROM claims k LEFT JOIN coupons c ON c.id = k.coupon_id \
         WHERE c.id IS NULL GROUP BY k.coupon_id",
        "has claims but does not exist",
    ),
    (
        "I2 nothing lost",
        "SELECT CONCAT('entry ', entry, ' (', claim, '): ', reason) AS subject FROM poisoned_claims",
        "was poisoned",
    ),
    (
        "I4 limits",
        "SELECT CONCAT('user ', user_id, ' of coupon ', coupon_id) AS subject FROM claims \
         WHERE nth > 1 AND activity_id = 0",
        "holds more than one",
    ),
];

impl Audit {
    /// Checks the tables. Returns every coupon as it was read, for the comparison with Redis.
    pub(super) async fn check_rows(&self, look: &mut Look) -> Result<Vec<CouponCounts>, AuditError> {
        let rows = self.read_rows().await?;
        for row in &rows {
            let CouponCounts { id, amount, left_count, rows_count, highest, .. } = *row;
            let (subject, amount) = (format!("coupon {id}"), i64::from(amount));
            if rows_count > amount {
                look.find("I1 no oversell", &subject, format!("{rows_count} claims of {amount} units"));
            }
            if highest > u64::from(row.amount) {
                look.find("I5 dense", &subject, format!("seq {highest} is above the {amount} units"));
            }
            if rows_count == amount && highest != u64::from(row.amount) {
                look.find("I5 dense", &subject, format!("{rows_count} claims, but the highest seq is {highest}"));
            }
            if amount - i64::from(left_count) != rows_count {
                let what = format!("{left_count} of {amount} left, but {rows_count} claims");
                look.find("I8 conservation", &subject, what);
            }
            look.claims += u64::try_from(rows_count).unwrap_or(0);
        }
        look.coupons = rows.len() as u64;
        for (invariant, query, what) in FORBIDDEN {
            for subject in self.texts(query).await? {
                look.find(invariant, subject, what);
            }
        }
        Ok(rows)
    }

    pub(super) async fn read_rows(&self) -> Result<Vec<CouponCounts>, AuditError> {
        let mut connection = self.db.connect_alone().await?;
        diesel::sql_query(COUPON_ROWS).load(&mut connection).await.map_err(AuditError::Read)
    }

    async fn texts(&self, query: &str) -> Result<Vec<String>, AuditError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            subject: String,
        }
        let mut connection = self.db.connect_alone().await?;
        let rows: Vec<Row> =
            diesel::sql_query(format!("{query} LIMIT 1000")).load(&mut connection).await.map_err(AuditError::Read)?;
        Ok(rows.into_iter().map(|row| row.subject).collect())
    }
}
