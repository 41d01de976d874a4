//! The service as its users meet it: over HTTP, with real Redis and MySQL.
//!
//! Each test has a database and a key prefix of its own on the servers that `COUPONRUSH_MYSQL_URL` and
//! `COUPONRUSH_REDIS_URL` name; `make test` starts private ones. Dropping the [`helpers::TestApp`] stops the service and
//! asserts the invariants over what it left, so every test checks them.

mod audit;
mod beats;
mod changing;
mod claiming;
mod connecting;
mod creating;
mod durability;
mod helpers;
mod holders;
mod hostile_input;
mod http_edge;
mod import;
mod jmeter_plan;
mod ledger;
mod listing;
mod login;
mod logout;
mod losses;
mod migrations;
mod names;
mod passwords;
mod program;
mod recovery;
mod refusals;
mod registration;
mod repair;
mod rush;
mod sales;
mod starting;
mod stopping;
mod storing;
mod tokens;
