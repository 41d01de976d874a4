//! Redis: connections, keys and scripts.
//!
//! Plumbing. Deliberately knows no rule of a sale and nothing of MySQL.

mod error;
mod keys;
mod link;
mod live;
mod script;

pub use error::KvError;
pub use keys::Keys;
pub use link::{Connection, Link, LinkConfig};
pub use live::Live;
pub use script::{Reply, Script};
