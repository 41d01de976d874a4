//! What operators need to know: the health of each part, unsafe settings of the stores, unreadable rows, and the audit of
//! all data.

pub mod audit;
pub mod durability;
mod health;
mod process;
mod row_check;

pub use audit::{Audit, AuditError, AuditReport, Repair, Repaired};
pub use health::{
    ActivitiesReport, EtcdReport, GateReport, Health, HealthReport, HealthSources, LedgerReport, OutboxSeen,
    PartHealth, gate_states,
};
pub use process::ProcessFigures;
pub use row_check::RowCheck;
