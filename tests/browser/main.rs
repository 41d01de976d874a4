//! Tests of the pages in Debian's Chromium, with the real service, Redis and MySQL.
//!
//! Each test has a separate service, separate stores (as in `tests/api`) and separate browsers. Closing a browser
//! asserts a clean console, no violation of the Content-Security-Policy, and no request to a foreign address. The tests
//! need chromium and chromedriver (Debian packages: chromium, chromium-driver).

mod accessibility;
mod account;
mod accounts;
mod admin;
mod archive;
mod bad_input;
mod browser;
mod driver;
#[path = "../api/helpers/mod.rs"]
#[allow(dead_code, unused_imports)] // `tests/api` uses more of the module
mod helpers;
mod losing;
mod people;
#[path = "../faults/proxy.rs"]
#[allow(dead_code)] // `tests/faults` uses more of the module
mod proxy;
mod refusals;
mod robots;
mod saler;
mod screenshots;
mod second_factor;
mod shop;
mod speed;
mod story;
mod words;
