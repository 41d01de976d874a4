//! A bounded map of counters by user, address or name.
//!
//! An expired counter carries no information: a user who paused equals a user never seen. The map drops expired
//! counters when it is about to grow, without a cleanup task. If the map is full of active counters, a new key is not
//! counted, because a rush of strangers must not shut out everybody. A shard's lock is held for a single lookup.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

const SHARDS: usize = 64;
/// A shard with fewer keys is never swept for expired counters.
const SWEPT_KEYS_MIN: usize = 64;
/// Minimum time between two sweeps of a full shard.
const SWEEP_EVERY_MS: u64 = 100;

pub(super) trait Passing {
    /// Whether the counter can be dropped without losing information.
    fn is_over(&self, now_ms: u64) -> bool;
}

pub(super) struct Keyed<K, V> {
    shards: Box<[Mutex<KeyedShard<K, V>>]>,
    shard_keys_max: usize,
    hasher: RandomState,
    uncounted: AtomicU64,
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
            uncounted: AtomicU64::new(0),
        }
    }

    /// Changes the counter of `key`, starting from the default for a new key. Returns `None` if the map is full.
    pub(super) fn change<T>(&self, key: K, now_ms: u64, change: impl FnOnce(&mut V) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.shard(hash);
        if let Some((_, value)) = shard.values.find_mut(hash, |(other, _)| *other == key) {
            return Some(change(value));
        }
        if shard.values.len() >= shard.sweep_at.min(self.shard_keys_max) {
            shard.sweep(now_ms);
        }
        if shard.values.len() >= self.shard_keys_max {
            drop(shard);
            self.uncounted.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut new = shard.values.insert_unique(hash, (key, V::default()), |(key, _)| self.hasher.hash_one(key));
        Some(change(&mut new.get_mut().1))
    }

    /// Reads the counter of `key`. Returns `None` if the key is not in the map.
    pub(super) fn look<T>(&self, key: &K, look: impl FnOnce(&V) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        self.shard(hash).values.find(hash, |(other, _)| other == key).map(|(_, value)| look(value))
    }

    /// Number of keys, expired ones included.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values.len()).sum()
    }

    /// Number of changes dropped because the map was full.
    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
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
            keyed.change(key, now_ms, |end| end.0 = end_ms);
        }
    }

    #[test]
    fn what_is_over_is_forgotten_when_the_map_would_grow() {
        let keyed = Keyed::new(1_000_000);
        put(&keyed, 0..100_000, 1_000, 1_001);
        put(&keyed, 100_000..200_000, 2_000, 3_000);
        let count = keyed.count();
        assert!((100_000..=110_000).contains(&count), "{count} are held of 100000 that matter");
        assert_eq!(keyed.look(&150_000, |end| end.0), Some(3_000));
        assert_eq!(keyed.uncounted(), 0);
    }

    #[test]
    fn a_full_map_takes_no_new_key_keeps_the_old_ones_and_says_so() {
        let keyed = Keyed::new(6_400);
        put(&keyed, 0..100_000, 1_000, 90_000);
        assert_eq!(keyed.count(), 6_400);
        assert_eq!(keyed.uncounted(), 100_000 - 6_400);
        assert_eq!(keyed.change(0, 1_000, |end| end.0), Some(90_000), "the first is still known");
        put(&keyed, 200_000..300_000, 90_000, 91_000);
        assert_eq!(keyed.count(), 6_400, "and makes place once it is over");
        assert_eq!(keyed.look(&0, |_| ()), None);
    }
}
