//! How etcd is: what operators see of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Written by the watcher alone, read by anybody.
#[derive(Debug, Default)]
pub struct Figures {
    up: AtomicBool,
    /// When etcd last said anything, and when everything was last read; ms since 1970, 0: never.
    heard_ms: AtomicU64,
    listed_ms: AtomicU64,
    /// The highest revision seen since the last listing, or its own.
    revision: AtomicU64,
    keys: AtomicU64,
    failures: AtomicU64,
}

impl Figures {
    /// Whether the last thing that was asked of etcd was answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Milliseconds at `now_ms` since etcd said anything; `None`: it never did.
    pub fn silent_ms(&self, now_ms: u64) -> Option<u64> {
        since(&self.heard_ms, now_ms)
    }

    /// Milliseconds at `now_ms` since everything was read; `None`: it never was.
    pub fn listing_age_ms(&self, now_ms: u64) -> Option<u64> {
        since(&self.listed_ms, now_ms)
    }

    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Keys of the last listing.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Listings and watches that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn note_listing(&self, revision: u64, keys: usize, now_ms: u64) {
        self.listed_ms.store(now_ms, Ordering::Relaxed);
        self.keys.store(keys as u64, Ordering::Relaxed);
        self.note_heard(revision, now_ms);
    }

    pub(super) fn note_heard(&self, revision: u64, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
        self.up.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.up.store(false, Ordering::Relaxed);
    }
}

fn since(then_ms: &AtomicU64, now_ms: u64) -> Option<u64> {
    match then_ms.load(Ordering::Relaxed) {
        0 => None,
        then_ms => Some(now_ms.saturating_sub(then_ms)),
    }
}
