//! The pages as people use them: Debian's Chromium in front of the real service with real Redis and MySQL.
//!
//! Each test has a service and stores of its own, as in `tests/api`, and browsers of its own. Closing a browser asserts that
//! it saw no error and no violation of the Content-Security-Policy, and asked nobody but the service. It needs chromium and
//! chromedriver (Debian: chromium, chromium-driver).

mod accessibility;
mod admin;
mod bad_input;
mod browser;
mod driver;
#[path = "../api/helpers/mod.rs"]
#[allow(dead_code, unused_imports)] // what tests of the interface need beyond these
mod helpers;
mod losing;
#[path = "../faults/proxy.rs"]
#[allow(dead_code)] // other ways to misbehave
mod proxy;
mod saler;
mod screenshots;
mod shop;
mod speed;
mod story;
mod words;
