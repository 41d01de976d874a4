//! A bounded map of what is counted for each user, address or name.
//!
//! Nothing here is worth keeping once it is over: a user who was quiet for a moment is like one who was never seen. So the
//! map forgets what is over whenever it would grow, and needs no task to do so. Where it is full of what is not, a new key
//! finds no place: whoever it is goes uncounted, and is counted as such, because a rush of strangers must not shut
//! the door to everybody.
//!
//! Each key is in one of many shards, each with a lock that is held for the time of one look.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

const SHARDS: usize = 64;
/// A shard of fewer keys is never searched for what is over.
const SWEPT_KEYS_MIN: usize = 64;
/// A full shard is not searched more often.
const SWEEP_EVERY_MS: u64 = 100;

/// What is counted, and until when it matters.
pub(super) trait Passing {
    /// Whether nothing would be lost if it were forgotten.
    fn is_over(&self, now_ms: u64) -> bool;
}

pub(super) struct Keyed<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    shard_keys_max: usize,
    hasher: RandomState,
    uncounted: AtomicU64,
}

struct Shard<K, V> {
    values: HashTable<(K, V)>,
    /// It is searched when it has so many keys.
    sweep_at: usize,
    swept_ms: u64,
}

impl<K: Eq + Hash, V: Default + Passing> Keyed<K, V> {
    /// A map of at most about `keys_max` keys.
    pub(super) fn new(keys_max: usize) -> Self {
        let shard = || Mutex::new(Shard { values: HashTable::new(), sweep_at: SWEPT_KEYS_MIN, swept_ms: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            shard_keys_max: keys_max.div_ceil(SHARDS),
            hasher: RandomState::new(),
            uncounted: AtomicU64::new(0),
        }
    }

    /// Changes what is counted for `key`, from nothing where it is new; `None` where there is no place for it.
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

    /// Looks at what is counted for `key`; `None` where nothing is.
    pub(super) fn look<T>(&self, key: &K, look: impl FnOnce(&V) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        self.shard(hash).values.find(hash, |(other, _)| other == key).map(|(_, value)| look(value))
    }

    /// Keys that are held, those that are over too.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).values.len()).sum()
    }

    /// Changes that found no place.
    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K, V>> {
        // Bits from the middle: the table inside goes by those at both ends, so that this choice takes nothing from its spread.
        lock(&self.shards[usize::try_from((hash >> 32) % SHARDS as u64).expect("it is below 64")])
    }
}

impl<K: Eq + Hash, V: Passing> Shard<K, V> {
    /// Forgets what is over. The next search comes when the shard has grown by half, so that a key costs a bounded share and the
    /// table stays small enough for a processor's cache.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.swept_ms) >= SWEEP_EVERY_MS {
            self.values.retain(|(_, value)| !value.is_over(now_ms));
            self.sweep_at = (self.values.len() * 3 / 2).max(SWEPT_KEYS_MIN);
            self.swept_ms = now_ms;
        }
    }
}

/// A lock that a panic has poisoned is used all the same: every single change leaves the map right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over at this time.
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
