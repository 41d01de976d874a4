//! What operators need to know: the health of each part, unsafe settings of the stores, and the audit of all data.

pub mod audit;
pub mod durability;
mod health;
mod process;

pub use audit::{Audit, AuditError, AuditReport};
pub use health::{
    ActivitiesReport, EtcdReport, GateReport, Health, HealthReport, HealthSources, LedgerReport, OutboxSeen,
    PartHealth, gate_states,
};
pub use process::Process;
