//! The audit's sources and results.

use std::time::Duration;

use crate::domain::ShardId;
use crate::mysql::{Db, DbError, QueryError};
use crate::redis::{Keys, KvError, Pool};

/// Timeout of a call to Redis.
pub(super) const WAIT: Duration = Duration::from_secs(10);

pub struct Audit {
    pub(super) db: Db,
    pub(super) pool: Pool,
    pub(super) keys: Keys,
    pub(super) shard: ShardId,
}

/// The name of the invariant in findings.
pub(super) const NOTHING_LOST: &str = "I2 nothing lost";

/// A violation of an invariant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Number and name of the invariant.
    pub invariant: &'static str,
    /// The coupon, user or row.
    pub subject: String,
    /// A description. It may change between two looks.
    pub what: String,
}

#[derive(Debug, Default)]
pub struct AuditReport {
    pub coupons: u64,
    pub claims: u64,
    /// Claims in the outbox, which MySQL may not have stored yet.
    pub outbox: u64,
    /// Poisoned claims that an operator has acknowledged. They are no findings.
    pub acknowledged: u64,
    pub repaired: Repaired,
    pub findings: Vec<Finding>,
}

/// What a repair has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Coupons added to MySQL or brought up to the copy in Redis.
    pub coupons: u64,
    /// Claims that only Redis had.
    pub claims: u64,
    /// Coupons and claims that MySQL cannot take.
    pub refused: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("Redis cannot be read")]
    Kv(#[from] KvError),
    #[error("claims cannot be read")]
    Read(#[source] QueryError),
    #[error("Redis is not loaded: start the service, or wait until it has recovered")]
    NotLoaded,
    #[error(
        "MySQL lacks commits that Redis knows, and selling is stopped: `couponrush audit --repair` writes them back"
    )]
    WentBack,
    #[error(
        "{} coupons or claims of Redis cannot be written to MySQL, as the lines above say, and selling stays stopped: \
         repair MySQL and type the command again, or give them up by `couponrush audit --repair --accept-losses`",
        .0.refused
    )]
    NotRestored(Repaired),
}

/// The counts and findings of a look at all data.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) coupons: u64,
    pub(super) claims: u64,
    pub(super) outbox: u64,
    pub(super) findings: Vec<Finding>,
}

impl Audit {
    pub fn new(db: Db, pool: Pool, keys: Keys, shard: ShardId) -> Self {
        Self { db, pool, keys, shard }
    }
}

impl Look {
    pub(super) fn find(&mut self, invariant: &'static str, subject: impl ToString, what: impl ToString) {
        self.findings.push(Finding { invariant, subject: subject.to_string(), what: what.to_string() });
    }
}
