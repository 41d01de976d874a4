//! Publishes coupons and activities of MySQL to Redis, to etcd, and to the viewers of live units.

mod archived_change;
mod archiving;
mod live_units;
pub mod mirror;
mod operator_edits;
mod publishing;
mod scheduling;

pub use archiving::{ArchiveFigures, Archiving};
pub use live_units::{EventFigures, EventLimits, Events, NoPlace, ProductState, Shown, Viewer};
pub use mirror::{MirrorReport, MirrorState, Mirroring};
pub use operator_edits::{Adopted, CHOSEN_ID_MAX, EditError};
pub use publishing::{CouponChange, PublishError, Publishing, Reached};
pub use scheduling::{ACTIVITIES_OF_A_COUPON_MAX, ScheduleError, Scheduling};
