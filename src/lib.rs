//! A flash-sale coupon server: nothing lost, nothing oversold, whatever dies.
//!
//! `docs/ARCHITECTURE.md` walks a claim through these files. Imports point one way:
//! `app -> api -> claiming -> {gate, stock, ledger} -> {kv, db} -> domain`, `recovery` beside `claiming` and `auth`
//! beside `gate`.

pub mod auth;
pub mod claiming;
pub mod config;
pub mod db;
pub mod domain;
pub mod gate;
pub mod kv;
pub mod ledger;
pub mod publishing;
pub mod recovery;
pub mod stock;
