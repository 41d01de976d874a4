//! Redis: connections, keys and scripts.
//!
//! Plumbing. Deliberately knows no rule of a sale and nothing of MySQL.

mod address;
mod command;
mod connection;
mod error;
mod frame;
mod keys;
mod link;
mod live;
mod pipe;
mod reply;
mod script;
mod together;

pub use address::LinkConfig;
pub use command::Command;
pub use connection::{CLOCK_ERROR_MS, Connection};
pub use error::KvError;
pub use keys::{Key, Keys};
pub use link::Link;
pub use live::Live;
pub use reply::Reply;
pub use script::Script;
pub use together::{CASES_MAX, Case, Question};
