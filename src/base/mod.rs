//! Primitives that every module may use: they know nothing of coupons, of stores or of HTTP.

mod outage;
mod periodic;

pub use outage::Outage;
pub use periodic::every;
