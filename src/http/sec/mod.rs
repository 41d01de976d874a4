//! The flash-sale interface: `/product`, `/activity` and `/sec`, Part 2 of the wire contract.
//!
//! Answers use an [`envelope`] with codes of their own. [`parameters`] arrive as a form or as JSON. A product is a
//! coupon, and a purchase goes through the same claim path as in the coupon interface.

pub(super) mod activities;
mod asking;
mod conditions;
pub(super) mod envelope;
mod events;
pub(super) mod kill;
mod kill_form;
mod paging;
mod parameters;
pub(super) mod products;
mod routes;
mod sale_cache;
pub(super) mod sales;
pub(super) mod tickets;
pub(super) mod tokens;
pub(super) mod units;
mod utc;

pub use routes::endpoints;
pub use sale_cache::{SaleCache, SaleCacheLimits};
