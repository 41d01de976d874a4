//! The state of etcd, as operators see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Written by the watcher alone, read by everybody.
#[derive(Debug)]
pub struct Figures {
    up: AtomicBool,
    /// Ages are counted from here, so a stepped system clock changes none.
    origin: Instant,
    /// The times of the last answer and of the last listing, in ms since `origin` plus 1. 0 means never.
    heard_ms: AtomicU64,
    listed_ms: AtomicU64,
    /// The revision in the last answer.
    revision: AtomicU64,
    keys: AtomicU64,
    failures: AtomicU64,
}

impl Figures {
    /// Whether the last call to etcd was answered.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Milliseconds since the last answer of etcd, or `None` if etcd never answered.
    pub fn silent_ms(&self) -> Option<u64> {
        self.since(&self.heard_ms)
    }

    /// Milliseconds since the last listing, or `None` if there was none.
    pub fn listing_age_ms(&self) -> Option<u64> {
        self.since(&self.listed_ms)
    }

    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// The number of keys in the last listing.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// The number of failed listings and watches.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn note_listing(&self, revision: u64, keys: usize) {
        self.listed_ms.store(self.now_ms(), Ordering::Relaxed);
        self.keys.store(keys as u64, Ordering::Relaxed);
        self.note_heard(revision);
    }

    pub(super) fn note_heard(&self, revision: u64) {
        self.heard_ms.store(self.now_ms(), Ordering::Relaxed);
        self.revision.store(revision, Ordering::Relaxed);
        self.up.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.up.store(false, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn since(&self, then_ms: &AtomicU64) -> Option<u64> {
        match then_ms.load(Ordering::Relaxed) {
            0 => None,
            then_ms => Some(self.now_ms().saturating_sub(then_ms)),
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            up: AtomicBool::default(),
            origin: Instant::now(),
            heard_ms: AtomicU64::default(),
            listed_ms: AtomicU64::default(),
            revision: AtomicU64::default(),
            keys: AtomicU64::default(),
            failures: AtomicU64::default(),
        }
    }
}
