//! Publishes coupons and activities of MySQL to Redis, to etcd, and to the viewers of live units.

mod archived_change;
mod archiving;
mod live_units;
pub mod mirror;
mod open_offers;
mod operator_edits;
mod publish_error;
mod publishing;
mod reached;
mod scheduling;
mod viewer_places;

pub use archiving::{ArchiveFigures, Archiving};
pub use live_units::{EventFigures, EventLimits, Events, NoPlace, ProductState, Shown, Viewer};
pub use mirror::{MirrorReport, MirrorState, Mirroring};
pub use open_offers::OpenOffers;
pub use operator_edits::{Adopted, CHOSEN_ID_MAX, EditError};
pub use publish_error::PublishError;
pub use publishing::{CouponChange, Publishing};
pub use reached::Reached;
pub use scheduling::{ACTIVITIES_OF_A_COUPON_MAX, ScheduleError, Scheduling};
