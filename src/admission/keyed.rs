//! A bounded map of counters by user, network or name.
//!
//! An expired counter carries no information: a user who paused equals a user never seen. The map drops expired
//! counters when it is about to grow, without a cleanup task. A shard's lock is held for a single lookup.
//!
//! If the map is full of active counters, a new key is counted together with the crowd around its address, and the crowd
//! may use many times the limit of a key. Crowds have a fixed array of counters, which never fills: a keyed hash chooses
//! the counter. Nobody can choose with whom he shares a counter, and no single counter stands for everybody.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use crate::domain::Address;

const SHARDS: usize = 64;
/// A shard with fewer keys is never swept for expired counters.
const SWEPT_KEYS_MIN: usize = 64;
/// Minimum time between two sweeps of a full shard.
const SWEEP_EVERY_MS: u64 = 100;
/// Counters for the crowds of keys without a place.
const CROWDS: usize = 4_096;
/// How many times the limit of a key a crowd may use.
pub(super) const CROWD_TIMES: u32 = 64;

pub(super) trait Passing {
    /// Whether the counter can be dropped without losing information.
    fn is_over(&self, now_ms: u64) -> bool;
}

pub(super) struct Keyed<K, V> {
    shards: Box<[Mutex<KeyedShard<K, V>>]>,
    shard_keys_max: usize,
    hasher: RandomState,
    crowds: Box<[Mutex<V>]>,
    by_crowd: AtomicU64,
}

struct KeyedShard<K, V> {
    values: HashTable<(K, V)>,
    /// Number of keys at which the shard is swept.
    sweep_at: usize,
    swept_ms: u64,
}

impl<K: Eq + Hash, V: Default + Passing> Keyed<K, V> {
    /// A map of about `keys_max` keys at most.
    pub(super) fn new(keys_max: usize) -> Self {
        let shard = || Mutex::new(KeyedShard { values: HashTable::new(), sweep_at: SWEPT_KEYS_MIN, swept_ms: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            shard_keys_max: keys_max.div_ceil(SHARDS),
            hasher: RandomState::new(),
            crowds: (0..CROWDS).map(|_| Mutex::default()).collect(),
            by_crowd: AtomicU64::new(0),
        }
    }

    /// Changes the counter of `key`, starting from the default for a new key. If the map is full, changes the counter of
    /// the crowd around `address`. `change` gets the counter, and how many times the limit of a key it stands for.
    pub(super) fn change<T>(
        &self,
        key: K,
        address: impl FnOnce() -> Address,
        now_ms: u64,
        change: impl FnOnce(&mut V, u32) -> T,
    ) -> T {
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.shard(hash);
        if let Some((_, value)) = shard.values.find_mut(hash, |(other, _)| *other == key) {
            return change(value, 1);
        }
        if shard.values.len() >= shard.sweep_at.min(self.shard_keys_max) {
            shard.sweep(now_ms);
        }
        if shard.values.len() >= self.shard_keys_max {
            drop(shard);
            self.by_crowd.fetch_add(1, Ordering::Relaxed);
            return change(&mut self.crowd(address()), CROWD_TIMES);
        }
        let mut new = shard.values.insert_unique(hash, (key, V::default()), |(key, _)| self.hasher.hash_one(key));
        change(&mut new.get_mut().1, 1)
    }

    /// Reads the counter of `key` as [`Keyed::change`] would find it. A key that was never counted has the default.
    pub(super) fn look<T>(&self, key: &K, address: impl FnOnce() -> Address, look: impl FnOnce(&V, u32) -> T) -> T {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash);
        if let Some((_, value)) = shard.values.find(hash, |(other, _)| other == key) {
            return look(value, 1);
        }
        let is_full = shard.values.len() >= self.shard_keys_max;
        drop(shard);
        if is_full { look(&self.crowd(address()), CROWD_TIMES) } else { look(&V::default(), 1) }
    }

    /// Number of keys, expired ones included.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values.len()).sum()
    }

    /// Number of changes counted by crowd because the map was full.
    pub(super) fn by_crowd(&self) -> u64 {
        self.by_crowd.load(Ordering::Relaxed)
    }

    fn crowd(&self, address: Address) -> MutexGuard<'_, V> {
        let hash = self.hasher.hash_one(address.crowd());
        lock(&self.crowds[usize::try_from(hash % CROWDS as u64).expect("a number below 4,096 fits")])
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, KeyedShard<K, V>> {
        // Middle bits choose the shard. The table inside uses bits from both ends, so its spread is unaffected.
        lock(&self.shards[usize::try_from((hash >> 32) % SHARDS as u64).expect("a number below 64 fits")])
    }
}

impl<K: Eq + Hash, V: Passing> KeyedShard<K, V> {
    /// Drops expired counters. The next sweep follows growth by half, to bound a key's cost and the size of the table.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.swept_ms) >= SWEEP_EVERY_MS {
            self.values.retain(|(_, value)| !value.is_over(now_ms));
            self.sweep_at = (self.values.len() * 3 / 2).max(SWEPT_KEYS_MIN);
            self.swept_ms = now_ms;
        }
    }
}

/// A poisoned lock is used anyway: every single change leaves the map consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expires at this time, in milliseconds.
    #[derive(Default)]
    struct End(u64);

    impl Passing for End {
        fn is_over(&self, now_ms: u64) -> bool {
            self.0 <= now_ms
        }
    }

    fn put(keyed: &Keyed<u64, End>, keys: std::ops::Range<u64>, now_ms: u64, end_ms: u64) {
        for key in keys {
            keyed.change(key, || address(0), now_ms, |end, _| end.0 = end_ms);
        }
    }

    /// An address of the crowd with this number.
    fn address(crowd: u8) -> Address {
        Address::new([10, crowd, 0, 1].into())
    }

    #[test]
    fn what_is_over_is_forgotten_when_the_map_would_grow() {
        let keyed = Keyed::new(1_000_000);
        put(&keyed, 0..100_000, 1_000, 1_001);
        put(&keyed, 100_000..200_000, 2_000, 3_000);
        let count = keyed.count();
        assert!((100_000..=110_000).contains(&count), "{count} are held of 100000 that matter");
        assert_eq!(keyed.look(&150_000, || address(0), |end, _| end.0), 3_000);
        assert_eq!(keyed.by_crowd(), 0);
    }

    #[test]
    fn a_full_map_keeps_the_old_keys_and_counts_new_ones_by_crowd() {
        let keyed = Keyed::new(6_400);
        put(&keyed, 0..100_000, 1_000, 90_000);
        assert_eq!(keyed.count(), 6_400);
        assert_eq!(keyed.by_crowd(), 100_000 - 6_400);
        let never = || panic!("a known key has a place");
        assert_eq!(keyed.change(0, never, 1_000, |end, times| (end.0, times)), (90_000, 1), "the first is still known");
        let of_crowd = |crowd| keyed.change(500_000, || address(crowd), 1_000, |end, times| (end.0, times));
        assert_eq!(of_crowd(0), (90_000, CROWD_TIMES), "strangers of one crowd share a counter");
        assert_eq!(of_crowd(1), (0, CROWD_TIMES), "another crowd has its own");
        put(&keyed, 200_000..300_000, 90_000, 91_000);
        assert_eq!(keyed.count(), 6_400, "and makes place once it is over");
        assert_eq!(keyed.look(&0, || address(2), |end, times| (end.0, times)), (0, CROWD_TIMES));
    }
}
