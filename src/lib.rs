//! A flash-sale coupon server, built to survive crashes without losing or overselling a claim.
//!
//! `docs/ARCHITECTURE.md` follows a claim through the source files. Imports have a single direction:
//! `app -> api -> claiming -> {gate, stock, ledger} -> {kv, db} -> domain`, `recovery` beside `claiming`, `auth` beside
//! `gate`, `etcd` beside `db`.

pub mod activities;
pub mod api;
pub mod app;
pub mod assets;
pub mod audit;
pub mod auth;
pub mod base;
pub mod claiming;
pub mod commands;
pub mod config;
pub mod crash;
pub mod db;
pub mod directory;
pub mod domain;
pub mod durability;
pub mod etcd;
pub mod events;
pub mod figures;
pub mod gate;
pub mod health;
pub mod kv;
pub mod ledger;
pub mod mirroring;
pub mod publishing;
pub mod recovery;
pub mod refusals;
pub mod scheduling;
pub mod stock;

/// Joins an error and its causes into a single line for the log or the terminal.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The system time in ms since 1970. Returns 0 for a clock set before 1970.
pub fn now_ms() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The system time in whole seconds since 1970.
pub fn now_seconds() -> u64 {
    now_ms() / 1_000
}
