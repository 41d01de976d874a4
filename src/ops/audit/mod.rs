//! Checks the invariants over Redis and MySQL, also while coupons are sold.
//!
//! Nothing is locked and nothing is stopped, so every comparison is made in an order in which it must hold whatever goes on
//! meanwhile: claims in MySQL only grow, a claim leaves the outbox only after MySQL has it, and a hold is never taken back.
//! What still does not add up is looked at again, and reported where it stays.
//!
//! It needs a shard that is loaded: during recovery there is nothing to compare.

mod in_mysql;
mod in_redis;
mod look;
mod run;
mod sold;

pub use look::{Audit, AuditError, AuditReport, Finding};
