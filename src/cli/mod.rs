//! All commands but `serve`.

pub mod admin;
pub mod audit;
pub mod import;
pub mod migrate;
pub mod poisoned;
pub mod progress;
pub mod raise_format;
pub mod seed;
pub mod unread;
