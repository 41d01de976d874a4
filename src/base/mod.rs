//! Primitives for all modules. They know nothing of coupons, stores or HTTP.

mod clock;
pub mod crash;
mod error_chain;
mod joined;
mod metrics;
mod outage;
mod periodic;
mod tls;
mod version;

pub use clock::{now_ms, now_seconds};
pub use error_chain::error_chain;
pub use joined::Joined;
pub use metrics::{Apart, Distribution, Histogram};
pub use outage::Outage;
pub use periodic::every;
pub use tls::{OwnCertificate, Tls, TlsError};
pub use version::{TooOld, check_version};
