//! A flash-sale coupon server: nothing lost, nothing oversold, whatever dies.
//!
//! `docs/ARCHITECTURE.md` walks a claim through these files. Imports point one way:
//! `app -> api -> claiming -> {gate, stock, ledger} -> {kv, db} -> domain`, `recovery` beside `claiming` and `auth`
//! beside `gate`.

pub mod activities;
pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod claiming;
pub mod commands;
pub mod config;
pub mod db;
pub mod directory;
pub mod domain;
pub mod etcd;
