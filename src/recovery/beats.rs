//! Beats of instances in MySQL and in Redis.
//!
//! An instance may be the only holder of unstored claims. A rebuild must therefore wait for every living instance. An
//! instance without MySQL still beats in Redis, and an instance without Redis still beats in MySQL. An instance counts
//! as dead only after silence in both stores, observed for ten seconds by an instance that reaches both. The links beat
//! in Redis, and every round of recovery beats in MySQL, so a frozen store does not stop the beats in the other store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Recovery, RecoveryError, WAIT};
use crate::domain::Epoch;
use crate::mysql::instances::{self, DEAD_AFTER, Instance};
use crate::redis::{Connection, KvError, beats};

/// Pause between two searches for dead instances.
const BURY_EVERY: Duration = Duration::from_secs(10);
/// Silence in MySQL after which the row of a dead instance is deleted.
const BURIED_AFTER: Duration = Duration::from_secs(60);

/// For each silent process, the time when this rebuild first found silence in both stores.
#[derive(Default)]
pub(super) struct Silence(HashMap<String, Instant>);

impl Recovery {
    /// Deletes the rows of dead instances, forever. A rebuild would wait ten seconds for each of them.
    pub(super) async fn bury_the_dead(&self) {
        loop {
            tokio::time::sleep(BURY_EVERY).await;
            if let Ok(connection) = self.redis.link.connection()
                && let Err(error) = self.bury_once(&connection).await
            {
                log::debug!("recovery: deleting rows of dead instances failed: {error}");
            }
        }
    }

    async fn bury_once(&self, connection: &Connection) -> Result<(), RecoveryError> {
        for dead in instances::silent_for(&self.db, BURIED_AFTER).await? {
            if self.is_dead(connection, &dead.process, Duration::from_secs(dead.silent_seconds)).await?
                && instances::bury(&self.db, &dead, BURIED_AFTER).await?
            {
                let Instance { instance, silent_seconds, .. } = &dead;
                log::info!("recovery: instance {instance} is dead, silent for {silent_seconds} s; row deleted");
            }
        }
        Ok(())
    }

    /// Whether a process silent in MySQL for `silent` is dead and has left no claim in the outbox.
    ///
    /// The process must have no beat in Redis, and Redis must hold the loading of the open gate, because another
    /// loading may have lost the beat. All outbox entries must be younger than the last beat in MySQL, by ten seconds
    /// or more. An older entry may belong to the process and must be swept first.
    async fn is_dead(&self, connection: &Connection, process: &str, silent: Duration) -> Result<bool, KvError> {
        let Ok(live) = self.gate.live() else { return Ok(false) };
        let traces = beats::traces(connection, self.keys(), process, WAIT).await?;
        let age = traces.oldest.map(|id| Duration::from_millis(connection.server_ms().saturating_sub(id.ms)));
        let has_left_claims = age.is_some_and(|age| age + DEAD_AFTER > silent);
        Ok(traces.live.as_deref() == Some(live.as_str()) && !traces.is_beating && !has_left_claims)
    }

    /// Living instances other than this one that have not acknowledged `epoch`.
    pub(super) async fn awaited(
        &self,
        connection: &Connection,
        silence: &mut Silence,
        epoch: Epoch,
    ) -> Result<Vec<String>, RecoveryError> {
        let mut awaited = Vec::new();
        for other in instances::without_acknowledgement(&self.db, &self.identity.instance, epoch).await? {
            let Instance { instance, process, silent_seconds } = other;
            let beats = silent_seconds < DEAD_AFTER.as_secs()
                || beats::is_beating(connection, self.keys(), &process, WAIT).await?;
            if silence.note(&process, beats) < DEAD_AFTER {
                awaited.push(instance);
            }
        }
        Ok(awaited)
    }
}

impl Silence {
    /// Notes whether `process` beats now. Returns the duration of the observed silence.
    fn note(&mut self, process: &str, beats: bool) -> Duration {
        if beats {
            self.0.remove(process);
            return Duration::ZERO;
        }
        self.0.entry(process.to_owned()).or_insert_with(Instant::now).elapsed()
    }
}
