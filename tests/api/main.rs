//! The service as its users meet it: over HTTP, with real Redis, MySQL and etcd.
//!
//! Each test has a database and a key prefix of its own on the servers that `COUPONRUSH_MYSQL_URL` and
//! `COUPONRUSH_REDIS_URL` name; `make test` starts private ones. Dropping the [`helpers::TestApp`] stops the service and
//! asserts the invariants over what it left, so every test checks them.

mod audit;
mod beats;
mod changing;
mod claiming;
mod creating;
mod etcd;
