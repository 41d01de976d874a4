//! The commands beside `serve`.

pub mod admin;
pub mod audit;
pub mod migrate;
pub mod seed;
