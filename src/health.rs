//! How each part of the program is, since when, and how far behind.
//!
//! A task looks every second; `/readyz`, the log and the metrics show what it saw.

mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::activities::Activities;
use crate::db::Db;
use crate::gate::{Gate, Reason};
use crate::kv::{KvError, Link, Pool};
use crate::ledger::{Extent, Ledger, Outbox};
use crate::mirroring::{MirrorReport, State};
use crate::recovery::Progress;
use crate::{now_ms, now_seconds};

pub use process::Process;

/// What the gate may be.
pub const GATE_STATES: [&str; 4] = ["open", "starting", "recovering", "stopping"];
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The state of a part that nobody has looked at yet.
const UNKNOWN: &str = "unknown";

/// A part's state in one word, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Part {
    pub state: &'static str,
    /// Seconds since 1970.
    pub since: u64,
    /// Seconds since then.
    pub age: u64,
}

/// Everything `/readyz` shows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Report<'a> {
    /// Whether it can sell.
    pub ready: bool,
    #[schema(inline)]
    pub redis: Part,
    #[schema(inline)]
    pub mysql: Part,
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

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EtcdReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: Part,
    /// `None` where no etcd is configured.
    #[serde(flatten)]
    #[schema(ignore)]
    pub mirror: Option<MirrorReport>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct LedgerReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: Part,
    /// Claims that MySQL does not have yet, and how many there may be.
    pub backlog: usize,
    pub backlog_max: usize,
    /// Milliseconds since the oldest claim in its hands was made; 0: none.
    pub lag_ms: u64,
    pub stored: u64,
    pub poisoned: u64,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct GateReport {
    #[serde(flatten)]
    #[schema(inline)]
    pub part: Part,
    pub in_flight: usize,
    /// As many as Redis answers in good time.
    pub in_flight_limit: usize,
    /// Of the rebuild that runs, or ran last.
    pub loaded_coupons: u64,
    pub loaded_claims: u64,
    pub rebuilds: u64,
}

/// The table of activities in memory.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ActivitiesReport {
    /// Milliseconds since it was all that MySQL has; `None`: never.
    pub age_ms: Option<u64>,
    /// The highest of its coupons' revisions, and how many there are.
    pub revision: u64,
    pub coupons: usize,
}

/// What is looked at.
pub struct Health {
    pub db: Db,
    pub link: Arc<Link>,
    pub pool: Pool,
    pub gate: Arc<Gate>,
    pub ledger: Ledger,
    pub outbox: Outbox,
    pub progress: Arc<Progress>,
    /// `None` where no etcd is configured.
    pub mirror: Option<Arc<State>>,
    pub activities: Arc<Activities>,
    /// What is unsafe about Redis and MySQL, as seen at the start.
    pub warnings: Vec<String>,
    pub parts: Seen,
}

/// What was last seen of each part.
pub struct Seen {
    parts: Mutex<Parts>,
    outbox: Mutex<Option<OutboxSeen>>,
}

/// How much waits in Redis for MySQL, from all instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutboxSeen {
    pub claims: u64,
    /// Milliseconds since the oldest was made; 0: there is none.
    pub oldest_ms: u64,
}

/// State and since when, of each part.
#[derive(Debug, Clone, Copy)]
struct Parts {
    redis: (&'static str, u64),
    mysql: (&'static str, u64),
    etcd: (&'static str, u64),
    ledger: (&'static str, u64),
    gate: (&'static str, u64),
}

/// Nothing yet.
impl Default for Seen {
    fn default() -> Self {
        let unknown = (UNKNOWN, now_seconds());
        let parts = Parts { redis: unknown, mysql: unknown, etcd: unknown, ledger: unknown, gate: unknown };
        Self { parts: Mutex::new(parts), outbox: Mutex::default() }
    }
}

impl Health {
    /// Looks every second until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mysql = if self.db.ping().await.is_ok() { "up" } else { "down" };
            self.note(mysql);
            self.look_at_outbox().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// What was last seen of the outbox; `None` where Redis did not answer.
    pub fn outbox(&self) -> Option<OutboxSeen> {
        *self.parts.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_at_outbox(&self) {
        let seen = self.read_outbox().await.ok();
        *self.parts.outbox.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    async fn read_outbox(&self) -> Result<OutboxSeen, KvError> {
        let calls = self.pool.get().await?;
        let Extent { claims, oldest } = self.outbox.extent(&calls).await?;
        let oldest_ms = oldest.map_or(0, |oldest| calls.server_ms().saturating_sub(oldest.ms));
        Ok(OutboxSeen { claims, oldest_ms })
    }

    fn note(&self, mysql: &'static str) {
        let (backlog, backlog_max) = self.ledger.backlog();
        let ledger = match (mysql, backlog) {
            (_, backlog) if backlog >= backlog_max => "full",
            ("up", _) => "storing",
            _ => "waiting",
        };
        let mut parts = self.parts.parts.lock().unwrap_or_else(PoisonError::into_inner);
        set("redis", &mut parts.redis, self.redis());
        set("mysql", &mut parts.mysql, mysql);
        set("etcd", &mut parts.etcd, self.etcd());
        set("ledger", &mut parts.ledger, ledger);
        set("gate", &mut parts.gate, self.gate_state());
    }

    /// How everything is now: what can be seen at once as it is, MySQL as last seen.
    pub fn report(&self) -> Report<'_> {
        let parts = *self.parts.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |(state, since): (&'static str, u64), seen: &'static str| {
            let since = if state == seen { since } else { now_seconds() };
            Part { state: seen, since, age: now_seconds().saturating_sub(since) }
        };
        let (backlog, backlog_max) = self.ledger.backlog();
        let ledger = self.ledger.state();
        let (loaded_coupons, loaded_claims) = self.progress.loaded();
        let (redis, gate) = (self.redis(), self.gate_state());
        let lag_ms = ledger.oldest().map_or(0, |oldest| now_ms().saturating_sub(oldest.ms));
        Report {
            ready: redis == "up" && gate == "open" && backlog < backlog_max,
            redis: part(parts.redis, redis),
            mysql: part(parts.mysql, parts.mysql.0),
            etcd: EtcdReport {
                part: part(parts.etcd, self.etcd()),
                mirror: self.mirror.as_ref().map(|mirror| mirror.report(now_ms())),
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
                in_flight: self.gate.in_flight(),
                in_flight_limit: self.gate.in_flight_limit(),
                loaded_coupons,
                loaded_claims,
                rebuilds: self.progress.rebuilds(),
            },
            activities: ActivitiesReport {
                age_ms: self.activities.age().map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                revision: self.activities.revision(),
                coupons: self.activities.count(),
            },
            warnings: &self.warnings,
        }
    }

    fn etcd(&self) -> &'static str {
        match &self.mirror {
            None => "off",
            Some(mirror) if mirror.etcd.is_up() => "up",
            Some(_) => "down",
        }
    }

    fn redis(&self) -> &'static str {
        if self.link.connection().is_ok() { "up" } else { "down" }
    }

    fn gate_state(&self) -> &'static str {
        match self.gate.live() {
            Ok(_) => "open",
            Err(Reason::Starting) => "starting",
            Err(Reason::Recovering) => "recovering",
            Err(Reason::Stopping) => "stopping",
        }
    }
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
