//! A flash-sale coupon server: nothing lost, nothing oversold, whatever dies.
//!
//! `docs/ARCHITECTURE.md` is the map of these modules. Imports point one way:
//! `cli -> app -> http -> ops -> {sales, recovery} -> {claim, admission} -> memory -> {auth, mysql, redis} -> {domain, base}`.

pub mod admission;
pub mod app;
pub mod auth;
pub mod base;
pub mod claim;
pub mod cli;
pub mod config;
pub mod domain;
pub mod etcd;
pub mod http;
pub mod memory;
pub mod mysql;
pub mod ops;
pub mod recovery;
pub mod redis;
pub mod sales;
