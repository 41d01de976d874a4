//! Counters and gauges of the etcd mirror.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::etcd::Figures;

/// Written by the mirror task, read by health and metrics.
#[derive(Debug, Default)]
pub struct MirrorState {
    /// Counters of the connection to etcd.
    pub etcd: Arc<Figures>,
    waiting: AtomicU64,
    bad: AtomicU64,
    adopted: AtomicU64,
    refused: AtomicU64,
    put: AtomicU64,
    went_back: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MirrorReport {
    /// Milliseconds since the last message from etcd, `None` before the first.
    pub lag_ms: Option<u64>,
    /// Milliseconds since all keys were read, `None` before the first time.
    pub listing_age_ms: Option<u64>,
    /// Current revision of etcd.
    pub revision: u64,
    /// Number of keys when all were read.
    pub keys: u64,
    /// Failed listings and watches.
    pub failures: u64,
    /// Edits and listings that MySQL may not have yet.
    pub waiting: u64,
    /// Keys ignored because of an invalid name or value.
    pub bad: u64,
    /// Edits that this process stored in MySQL.
    pub adopted: u64,
    /// Invalid keys and values that this process ignored.
    pub refused: u64,
    /// Rows that this process put to etcd, or found there already.
    pub put: u64,
    /// Number of times that etcd went back to an older state.
    pub went_back: u64,
}

impl MirrorState {
    /// A snapshot of this moment.
    pub fn report(&self) -> MirrorReport {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        MirrorReport {
            lag_ms: self.etcd.silent_ms(),
            listing_age_ms: self.etcd.listing_age_ms(),
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
