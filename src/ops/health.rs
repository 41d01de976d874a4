//! The state of each part of the program, with its time of change and its lag.
//!
//! A task checks all parts every second. The results appear in `/readyz`, in the log and in metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::base::{Histogram, every, now_seconds};
use crate::claim::{ClosedReason, Gate, Ledger};
use crate::memory::Activities;
use crate::mysql::{Db, DbError};
use crate::recovery::RebuildProgress;
use crate::redis::{Extent, KvError, Link, Outbox, Pool, Sightings, WriteRefusal};
use crate::sales::{MirrorReport, MirrorState};

/// The state of an open gate. A closed gate has the word of its [`ClosedReason`].
const OPEN: &str = "open";
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The state of a part before the first check.
const UNKNOWN: &str = "unknown";

/// A part's state in a word, and the time of its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartHealth {
    pub state: &'static str,
    /// Time of the last change, in seconds since 1970.
    pub since: u64,
    /// Seconds since the last change.
    pub age: u64,
}

/// The content of `/readyz`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HealthReport<'a> {
    /// Whether a claim could succeed now.
    pub ready: bool,
    /// Whether the instance is about to stop. It still serves, but is not ready.
    pub draining: bool,
    #[schema(inline)]
    pub redis: PartHealth,
    #[schema(inline)]
    pub mysql: MysqlReport,
    #[schema(inline)]
    pub etcd: EtcdReport,
    #[schema(inline)]
    pub ledger: LedgerReport,
    #[schema(inline)]
    pub gate: GateReport,
    #[schema(inline)]
    pub activities: ActivitiesReport,
    /// Settings of Redis and MySQL with which claims can be lost.
    pub warnings: &'a [String],
}

/// `state` is `read-only` if MySQL answers and refuses writes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MysqlReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: PartHealth,
    /// The settings of MySQL by which it refuses writes. Null if it accepts writes or does not answer.
    pub refuses_by: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EtcdReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: PartHealth,
    /// `None` if no etcd is configured.
    #[serde(flatten)]
    #[schema(ignore)]
    pub mirror: Option<MirrorReport>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct LedgerReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: PartHealth,
    /// Claims not stored in MySQL yet.
    pub backlog: usize,
    /// Capacity of the channel for unstored claims.
    pub backlog_max: usize,
    /// Age in milliseconds of the oldest unstored claim, 0 if there is none. Counted from when the claim was granted.
    pub lag_ms: u64,
    pub stored: u64,
    pub poisoned: u64,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct GateReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: PartHealth,
    pub in_flight: usize,
    /// Current limit of attempts in flight. It adapts to the latency of Redis.
    pub in_flight_limit: usize,
    /// Coupons loaded by the current or last rebuild.
    pub loaded_coupons: u64,
    /// Claims loaded by the current or last rebuild.
    pub loaded_claims: u64,
    pub rebuilds: u64,
}

/// The table of activities in memory.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ActivitiesReport {
    /// Milliseconds since the table last matched MySQL, null before the first read.
    pub age_ms: Option<u64>,
    /// The highest revision of any coupon's activities.
    pub revision: u64,
    /// Number of coupons with activities.
    pub coupons: usize,
}

pub struct HealthSources {
    pub db: Db,
    pub link: Arc<Link>,
    pub pool: Pool,
    pub gate: Arc<Gate>,
    pub ledger: Ledger,
    pub outbox: Outbox,
    pub progress: Arc<RebuildProgress>,
    /// `None` if no etcd is configured.
    pub mirror: Option<Arc<MirrorState>>,
    pub activities: Arc<Activities>,
}

pub struct Health {
    sources: HealthSources,
    /// Unsafe settings of Redis and MySQL, found at the start.
    warnings: Vec<String>,
    parts: Mutex<Parts>,
    outbox: Mutex<Option<OutboxSeen>>,
    sightings: Mutex<Sightings>,
    /// The settings by which MySQL refused writes at the last check.
    mysql_refuses_by: Mutex<Option<String>>,
    draining: AtomicBool,
}

/// Claims in Redis that MySQL may not have yet, of all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutboxSeen {
    pub claims: u64,
    /// Age in milliseconds of the oldest claim, 0 for an empty outbox. Counted from when this instance first saw it,
    /// looking once a second.
    pub oldest_ms: u64,
    /// Entries that could not be read, in a stream of their own.
    pub unread: u64,
}

/// State and time of its last change, for each part.
#[derive(Debug, Clone, Copy)]
struct Parts {
    redis: (&'static str, u64),
    mysql: (&'static str, u64),
    etcd: (&'static str, u64),
    ledger: (&'static str, u64),
    gate: (&'static str, u64),
}

/// All states that a gate can report.
pub fn gate_states() -> Vec<&'static str> {
    std::iter::once(OPEN).chain(ClosedReason::ALL.map(ClosedReason::word)).collect()
}

impl Health {
    /// All parts are unknown until [`Health::watch`] has checked them.
    pub fn new(sources: HealthSources, warnings: Vec<String>) -> Self {
        let unknown = (UNKNOWN, now_seconds());
        let parts = Parts { redis: unknown, mysql: unknown, etcd: unknown, ledger: unknown, gate: unknown };
        Self {
            sources,
            warnings,
            parts: Mutex::new(parts),
            outbox: Mutex::default(),
            sightings: Mutex::default(),
            mysql_refuses_by: Mutex::default(),
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

    /// Durations of calls to Redis over all links.
    pub fn redis_times(&self) -> &Histogram {
        self.sources.link.times()
    }

    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        every(LOOK_EVERY, &stop, || async {
            let (mysql, refuses_by) = match self.sources.db.ping().await {
                Ok(()) => ("up", None),
                Err(DbError::ReadOnly { settings }) => ("read-only", Some(settings)),
                Err(_) => ("down", None),
            };
            let known = std::mem::replace(&mut *self.mysql_refuses_by(), refuses_by.clone());
            if let Some(settings) = refuses_by.filter(|_| known.is_none()) {
                log::warn!("health: MySQL refuses writes ({settings}), claims wait for a server that accepts them");
            }
            self.note(mysql);
            let outbox = self.read_outbox().await.ok();
            *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = outbox;
        })
        .await;
    }

    /// The outbox at the last check, or `None` if Redis did not answer.
    pub fn outbox(&self) -> Option<OutboxSeen> {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mysql_refuses_by(&self) -> MutexGuard<'_, Option<String>> {
        self.mysql_refuses_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_outbox(&self) -> Result<OutboxSeen, KvError> {
        let calls = self.sources.pool.get().await?;
        let Extent { live, claims, unread, oldest, last } = self.sources.outbox.extent(&calls).await?;
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sightings.note(&live, last, now);
        Ok(OutboxSeen { claims, oldest_ms: oldest.map_or(0, |oldest| ms(sightings.age(oldest, now))), unread })
    }

    fn note(&self, mysql: &'static str) {
        let (backlog, backlog_max) = self.sources.ledger.backlog();
        let ledger = match (mysql, backlog) {
            (_, backlog) if backlog >= backlog_max => "full",
            ("up", _) => "storing",
            _ => "waiting",
        };
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        set("redis", &mut parts.redis, self.redis());
        set("mysql", &mut parts.mysql, mysql);
        set("etcd", &mut parts.etcd, self.etcd());
        set("ledger", &mut parts.ledger, ledger);
        set("gate", &mut parts.gate, self.gate_state());
    }

    /// A report with current values. Only MySQL's state is from the last check.
    pub fn report(&self) -> HealthReport<'_> {
        let parts = *self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |(state, since): (&'static str, u64), seen: &'static str| {
            let since = if state == seen { since } else { now_seconds() };
            PartHealth { state: seen, since, age: now_seconds().saturating_sub(since) }
        };
        let (backlog, backlog_max) = self.sources.ledger.backlog();
        let ledger = self.sources.ledger.state();
        let (loaded_coupons, loaded_claims) = self.sources.progress.loaded();
        let (redis, gate) = (self.redis(), self.gate_state());
        let lag_ms = ledger.lag().map_or(0, ms);
        HealthReport {
            ready: !self.is_draining() && redis == "up" && gate == OPEN && backlog < backlog_max,
            draining: self.is_draining(),
            redis: part(parts.redis, redis),
            mysql: MysqlReport { part: part(parts.mysql, parts.mysql.0), refuses_by: self.mysql_refuses_by().clone() },
            etcd: EtcdReport {
                part: part(parts.etcd, self.etcd()),
                mirror: self.sources.mirror.as_ref().map(|mirror| mirror.report()),
            },
            ledger: LedgerReport {
                part: part(parts.ledger, parts.ledger.0),
                backlog,
                backlog_max,
                lag_ms,
                stored: ledger.stored(),
                poisoned: ledger.poisoned(),
            },
            gate: GateReport {
                part: part(parts.gate, gate),
                in_flight: self.sources.gate.in_flight(),
                in_flight_limit: self.sources.gate.in_flight_limit(),
                loaded_coupons,
                loaded_claims,
                rebuilds: self.sources.progress.rebuilds(),
            },
            activities: ActivitiesReport {
                age_ms: self.sources.activities.age().map(ms),
                revision: self.sources.activities.revision(),
                coupons: self.sources.activities.count(),
            },
            warnings: &self.warnings,
        }
    }

    fn etcd(&self) -> &'static str {
        match &self.sources.mirror {
            None => "off",
            Some(mirror) if mirror.etcd.is_up() => "up",
            Some(_) => "down",
        }
    }

    fn redis(&self) -> &'static str {
        match self.sources.link.connection() {
            Ok(connection) => connection.write_refusal().map_or("up", WriteRefusal::word),
            Err(error) => error.write_refusal().map_or("down", WriteRefusal::word),
        }
    }

    fn gate_state(&self) -> &'static str {
        match self.sources.gate.live() {
            Ok(_) => OPEN,
            Err(reason) => reason.word(),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn set(name: &str, part: &mut (&'static str, u64), state: &'static str) {
    let (before, since) = *part;
    if before != state {
        if before != UNKNOWN {
            log::info!("health: {name} is {state}, after {} s of {before}", now_seconds().saturating_sub(since));
        }
        *part = (state, now_seconds());
    }
}
