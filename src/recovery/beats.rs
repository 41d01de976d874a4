//! Who is alive: beats in MySQL and in Redis.
//!
//! An instance that has lost MySQL may hold claims that nobody else has, so a rebuild must wait for it as long as it shows in
//! Redis; and one that has lost Redis, as long as it shows in MySQL. Only who is silent in both, for as long as somebody who
//! can reach both has listened, is taken for dead.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Recovery, RecoveryError, WAIT};
use crate::domain::Epoch;
use crate::mysql::instances::{self, DEAD_AFTER, Instance};
use crate::redis::{Connection, KvError, beats};

/// How often an instance beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often dead instances are looked for, and how long one has been silent before its row goes.
const BURY_EVERY: Duration = Duration::from_secs(10);
const BURIED_AFTER: Duration = Duration::from_secs(60);

/// Since when each process has been silent in MySQL and in Redis, for one listener.
#[derive(Default)]
pub(super) struct Silence(HashMap<String, Instant>);

impl Recovery {
    /// Beats in Redis for ever; MySQL hears of this instance in every round. Apart, so that one that hangs does not silence
    /// the other.
    pub(super) async fn beat_in_redis(&self) {
        loop {
            if let Ok(connection) = self.redis.link.connection()
                && let Err(error) =
                    beats::beat(&connection, self.keys(), &self.identity.process, DEAD_AFTER, BEAT_EVERY).await
            {
                log::debug!("recovery: no beat in Redis: {error}");
            }
            tokio::time::sleep(BEAT_EVERY).await;
        }
    }

    /// Takes dead instances' rows away, for ever: a rebuild would listen for each.
    pub(super) async fn bury_the_dead(&self) {
        loop {
            tokio::time::sleep(BURY_EVERY).await;
            if let Ok(connection) = self.redis.link.connection()
                && let Err(error) = self.bury_once(&connection).await
            {
                log::debug!("recovery: dead instances stay listed: {error}");
            }
        }
    }

    async fn bury_once(&self, connection: &Connection) -> Result<(), RecoveryError> {
        for dead in instances::silent_for(&self.db, BURIED_AFTER).await? {
            let silent = Duration::from_secs(dead.silent_seconds);
            if self.is_dead(connection, &dead.process, silent).await?
                && instances::bury(&self.db, &dead, BURIED_AFTER).await?
            {
                log::info!("recovery: instance {} died {} s ago; its row is gone", dead.instance, silent.as_secs());
            }
        }
        Ok(())
    }

    /// Whether the process has no beat in a Redis that has lost none, and nothing in the outbox that the sweep must still
    /// store: whatever is there is younger than the beat in MySQL, `silent` ago.
    async fn is_dead(&self, connection: &Connection, process: &str, silent: Duration) -> Result<bool, KvError> {
        let Ok(live) = self.gate.live() else { return Ok(false) };
        let traces = beats::traces(connection, self.keys(), process, WAIT).await?;
        let age = traces.oldest.map(|id| Duration::from_millis(connection.server_ms().saturating_sub(id.ms)));
        let left = age.is_some_and(|age| age + DEAD_AFTER > silent);
        Ok(traces.live.as_deref() == Some(live.as_str()) && !traces.is_beating && !left)
    }

    /// Other instances that must still let go of what is older than `epoch`.
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
    /// How long the process has been silent, now that it was listened for.
    fn note(&mut self, process: &str, beats: bool) -> Duration {
        if beats {
            self.0.remove(process);
            return Duration::ZERO;
        }
        self.0.entry(process.to_owned()).or_insert_with(Instant::now).elapsed()
    }
}
