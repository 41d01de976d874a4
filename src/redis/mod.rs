//! Everything said to Redis, through connections, keys and scripts.
//!
//! Two types lead to Redis, and offer the same [`Calls`]. A [`Link`] keeps one connection. Every worker has a link for
//! claims and lists, and recovery has a link. A [`Pool`] carries all remaining work.
//!
//! Deliberately absent: rules of a sale, and MySQL.

pub mod archive;
pub mod audit;
pub mod beats;
pub mod live_key;
pub mod load;
pub mod nonces;
pub mod rights;
pub mod server_settings;
mod server_version;

mod address;
mod batcher;
mod calls;
mod connection;
mod crate_settings;
mod dial;
mod error;
mod keys;
mod link;
mod lists;
mod live;
mod majority;
mod outbox;
mod ownership;
mod pool;
mod scripts;
mod sightings;
mod stock;
mod units;
pub mod unread;

pub use address::LinkConfig;
pub use batcher::{ActivityArguments, BATCH_ATTEMPTS_MAX, ClaimArguments, ClaimQuestion};
pub use calls::{CLOCK_ERROR_MS, Calls};
pub use connection::Connection;
pub use error::{KvError, WriteRefusal};
pub use keys::{Key, Keys};
pub use link::Link;
pub use lists::{Facts, HeldInRedis, ListWindow, Offered};
pub use live::Live;
pub use majority::Named;
pub use outbox::{DoneEntry, Extent, Head, Outbox, OutboxEntry, ReadTo, broken, claims, split_unreadable};
pub use ownership::Ownership;
pub use pool::{Pool, PoolLimits, PooledCalls};
use scripts::{Script, ScriptReply, parse, text};
pub use sightings::Sightings;
pub use stock::{Attempt, CouponLookup, Presence, Published, Stock, Taken, Tombstone};
pub use units::Units;
