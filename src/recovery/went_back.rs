//! Compares the commits that MySQL has with the commits that Redis knows.

use super::{Recovery, RecoveryError, WAIT};
use crate::mysql::ledgers::FenceRefusal;
use crate::redis::{Connection, KvError, live_key};

impl Recovery {
    /// Whether MySQL lacks a commit that Redis or this process knows. Otherwise the process may add a deleted row again.
    pub(super) async fn mysql_went_back(&self, connection: &Connection) -> Result<bool, RecoveryError> {
        let refusal = self.fence.refusal();
        if refusal == Some(FenceRefusal::RowBehind) {
            // Every other instance sees the counter.
            self.raise_counter(connection).await?;
        }
        // Redis is read first, because the counters in Redis follow the rows.
        let redis = live_key::commits(connection, self.keys(), WAIT).await?;
        let went_back = redis.are_ahead_of(&self.statements.ledgers(self.identity.shard).await?);
        if went_back {
            // A batch without an entry to delete has not told Redis its number. A repair must restore the number, too.
            self.raise_counter(connection).await?;
        }
        if !went_back && refusal == Some(FenceRefusal::RowMissing) {
            self.fence.may_join().await;
        }
        Ok(went_back)
    }

    /// Tells Redis the number of the last committed batch of the process.
    async fn raise_counter(&self, connection: &Connection) -> Result<(), KvError> {
        let (process, committed) = (self.fence.process(), self.fence.committed());
        live_key::raise_counter(connection, self.keys(), process, committed, WAIT).await
    }
}
