//! All commands but `serve`.

pub mod admin;
pub mod audit;
pub mod import;
pub mod migrate;
pub mod poisoned;
pub mod progress;
pub mod seed;
