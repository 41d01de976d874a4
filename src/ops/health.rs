//! The state of each part of the program, with its time of change and its lag.
//!
//! A task checks all parts every second. The results appear in `/readyz`, in the log and in metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::health_report::{
    ActivitiesReport, EtcdReport, GateReport, HealthReport, LedgerReport, MysqlReport, OutboxSeen, PartHealth,
    ShardReport,
};
use super::writers::Writers;
use crate::base::{every, now_seconds};
use crate::claim::{Claiming, ClosedReason, Shard, Shards};
use crate::memory::Activities;
use crate::mysql::{Db, DbError, instances};
use crate::redis::{Extent, KvError, Sightings, WriteRefusal};
use crate::sales::MirrorState;

/// The state of an open gate. A closed gate has the word of its [`ClosedReason`].
const OPEN: &str = "open";
/// The state of a store that accepts reads and writes.
const UP: &str = "up";
/// The state of a ledger that stores claims.
const STORING: &str = "storing";
/// The state of a part before the first check.
const UNKNOWN: &str = "unknown";
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct HealthSources {
    pub db: Db,
    pub shards: Arc<Shards>,
    /// `None` if no etcd is configured.
    pub mirror: Option<Arc<MirrorState>>,
    pub activities: Arc<Activities>,
}

pub struct Health {
    sources: HealthSources,
    /// Unsafe settings of Redis and MySQL, found at the start.
    warnings: Vec<String>,
    parts: Mutex<Parts>,
    /// By the number of the shard.
    outboxes: Mutex<Vec<SeenOutbox>>,
    /// The settings by which MySQL refused writes at the last check.
    mysql_refuses_by: Mutex<Option<String>>,
    writers: Writers,
    draining: AtomicBool,
}

/// The outbox of a shard at the last check, and when its entries were first seen.
#[derive(Debug, Default)]
struct SeenOutbox {
    seen: Option<OutboxSeen>,
    sightings: Sightings,
}

/// A state and the time of its last change, in seconds since 1970.
type State = (&'static str, u64);

/// The states at the last check.
#[derive(Debug, Clone)]
struct Parts {
    mysql: State,
    etcd: State,
    /// By the number of the shard.
    shards: Vec<ShardParts>,
}

#[derive(Debug, Clone, Copy)]
struct ShardParts {
    redis: State,
    ledger: State,
    gate: State,
}

/// All states that a gate can report.
pub fn gate_states() -> Vec<&'static str> {
    std::iter::once(OPEN).chain(ClosedReason::ALL.map(ClosedReason::word)).collect()
}

impl Health {
    /// All parts are unknown until [`Health::watch`] has checked them.
    pub fn new(sources: HealthSources, warnings: Vec<String>) -> Self {
        let parts = Parts { mysql: unknown(), etcd: unknown(), shards: Vec::new() };
        Self {
            sources,
            warnings,
            parts: Mutex::new(parts),
            outboxes: Mutex::default(),
            mysql_refuses_by: Mutex::default(),
            writers: Writers::default(),
            draining: AtomicBool::new(false),
        }
    }

    /// Reports "not ready" from now on, because the instance is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every(LOOK_EVERY, &stop, || async {
            let (mysql, refuses_by) = match self.sources.db.ping().await {
                Ok(()) => (UP, None),
                Err(DbError::ReadOnly { settings }) => ("read-only", Some(settings)),
                Err(_) => ("down", None),
            };
            let known = std::mem::replace(&mut *self.mysql_refuses_by(), refuses_by.clone());
            if let Some(settings) = refuses_by.filter(|_| known.is_none()) {
                log::warn!("health: MySQL refuses writes ({settings}), claims wait for a server that accepts them");
            }
            self.note(mysql);
            if let Ok(servers) = instances::mysql_servers(&self.sources.db).await {
                self.writers.note(&servers, Instant::now());
            }
            let shards = self.sources.shards.all();
            let extents = join_all(shards.iter().map(|shard| extent(shard))).await;
            let mut outboxes = self.outboxes();
            outboxes.resize_with(extents.len(), SeenOutbox::default);
            for (outbox, extent) in outboxes.iter_mut().zip(extents) {
                outbox.note(extent.ok());
            }
        })
        .await;
    }

    /// The outboxes at the last check, or `None` if no shard answered. Claims are added up, and the age is that of the
    /// oldest claim of any shard.
    pub fn outbox(&self) -> Option<OutboxSeen> {
        self.outboxes().iter().filter_map(|outbox| outbox.seen).reduce(|all, seen| OutboxSeen {
            claims: all.claims + seen.claims,
            oldest_ms: all.oldest_ms.max(seen.oldest_ms),
            unread: all.unread + seen.unread,
        })
    }

    fn outboxes(&self) -> MutexGuard<'_, Vec<SeenOutbox>> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mysql_refuses_by(&self) -> MutexGuard<'_, Option<String>> {
        self.mysql_refuses_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, mysql: &'static str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        set("mysql", &mut parts.mysql, mysql);
        set("etcd", &mut parts.etcd, self.etcd());
        let shards = self.sources.shards.all();
        parts.shards.resize(shards.len(), ShardParts::unknown());
        for (shard, parts) in shards.iter().zip(&mut parts.shards) {
            let of_shard = if shards.len() == 1 { String::new() } else { format!(" of shard {}", shard.id) };
            set(&format!("redis{of_shard}"), &mut parts.redis, redis(shard));
            set(&format!("ledger{of_shard}"), &mut parts.ledger, ledger(shard, mysql));
            set(&format!("gate{of_shard}"), &mut parts.gate, gate(shard));
        }
    }

    /// A report with current values. Only MySQL's state is from the last check.
    pub fn report(&self) -> HealthReport {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = parts.shards.into_iter().chain(std::iter::repeat(ShardParts::unknown()));
        let shards = self.sources.shards.all();
        let shards: Vec<ShardReport> =
            shards.iter().zip(before).map(|(shard, before)| before.report(shard, parts.mysql.0)).collect();
        let sells = |shard: &ShardReport| {
            let LedgerReport { backlog, backlog_max, .. } = shard.ledger;
            shard.redis.state == UP && shard.gate.part.state == OPEN && backlog < backlog_max
        };
        HealthReport {
            ready: !self.is_draining() && shards.iter().any(sells),
            draining: self.is_draining(),
            redis: PartHealth::of_all(shards.iter().map(|shard| shard.redis), UP),
            mysql: MysqlReport { part: part(parts.mysql, parts.mysql.0), refuses_by: self.mysql_refuses_by().clone() },
            etcd: EtcdReport {
                part: part(parts.etcd, self.etcd()),
                mirror: self.sources.mirror.as_ref().map(|mirror| mirror.report()),
            },
            ledger: LedgerReport::of_all(&shards, STORING),
            gate: GateReport::of_all(&shards, OPEN),
            shards,
            activities: ActivitiesReport {
                age_ms: self.sources.activities.age().map(ms),
                revision: self.sources.activities.revision(),
                coupons: self.sources.activities.count(),
            },
            warnings: self.warnings.iter().cloned().chain(self.writers.warning()).collect(),
        }
    }

    fn etcd(&self) -> &'static str {
        match &self.sources.mirror {
            None => "off",
            Some(mirror) if mirror.etcd.is_up() => UP,
            Some(_) => "down",
        }
    }
}

impl SeenOutbox {
    fn note(&mut self, extent: Option<Extent>) {
        self.seen = extent.map(|Extent { live, claims, unread, oldest, last }| {
            let now = Instant::now();
            self.sightings.note(&live, last, now);
            let oldest_ms = oldest.map_or(0, |oldest| ms(self.sightings.age(oldest, now)));
            OutboxSeen { claims, oldest_ms, unread }
        });
    }
}

impl ShardParts {
    fn unknown() -> Self {
        Self { redis: unknown(), ledger: unknown(), gate: unknown() }
    }

    /// The report of a shard with current values. `self` has the states at the last check.
    fn report(self, shard: &Shard, mysql: &'static str) -> ShardReport {
        let Claiming { gate: attempts, ledger: claims, .. } = &shard.claiming;
        let (backlog, backlog_max) = claims.backlog();
        let (loaded_coupons, loaded_claims) = shard.progress.loaded();
        let state = claims.state();
        ShardReport {
            shard: shard.id.name(),
            redis: part(self.redis, redis(shard)),
            ledger: LedgerReport {
                part: part(self.ledger, ledger(shard, mysql)),
                backlog,
                backlog_max,
                lag_ms: state.lag().map_or(0, ms),
                stored: state.stored(),
                poisoned: state.poisoned(),
            },
            gate: GateReport {
                part: part(self.gate, gate(shard)),
                in_flight: attempts.in_flight(),
                in_flight_limit: attempts.in_flight_limit(),
                loaded_coupons,
                loaded_claims,
                rebuilds: shard.progress.rebuilds(),
            },
        }
    }
}

async fn extent(shard: &Shard) -> Result<Extent, KvError> {
    let calls = shard.pool.get().await?;
    shard.outbox.extent(&calls).await
}

fn redis(shard: &Shard) -> &'static str {
    match shard.link.connection() {
        Ok(connection) => connection.write_refusal().map_or(UP, WriteRefusal::word),
        Err(error) => error.write_refusal().map_or("down", WriteRefusal::word),
    }
}

fn ledger(shard: &Shard, mysql: &'static str) -> &'static str {
    match (mysql, shard.claiming.ledger.backlog()) {
        (_, (backlog, backlog_max)) if backlog >= backlog_max => "full",
        (UP, _) => STORING,
        _ => "waiting",
    }
}

fn gate(shard: &Shard) -> &'static str {
    match shard.claiming.gate.live() {
        Ok(_) => OPEN,
        Err(reason) => reason.word(),
    }
}

fn unknown() -> State {
    (UNKNOWN, now_seconds())
}

/// A part in the state `seen`. The first argument is its state at the last check.
fn part((state, since): State, seen: &'static str) -> PartHealth {
    let since = if state == seen { since } else { now_seconds() };
    PartHealth { state: seen, since, age: now_seconds().saturating_sub(since) }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn set(name: &str, part: &mut State, state: &'static str) {
    let (before, since) = *part;
    if before != state {
        if before != UNKNOWN {
            log::info!("health: {name} is {state}, after {} s of {before}", now_seconds().saturating_sub(since));
        }
        *part = (state, now_seconds());
    }
}
