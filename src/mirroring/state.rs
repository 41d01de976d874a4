//! How the mirror is: what operators see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::etcd::Figures;

/// Written by the mirror alone, read by anybody.
#[derive(Debug, Default)]
pub struct State {
    /// Of the connection.
    pub etcd: Arc<Figures>,
    waiting: AtomicU64,
    bad: AtomicU64,
    adopted: AtomicU64,
    refused: AtomicU64,
    put: AtomicU64,
    went_back: AtomicU64,
}

/// The same in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MirrorReport {
    /// Milliseconds since etcd said anything, and since all its keys were read; `None`: never.
    pub lag_ms: Option<u64>,
    pub listing_age_ms: Option<u64>,
    /// Of etcd, and how many keys it had when all were read.
    pub revision: u64,
    pub keys: u64,
    /// Listings and watches that failed.
    pub failures: u64,
    /// Edits of operators, and listings, that MySQL may not have yet.
    pub waiting: u64,
    /// Keys whose value is not followed.
    pub bad: u64,
    /// Edits that this process took over into MySQL, and values that it did not follow.
    pub adopted: u64,
    pub refused: u64,
    /// Rows that this process put, or found put.
    pub put: u64,
    /// How often etcd had gone back to an older state.
    pub went_back: u64,
}

impl State {
    /// How it is at `now_ms`, in ms since 1970.
    pub fn report(&self, now_ms: u64) -> MirrorReport {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        MirrorReport {
            lag_ms: self.etcd.silent_ms(now_ms),
            listing_age_ms: self.etcd.listing_age_ms(now_ms),
            revision: self.etcd.revision(),
            keys: self.etcd.keys(),
            failures: self.etcd.failures(),
            waiting: read(&self.waiting),
            bad: read(&self.bad),
            adopted: read(&self.adopted),
            refused: read(&self.refused),
            put: read(&self.put),
            went_back: read(&self.went_back),
        }
    }

    pub(super) fn set_waiting(&self, waiting: usize, bad: usize) {
        self.waiting.store(waiting as u64, Ordering::Relaxed);
        self.bad.store(bad as u64, Ordering::Relaxed);
    }

    pub(super) fn count_adopted(&self) {
        self.adopted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_put(&self) {
        self.put.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_went_back(&self) {
        self.went_back.fetch_add(1, Ordering::Relaxed);
    }
}
