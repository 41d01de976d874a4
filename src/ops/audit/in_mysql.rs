//! Checks the invariants that concern only the tables of MySQL.

use super::look::{Audit, AuditError, Look, NOTHING_LOST};
use crate::domain::ShardId;
use crate::mysql::audit::{self, CouponCounts, ForbiddenRows};
use crate::mysql::{UnreadableRow, row_scan};

/// Each kind of forbidden rows with the violated invariant and the meaning of a row.
const FORBIDDEN: [(&str, ForbiddenRows, &str); 3] = [
    ("I3 no phantom", ForbiddenRows::ClaimsWithoutCoupon, "has claims but does not exist"),
    (NOTHING_LOST, ForbiddenRows::PoisonedClaims, "was poisoned"),
    ("I4 limits", ForbiddenRows::LaterClaimsWithoutActivity, "holds more than one"),
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
        if self.shard != ShardId::FIRST {
            return Ok(rows);
        }
        // These rows belong to no shard, so they are checked once.
        for UnreadableRow { table, id, column, .. } in row_scan::scan(&self.db).await? {
            look.find(
                "I12 contained",
                format!("row {id} of {table}"),
                format!("cannot be read: {column} is out of range"),
            );
        }
        for (invariant, kind, what) in FORBIDDEN {
            let mut connection = self.db.connect_alone().await?;
            for subject in audit::forbidden_rows(&mut connection, kind).await.map_err(AuditError::Read)? {
                look.find(invariant, subject, what);
            }
        }
        Ok(rows)
    }

    pub(super) async fn read_rows(&self) -> Result<Vec<CouponCounts>, AuditError> {
        let mut connection = self.db.connect_alone().await?;
        audit::coupon_counts(&mut connection, self.shard).await.map_err(AuditError::Read)
    }
}
