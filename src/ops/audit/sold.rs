//! Compares the claims sold by activities in Redis with MySQL and the outbox.

use std::collections::HashMap;

use super::look::{Audit, AuditError, Look, WAIT};
use crate::domain::ActivityId;
use crate::mysql::audit as in_mysql;
use crate::redis::audit as in_redis;

/// The number of claims by activity.
pub(super) type Sold = HashMap<ActivityId, u64>;

impl Audit {
    /// Counts the rows of `claims` by activity. Includes activities without claims, and claims of missing activities.
    pub(super) async fn count_sold(&self) -> Result<Sold, AuditError> {
        let mut connection = self.db.connect_alone().await?;
        in_mysql::sold(&mut connection, self.shard).await.map_err(AuditError::Read)
    }

    /// Checks the counts in Redis. A count must be at least the rows read before, and at most the rows read after plus
    /// the claims that waited in the outbox.
    pub(super) async fn check_sold(&self, look: &mut Look, before: &Sold, waiting: &Sold) -> Result<(), AuditError> {
        if before.is_empty() {
            return Ok(());
        }
        let counts = in_redis::sold(&*self.pool.get().await?, &self.keys, before.keys().copied(), WAIT).await?;
        let after = self.count_sold().await?;
        for (sold, (id, before)) in counts.into_iter().zip(before) {
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
