//! What etcd lacks is put there, and what is long over is taken away.

use super::{Failure, KEPT_SECONDS, Mirroring, value};
use crate::db::activities::Stored;
use crate::db::{Db, mirrored};
use crate::etcd::Value;

/// Rows that are put or taken away in one round.
const ROWS_MAX: i64 = 100;
/// How long after its end an activity is taken away, in seconds. By then its deletion has long meant nothing, so that taking
/// away is never mistaken for an operator's deletion, whatever the clocks say.
const TAKEN_AWAY_SECONDS: u64 = 2 * KEPT_SECONDS;

impl Mirroring {
    /// One round, of up to [`ROWS_MAX`] each.
    pub(super) async fn put_what_lacks(&mut self, now: u64) -> Result<(), Failure> {
        let db = self.scheduling.publishing.db.clone();
        let ended_before = now.saturating_sub(TAKEN_AWAY_SECONDS);
        for (id, etcd_revision) in mirrored::long_over(&db, ended_before, ROWS_MAX).await? {
            let deleted = self.etcd.delete(&value::key(id), etcd_revision).await?.is_some();
            if deleted || self.etcd.get(&value::key(id)).await?.is_none() {
                mirrored::forget(&db, id, etcd_revision).await?;
            }
        }
        for row in mirrored::lacking(&db, now.saturating_sub(KEPT_SECONDS), ROWS_MAX).await? {
            // With too many keys etcd could not be followed any longer.
            if self.state.etcd.keys() >= self.activities_max as u64 {
                return Err(Failure::Full(self.activities_max));
            }
            self.put(&db, &row).await?;
        }
        Ok(())
    }

    /// Puts a row where etcd does not have it already, over what it has there now.
    async fn put(&mut self, db: &Db, row: &Stored) -> Result<(), Failure> {
        let (key, value) = (value::key(row.activity.id), value::write(&row.activity));
        let there = self.etcd.get(&key).await?;
        let put_at = match there {
            // Another instance was faster, or we were cut short before we could note it.
            Some(entry) if entry.value == Value::Bytes(value.clone()) => Some(entry.revision),
            entry => self.etcd.put(&key, value, entry.map_or(0, |entry| entry.revision)).await?,
        };
        // Where somebody has changed the key since it was read, the next round sees what is there.
        if let Some(put_at) = put_at {
            mirrored::note(db, row.activity.id, row.revision, put_at).await?;
            self.state.count_put();
        }
        Ok(())
    }
}
