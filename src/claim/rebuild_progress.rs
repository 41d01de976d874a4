//! The progress of rebuilds of a shard. Recovery writes it, and health reports it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::domain::Epoch;

/// Progress of the current or last rebuild by this process.
#[derive(Debug, Default)]
pub struct RebuildProgress {
    pub coupons: AtomicU64,
    pub claims: AtomicU64,
    pub rebuilds: AtomicU64,
    /// The acknowledged epoch. This process holds no attempt and no unstored claim of an earlier epoch.
    pub acknowledged: AtomicU32,
}

impl RebuildProgress {
    /// Coupons and claims loaded by the current or last rebuild.
    pub fn loaded(&self) -> (u64, u64) {
        (self.coupons.load(Ordering::Relaxed), self.claims.load(Ordering::Relaxed))
    }

    pub fn acknowledged(&self) -> Epoch {
        Epoch(self.acknowledged.load(Ordering::SeqCst))
    }

    /// Rebuilds completed by this process.
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::Relaxed)
    }
}
