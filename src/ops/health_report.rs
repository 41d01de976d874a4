//! What `/readyz` and the operators' page say of the parts of the program.

use serde::Serialize;
use utoipa::ToSchema;

use crate::sales::MirrorReport;

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
pub struct HealthReport {
    /// Whether a claim of a shard could succeed now.
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
    /// The parts of each shard. `redis`, `ledger` and `gate` above are those of all shards: the state is that of the first
    /// shard with trouble, and numbers are sums.
    #[schema(inline)]
    pub shards: Vec<ShardReport>,
    #[schema(inline)]
    pub activities: ActivitiesReport,
    /// Settings of Redis and MySQL with which claims can be lost.
    pub warnings: Vec<String>,
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

/// The parts of a shard.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ShardReport {
    /// The name of the shard.
    pub shard: &'static str,
    #[schema(inline)]
    pub redis: PartHealth,
    #[schema(inline)]
    pub ledger: LedgerReport,
    #[schema(inline)]
    pub gate: GateReport,
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

impl PartHealth {
    /// The part of all shards: the first one that is not in the state `good`, or the first one. There is at least one.
    pub(super) fn of_all(mut parts: impl Iterator<Item = Self> + Clone, good: &str) -> Self {
        let first = parts.clone().next();
        parts.find(|part| part.state != good).or(first).expect("there is at least one shard")
    }
}

impl LedgerReport {
    /// The ledgers of all shards. The state is that of the first ledger that is not in the state `good`.
    pub(super) fn of_all(shards: &[ShardReport], good: &str) -> Self {
        let ledgers = || shards.iter().map(|shard| shard.ledger);
        Self {
            part: PartHealth::of_all(ledgers().map(|ledger| ledger.part), good),
            backlog: ledgers().map(|ledger| ledger.backlog).sum(),
            backlog_max: ledgers().map(|ledger| ledger.backlog_max).sum(),
            lag_ms: ledgers().map(|ledger| ledger.lag_ms).max().unwrap_or(0),
            stored: ledgers().map(|ledger| ledger.stored).sum(),
            poisoned: ledgers().map(|ledger| ledger.poisoned).sum(),
        }
    }
}

impl GateReport {
    /// The gates of all shards. The state is that of the first gate that is not in the state `good`.
    pub(super) fn of_all(shards: &[ShardReport], good: &str) -> Self {
        let gates = || shards.iter().map(|shard| shard.gate);
        Self {
            part: PartHealth::of_all(gates().map(|gate| gate.part), good),
            in_flight: gates().map(|gate| gate.in_flight).sum(),
            in_flight_limit: gates().map(|gate| gate.in_flight_limit).sum(),
            loaded_coupons: gates().map(|gate| gate.loaded_coupons).sum(),
            loaded_claims: gates().map(|gate| gate.loaded_claims).sum(),
            rebuilds: gates().map(|gate| gate.rebuilds).sum(),
        }
    }
}
