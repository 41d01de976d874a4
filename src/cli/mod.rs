//! All commands but `serve`.

pub mod admin;
pub mod adopt;
pub mod audit;
pub mod import;
pub mod migrate;
pub mod new_installation;
mod owner;
pub mod poisoned;
pub mod progress;
pub mod raise_format;
pub mod seed;
pub mod shards;
pub mod size;
pub mod unread;
