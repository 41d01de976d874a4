//! Compares the claims sold by activities in Redis with MySQL and the outbox.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Integer, Unsigned};
use diesel_async::RunQueryDsl;

use super::in_redis::{WAIT, read};
use super::look::{Audit, AuditError, Look};
use crate::domain::ActivityId;

/// The number of claims by activity id.
pub(super) type Sold = HashMap<u32, u64>;

impl Audit {
    /// Counts the rows of `claims` by activity. Includes activities without claims, and claims of missing activities.
    pub(super) async fn count_sold(&self) -> Result<Sold, AuditError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Unsigned<Integer>)]
            activity_id: u32,
            #[diesel(sql_type = Unsigned<Bigint>)]
            claims: u64,
        }
        let query = "SELECT a.id AS activity_id, CAST(COUNT(k.seq) AS UNSIGNED) AS claims FROM activities a \
            LEFT JOIN claims k ON k.coupon_id = a.coupon_id AND k.activity_id = a.id GROUP BY a.id \
            UNION ALL SELECT k.activity_id, CAST(COUNT(*) AS UNSIGNED) FROM claims k \
            LEFT JOIN activities a ON a.id = k.activity_id AND a.coupon_id = k.coupon_id \
            WHERE k.activity_id > 0 AND a.id IS NULL GROUP BY k.activity_id";
        let mut connection = self.db.connect_alone().await?;
        let rows: Vec<Row> = diesel::sql_query(query).load(&mut connection).await.map_err(AuditError::Read)?;
        Ok(rows.into_iter().map(|row| (row.activity_id, row.claims)).collect())
    }

    /// Checks the counts in Redis. A count must be at least the rows read before, and at most the rows read after plus
    /// the claims that waited in the outbox.
    pub(super) async fn check_sold(&self, look: &mut Look, before: &Sold, waiting: &Sold) -> Result<(), AuditError> {
        let mut pipeline = redis::pipe();
        for id in before.keys() {
            pipeline.cmd("HGET").arg(self.keys.activity(ActivityId(*id))).arg("sold");
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        let replies = self.calls().await?.call_all(&pipeline, WAIT).await?;
        let after = self.count_sold().await?;
        for (reply, (id, before)) in replies.into_iter().zip(before) {
            let sold = read::<Option<u64>>(Some(reply))?.unwrap_or(0);
            let known = |counts: &Sold| counts.get(id).copied().unwrap_or(0);
            let (after, waiting) = (known(&after), known(waiting));
            if sold < *before || sold > after + waiting {
                let what = format!("has sold {sold} in Redis, {after} in MySQL, with {waiting} in the outbox");
                look.find("I8 conservation", format!("activity {id}"), what);
            }
        }
        Ok(())
    }
}
