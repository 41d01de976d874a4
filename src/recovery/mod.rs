//! Bringing Redis back to what MySQL and the outbox know, and knowing when that is needed.
//!
//! Every second, and whenever somebody doubts, the process that Redis is, the key `live` and the shard's row in MySQL are
//! compared. If they agree, the gate opens for that loading. If not, the gate closes and one instance rebuilds. The
//! start is no different: a Redis that was never loaded does not agree.
//!
//! Stands beside `claiming`, above the gate, the ledger and the stock, which do not know each other.

mod beats;
mod load;
mod rebuild;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::claim::{ClosedReason, Gate, Ledger};
use crate::domain::Epoch;
use crate::mysql::shards::{self, ShardRow};
use crate::mysql::{Db, DbError, instances};
use crate::redis::{Connection, Keys, KvError, Link, LinkConfig, Live, Outbox, Pool, Stock, live_key};

/// How often everything is compared.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// How long a call to Redis may take.
const WAIT: Duration = Duration::from_secs(2);
/// What `live` begins with while somebody rebuilds.
const REBUILD: &str = "rebuild:";

/// Keeps the gate open while Redis holds the recorded loading, and rebuilds the shard otherwise.
pub struct Recovery {
    identity: Identity,
    db: Db,
    redis: RedisParts,
    gate: Arc<Gate>,
    ledger: Ledger,
    progress: Arc<RebuildProgress>,
}

/// The names of a running process.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name of the shard in `shards`.
    pub shard: &'static str,
    /// The name of the instance in `instances`.
    pub instance: String,
    /// The random id of the process. A restart has another id.
    pub process: String,
}

/// The ways to Redis that recovery uses.
pub struct RedisParts {
    /// The address. Every rebuild opens a connection that never reconnects.
    pub config: LinkConfig,
    /// The connection for comparisons and beats.
    pub link: Arc<Link>,
    /// The connections of all other work. Recovery tells the pool which process to follow.
    pub pool: Pool,
    pub stock: Stock,
    pub outbox: Outbox,
}

/// How far the rebuild is that runs, or ran last.
#[derive(Debug, Default)]
pub struct RebuildProgress {
    coupons: AtomicU64,
    claims: AtomicU64,
    rebuilds: AtomicU64,
    /// What this process has acknowledged: nothing of an earlier epoch is left in it.
    acknowledged: AtomicU32,
}

/// Why a comparison or a rebuild was cut short. It starts again within a second.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("another instance has taken the rebuild over")]
    Overtaken,
}

/// What a comparison found.
enum Compared {
    /// Redis is this loading.
    Loaded(Live),
    /// It is not; `found` is what `live` holds, empty for nothing.
    NotLoaded { row: ShardRow, found: String },
}

impl RebuildProgress {
    /// Coupons and claims loaded by the rebuild that runs, or ran last.
    pub fn loaded(&self) -> (u64, u64) {
        (self.coupons.load(Ordering::Relaxed), self.claims.load(Ordering::Relaxed))
    }

    /// The epoch below which nothing is left in this process.
    fn acknowledged(&self) -> Epoch {
        Epoch(self.acknowledged.load(Ordering::SeqCst))
    }

    /// Rebuilds completed by this process.
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::Relaxed)
    }
}

impl Recovery {
    pub fn new(
        identity: Identity,
        db: Db,
        redis: RedisParts,
        gate: Arc<Gate>,
        ledger: Ledger,
        progress: Arc<RebuildProgress>,
    ) -> Self {
        Self { identity, db, redis, gate, ledger, progress }
    }

    /// Compares, opens, closes and rebuilds until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.rounds(stop) => {}
            () = self.beat_in_redis() => {}
            () = self.bury_the_dead() => {}
        }
        self.gate.close(ClosedReason::Stopping);
    }

    async fn rounds(&self, stop: CancellationToken) {
        // At a start the connection is being made just now; a round without one would cost a second.
        self.redis.link.connected(WAIT).await;
        let mut failing = String::new();
        loop {
            tokio::select! {
                result = self.round() => match result {
                    Ok(()) => failing.clear(),
                    Err(error) => {
                        let text = error.to_string();
                        if text != failing {
                            log::warn!("recovery: {text}; trying again");
                            failing = text;
                        }
                    }
                },
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(COMPARE_EVERY) => {}
                () = self.gate.doubted() => {}
                () = stop.cancelled() => break,
            }
        }
    }

    /// Compares once and does what follows from it.
    ///
    /// # Errors
    /// [`RecoveryError`]; the gate stays as it is, unless Redis was seen to be another, or cannot be seen while somebody
    /// rebuilds.
    pub async fn round(&self) -> Result<(), RecoveryError> {
        let seen = self.look().await;
        if let (Ok((connection, found)), Ok(known)) = (&seen, self.gate.live())
            && (known.as_str() != found || known.run_id != connection.run_id())
        {
            // Before MySQL is asked: it may be away, and nothing may be sold meanwhile.
            self.close();
        }
        // Beaten first and read second: whoever changes the row only while nobody lives either sees this beat, or has
        // committed what is read. And whatever Redis is like: who cannot reach it is alive, and may hold claims.
        self.beat().await?;
        let row = shards::read(&self.db, self.identity.shard).await?;
        if seen.is_err() && !row.is_live {
            self.close();
        }
        if self.acknowledge(&row) {
            self.beat().await?;
        }
        let (connection, found) = seen?;
        match compare(&row, &found, connection.run_id()) {
            Compared::Loaded(live) if !self.is_lost(row.epoch) => self.open(live),
            Compared::Loaded(_) => {
                log::error!("recovery: ALARM: Redis lacks a coupon that it had, or has a claim that it must not have");
                self.close();
                self.rebuild(&row, &found).await?;
            }
            Compared::NotLoaded { row, found } => {
                self.close();
                if !found.starts_with(REBUILD) {
                    self.rebuild(&row, &found).await?;
                }
            }
        }
        Ok(())
    }

    fn open(&self, live: Live) {
        if self.gate.live().is_ok_and(|open| *open == live) {
            return;
        }
        log::info!("recovery: selling under epoch {} in Redis process {}", live.epoch, live.run_id);
        self.redis.pool.follow(&live.run_id);
        self.ledger.trust(Some(live.clone()));
        self.gate.open(live);
    }

    fn close(&self) {
        if self.gate.live().is_ok() {
            log::warn!("recovery: Redis is not the one we knew; selling stops until it is loaded");
        }
        self.gate.close(ClosedReason::Recovering);
        self.ledger.trust(None);
    }

    async fn beat(&self) -> Result<(), DbError> {
        let (acknowledged, oldest) = (self.progress.acknowledged(), self.ledger.state().oldest());
        instances::beat(&self.db, &self.identity.instance, &self.identity.process, acknowledged, oldest).await
    }

    /// Notes the epoch up to which nothing is left in this process: no attempt in flight, no claim in the ledger's hands.
    /// Whether it is another than before.
    fn acknowledge(&self, row: &ShardRow) -> bool {
        let epoch = if row.is_live {
            row.epoch
        } else if self.gate.live().is_err() && self.is_drained() {
            row.next_epoch
        } else {
            return false;
        };
        self.progress.acknowledged.swap(epoch.0, Ordering::SeqCst) != epoch.0
    }

    fn is_drained(&self) -> bool {
        self.gate.in_flight() == 0 && self.ledger.is_drained()
    }

    /// Whether what Redis holds since the loading `epoch` is not to be relied on.
    fn is_lost(&self, epoch: Epoch) -> bool {
        self.gate.lost().max(self.ledger.state().contradicted()) >= epoch.max(Epoch(1))
    }

    fn keys(&self) -> &Keys {
        self.redis.stock.keys()
    }

    /// The connection to Redis, and what `live` holds there.
    async fn look(&self) -> Result<(Arc<Connection>, String), KvError> {
        let connection = self.redis.link.connection()?;
        let found = live_key::read(&connection, self.keys(), WAIT).await?;
        Ok((connection, found.unwrap_or_default()))
    }
}

fn compare(row: &ShardRow, found: &str, run_id: &str) -> Compared {
    let live = Live::new(run_id, row.epoch);
    if row.is_live && row.run_id == run_id && live.as_str() == found {
        Compared::Loaded(live)
    } else {
        Compared::NotLoaded { row: row.clone(), found: found.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run_id: &str, epoch: u32, is_live: bool) -> ShardRow {
        let (run_id, epoch) = (run_id.to_owned(), Epoch(epoch));
        ShardRow { epoch, run_id, is_live, token: String::new(), next_epoch: epoch, found_live: None }
    }

    #[test]
    fn only_the_process_and_the_epoch_that_were_recorded_are_taken_for_loaded() {
        let loaded = |row: ShardRow, found, run_id| matches!(compare(&row, found, run_id), Compared::Loaded(_));
        assert!(loaded(row("a", 3, true), "a:3", "a"));
        assert!(!loaded(row("a", 3, false), "a:3", "a"), "somebody rebuilds");
        assert!(!loaded(row("a", 3, true), "a:3", "b"), "Redis has restarted with its data");
        assert!(!loaded(row("a", 3, true), "", "a"), "Redis was flushed");
        assert!(!loaded(row("a", 3, true), "a:2", "a"), "Redis went back in time");
        assert!(!loaded(row("a", 4, true), "a:3", "a"), "somebody else's rebuild went on");
        assert!(!loaded(row("a", 3, true), "rebuild:x", "a"), "somebody rebuilds");
        assert!(!loaded(row("", 0, false), "", "a"), "never loaded");
    }
}
