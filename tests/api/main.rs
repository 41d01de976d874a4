//! Tests of the service over HTTP, with real Redis, MySQL and etcd servers.
//!
//! Every test has a database and a key prefix of its own, on the servers named by `COUPONRUSH_MYSQL_URL` and
//! `COUPONRUSH_REDIS_URL`. `make test` starts private servers. Dropping the [`helpers::TestApp`] stops the service and
//! asserts the invariants over the stored data, so every test checks them.

mod audit;
mod beats;
mod blacklist;
mod changing;
mod claiming;
mod clocks;
mod connecting;
mod contained;
mod control;
mod creating;
mod durability;
mod etcd;
mod events;
mod every_route;
mod failover;
mod fields;
mod hand_edits;
mod helpers;
mod holders;
mod hostile_input;
mod http_edge;
mod import;
mod instructions;
mod jmeter_plan;
mod ledger;
mod limits;
mod listing;
mod loaded;
mod login;
mod logout;
mod losses;
mod metrics;
mod migrations;
mod names;
mod new_ids;
mod openapi;
mod owner;
mod pages;
mod passwords;
mod poisoned;
mod pooling;
mod program;
mod proxies;
mod read_only;
mod recovery;
mod refusals;
mod refused_writes;
mod registration;
mod repair;
mod rush;
mod sales;
mod sec;
mod slow_clients;
mod starting;
mod status;
mod stopping;
mod storing;
mod switches;
mod together;
mod tokens;
mod went_back;
