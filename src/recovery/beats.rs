//! Beats of instances in MySQL and in Redis.
//!
//! An instance may be the only holder of unstored claims. A rebuild must therefore wait for every living instance. An
//! instance without MySQL still beats in Redis, and an instance without Redis still beats in MySQL. An instance counts
//! as dead only after silence in both stores, observed for ten seconds by an instance that reaches both. The links beat
//! in Redis, and every round of recovery beats in MySQL, so a frozen store does not stop the beats in the other store.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Recovery, RecoveryError, WAIT};
use crate::domain::{EntryId, Epoch};
use crate::mysql::instances::{self, BeatLog, DEAD_AFTER, Instance};
use crate::mysql::shard_statements::SharedDbError;
use crate::mysql::shards::ShardRow;
use crate::redis::Connection;
use crate::redis::beats::{self, ProcessTraces};

/// Pause between two searches for dead instances.
const BURY_EVERY: Duration = Duration::from_secs(5);

/// Silent processes, as seen by the searches for dead instances.
#[derive(Default)]
struct DeathWatch {
    log: BeatLog,
    /// For each process silent for [`DEAD_AFTER`], the last entry of the outbox at that time, 0-0 for an empty outbox.
    outbox_ends: HashMap<String, EntryId>,
}

impl Recovery {
    /// Beats in MySQL, and reads the shard's row afterwards. `reached` is the connection to the Redis process that answers.
    pub(super) async fn beat(&self, reached: Option<&Connection>) -> Result<ShardRow, SharedDbError> {
        let beat_number = 1 + self.beat_number.fetch_add(1, Ordering::SeqCst);
        let state = instances::InstanceState {
            beat_number,
            acknowledged: self.progress.acknowledged(),
            oldest: self.ledger.state().oldest(),
            redis_run_id: reached.map_or("", Connection::run_id).to_owned(),
            redis_address: reached.map_or("", Connection::peer).to_owned(),
        };
        let row = self.statements.beat(self.identity.shard, state).await?;
        self.redis.beats.note_taken(beat_number);
        Ok(row)
    }

    /// Deletes the rows of dead instances, forever. A rebuild would wait ten seconds for each of them.
    pub(super) async fn bury_the_dead(&self) {
        let mut watch = DeathWatch::default();
        loop {
            tokio::time::sleep(BURY_EVERY).await;
            if let Ok(connection) = self.redis.link.connection()
                && let Err(error) = self.bury_once(&connection, &mut watch).await
            {
                log::debug!("recovery: deleting rows of dead instances failed: {error}");
            }
        }
    }

    async fn bury_once(&self, connection: &Connection, watch: &mut DeathWatch) -> Result<(), RecoveryError> {
        let (others, read_at) = self.statements.others(self.identity.shard).await?;
        watch.log.read(&others, read_at);
        watch.outbox_ends.retain(|process, _| others.iter().any(|other| other.process == *process));
        for other in &others {
            let traces = beats::traces(connection, self.keys(), &other.process, WAIT).await?;
            // Another loading may have lost the beat.
            let is_loaded = self.gate.live().is_ok_and(|live| traces.live.as_deref() == Some(live.as_str()));
            if watch.is_dead(&other.process, &traces, Instant::now())
                && is_loaded
                && instances::bury(&self.db, self.identity.shard, other).await?
            {
                beats::forget(connection, self.keys(), &other.process, WAIT).await?;
                log::info!(
                    "recovery: instance {} is dead, its last beat was {}; row deleted",
                    other.label,
                    other.beat_at
                );
            }
        }
        Ok(())
    }

    /// Living instances other than this one that have not acknowledged `epoch`. `log` holds the beats read by the
    /// rebuild so far.
    pub(super) async fn awaited(
        &self,
        connection: &Connection,
        log: &mut BeatLog,
        epoch: Epoch,
    ) -> Result<Vec<String>, RecoveryError> {
        let mut awaited = Vec::new();
        let others =
            instances::without_acknowledgement(&self.db, self.identity.shard, &self.identity.process.id, epoch).await?;
        log.read(&others, Instant::now());
        for Instance { label, process, .. } in others {
            if beats::is_beating(connection, self.keys(), &process, WAIT).await? {
                log.heard(&process, Instant::now());
            }
            if log.silence(&process, Instant::now()) < DEAD_AFTER {
                awaited.push(label);
            }
        }
        Ok(awaited)
    }
}

impl DeathWatch {
    /// Whether a process is dead and has left no claim in the outbox. `traces` are of this moment.
    ///
    /// The process must have been silent in both stores for ten seconds. All entries that the outbox had at that time
    /// must be stored since, because any of them may belong to the process.
    fn is_dead(&mut self, process: &str, traces: &ProcessTraces, now: Instant) -> bool {
        if traces.is_beating {
            self.log.heard(process, now);
        }
        if self.log.silence(process, now) < DEAD_AFTER {
            self.outbox_ends.remove(process);
            return false;
        }
        let end = self.outbox_ends.entry(process.to_owned()).or_insert(traces.last.unwrap_or_default());
        traces.oldest.is_none_or(|oldest| oldest > *end)
    }
}
