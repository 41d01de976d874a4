//! Redis: connections, keys and scripts.
//!
//! Two ways lead to Redis. A [`Link`] keeps one connection that never reconnects by itself; workers claim and list over
//! theirs, recovery compares over its own. A [`Pool`] carries all other work. Both offer [`Calls`].
//!
//! Deliberately knows no rule of a sale and nothing of MySQL.

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
