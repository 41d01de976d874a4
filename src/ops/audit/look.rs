//! What an audit looks at, and what it finds.

use std::time::Duration;

use crate::domain::Claim;
use crate::mysql::{Db, DbError, QueryError};
use crate::redis::{Keys, KvError, Pool};

/// How long a pipeline may take.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// What is audited.
pub struct Audit {
    pub(super) db: Db,
    pub(super) pool: Pool,
    pub(super) keys: Keys,
    pub(super) shard: &'static str,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The invariant's number and name.
    pub invariant: &'static str,
    /// Of which coupon, user or row.
    pub subject: String,
    /// What was found there; may change from look to look.
    pub what: String,
}

/// What an audit saw.
#[derive(Debug, Default)]
pub struct AuditReport {
    pub coupons: u64,
    pub claims: u64,
    /// Claims that MySQL does not have yet.
    pub outbox: u64,
    /// Claims that only Redis had and that were written back.
    pub repaired: u64,
    pub findings: Vec<Finding>,
}

/// Why nothing could be said.
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
}

/// One look: what it counted and found, and the claims that only Redis has.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) coupons: u64,
    pub(super) claims: u64,
    pub(super) outbox: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) only_in_redis: Vec<Claim>,
}

impl Audit {
    pub fn new(db: Db, pool: Pool, keys: Keys, shard: &'static str) -> Self {
        Self { db, pool, keys, shard }
    }
}

impl Look {
    pub(super) fn find(&mut self, invariant: &'static str, subject: impl ToString, what: impl ToString) {
        let (subject, what) = (subject.to_string(), what.to_string());
        self.findings.push(Finding { invariant, subject, what });
    }
}
