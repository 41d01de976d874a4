//! Puts missing keys to etcd and deletes keys of activities that ended long ago.

use super::edit::MirrorError;
use super::{KEPT_SECONDS, Mirroring, value};
use crate::domain::ActivityId;
use crate::etcd::Value;
use crate::mysql::activities::StoredActivity;
use crate::mysql::{Db, mirrored};

/// Maximum rows put, and keys deleted, in a round.
const ROWS_MAX: i64 = 100;
/// Seconds after its end at which an activity's key is deleted. By then a deletion by an operator has long had no
/// effect, so the two are never confused, even if clocks differ.
const TAKEN_AWAY_SECONDS: u64 = 2 * KEPT_SECONDS;

impl Mirroring {
    /// Runs a round, with up to [`ROWS_MAX`] deletions and as many puts. `now` is in seconds since 1970.
    pub(super) async fn put_what_lacks(&mut self, now: u64) -> Result<(), MirrorError> {
        let db = self.scheduling.publishing.db.clone();
        let ended_before = now.saturating_sub(TAKEN_AWAY_SECONDS);
        for (id, etcd_revision) in mirrored::long_over(&db, ended_before, ROWS_MAX).await? {
            let deleted = self.etcd.delete(&value::key(id), etcd_revision).await?.is_some();
            if deleted || self.etcd.get(&value::key(id)).await?.is_none() {
                mirrored::forget(&db, id, etcd_revision).await?;
            }
        }
        // A page of unreadable rows must not hide the rows behind it, so the first page with a readable row is put.
        let mut after = Some(ActivityId(0));
        while let Some(from) = after {
            let (rows, last) = mirrored::lacking(&db, now.saturating_sub(KEPT_SECONDS), from, ROWS_MAX).await?;
            after = last.filter(|_| rows.is_empty());
            for row in rows {
                // With more keys, etcd could no longer be followed.
                if self.state.etcd.keys() >= self.activities_max as u64 {
                    return Err(MirrorError::Full(self.activities_max));
                }
                self.put(&db, &row).await?;
            }
        }
        Ok(())
    }

    /// Puts a row to etcd, replacing any older value of its key.
    async fn put(&mut self, db: &Db, row: &StoredActivity) -> Result<(), MirrorError> {
        let (key, value) = (value::key(row.activity.id), value::write(&row.activity));
        let put_at = match self.etcd.get(&key).await? {
            // Another instance was faster, or an earlier round was cut short before noting the put.
            Some(entry) if entry.value == Value::Bytes(value.clone()) => Some(entry.revision),
            entry => self.etcd.put(&key, value, entry.map_or(0, |entry| entry.revision)).await?,
        };
        // If the key was changed since the read, the next round sees the new value.
        if let Some(put_at) = put_at {
            mirrored::note(db, row.activity.id, row.revision, put_at).await?;
            self.state.count_put();
        }
        Ok(())
    }
}
