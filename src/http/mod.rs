//! HTTP: actix, JSON shapes and status codes.
//!
//! A handler extracts, parses, makes one call, and answers. [`finish`] adds the common parts of all answers.

mod accounts;
mod admin;
mod admit;
mod answer;
mod answer_counts;
mod applicant;
mod assets;
mod blacklist;
mod body;
mod browsers;
mod claim_wait;
mod claims;
mod code;
mod coupons;
mod docs;
mod error;
mod exports;
mod exposition;
mod extractors;
mod finish;
mod health;
mod list_cache;
mod lists;
mod logins;
mod merchant;
mod merchant_keys;
mod metrics;
mod openapi;
mod own_account;
mod pages;
mod path;
mod peer;
mod proving;
mod refuse;
mod route;
mod routes;
mod sec;
mod second_factor;
mod shared_reads;
mod staff;
mod state;
mod status;
mod trail;
mod trail_list;
mod users;

pub use answer_counts::Answers;
pub use exports::{ExportLimits, Exports};
pub use finish::finish;
pub use list_cache::ListCache;
pub use openapi::to_json;
pub use routes::{document, ops_routes, routes};
pub use sec::{SaleCache, SaleCacheLimits};
pub use shared_reads::SharedReads;
pub use state::{Accounts, BodyLimits, Edge, Offering, Operating, Selling, Shared, Worker};
