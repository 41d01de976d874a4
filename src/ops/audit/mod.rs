//! Checks the invariants over Redis and MySQL, also while coupons are sold. The audit needs a loaded shard, because
//! Redis has no data to compare during a recovery.
//!
//! The audit locks nothing and stops nothing. Every comparison reads in an order in which the invariant holds during
//! concurrent changes. This order relies on three facts. Claims in MySQL only grow. A claim leaves the outbox only
//! after MySQL has stored the claim. Redis never deletes a user's claim. A remaining violation is checked again, and
//! reported if it persists.

mod in_mysql;
mod in_redis;
mod look;
mod restore;
mod run;
mod sold;

pub use look::{Audit, AuditError, AuditReport, Finding, Repaired};
pub use run::Repair;
