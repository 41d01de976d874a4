//! Redis: connections, keys and scripts.
//!
//! Two ways lead to Redis, and both offer [`Calls`]. A [`Link`] keeps one connection: workers have a link each for claims and lists,
//! and recovery has a link. A [`Pool`] carries all other work.
//!
//! Deliberately absent: rules of a sale, and MySQL.

mod address;
mod batcher;
mod calls;
mod connection;
mod error;
mod keys;
mod link;
mod live;
mod pool;
mod scripts;

pub use address::LinkConfig;
pub use batcher::{ActivityArguments, BATCH_ATTEMPTS_MAX, ClaimArguments, ClaimQuestion};
pub use calls::{CLOCK_ERROR_MS, Calls};
pub use connection::Connection;
pub use error::KvError;
pub use keys::{Key, Keys};
pub use link::Link;
pub use live::Live;
pub use pool::{Pool, PoolLimits, PooledCalls};
pub use scripts::{Script, ScriptReply, text};
