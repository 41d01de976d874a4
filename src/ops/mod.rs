//! What operators need to know: the health of each part, unsafe settings of the stores, unreadable rows, the audit of all
//! data, and the audit trail of requests.

pub mod audit;
pub mod durability;
mod health;
mod health_report;
mod process;
mod row_check;
mod saler_names;
mod trail;
mod withholding;
mod writers;

pub use audit::{Audit, AuditError, AuditReport, Repair, Repaired};
pub use health::{Health, HealthSources, gate_states};
pub use health_report::{
    ActivitiesReport, EtcdReport, GateReport, HealthReport, LedgerReport, MysqlReport, OutboxSeen, PartHealth,
    ShardReport,
};
pub use process::ProcessFigures;
pub use row_check::RowCheck;
pub use saler_names::SalerNames;
pub use trail::{TRAIL_QUEUE_MAX, Trail};
pub use withholding::Withholding;
