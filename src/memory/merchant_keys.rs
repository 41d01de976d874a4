//! Keys of merchants, on every instance.
//!
//! A change goes to MySQL, then to memory, then the saler gets the answer. Every instance reads news twice a second, and all keys
//! once a minute. While MySQL is away, changes fail and known keys go on working. A new key above the limit is refused.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::auth::{KeySecret, MerchantKey};
use crate::base::{Outage, every, now_seconds};
use crate::domain::{KeyId, Mandate, Rights, User};
use crate::mysql::merchant_keys::{self, AddKeyError, KeysSince, NewKey, ReadKey, ValidKey};
use crate::mysql::{DbError, DbPools};

/// Half a second, because every instance must learn of an end within a second.
const READ_EVERY: Duration = Duration::from_millis(500);
/// How often all keys are read again. All are also read after `SILENCE_MAX` without a read: the frequent read covers only rows of
/// the last minute.
const READ_ALL_EVERY: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(20);
const READ_ROWS_MAX: u32 = 10_000;
/// The last use of a key is written at most this often, of up to so many keys at once.
const WRITE_USE_EVERY_SECONDS: u64 = 60;
const USES_BATCH: usize = 1_000;
const ENDED_KEPT_SECONDS: u64 = 30 * 86_400;
const DELETE_ROWS_MAX: u32 = 1_000;

/// A key in force.
#[derive(Debug)]
pub struct KnownKey {
    pub id: KeyId,
    valid: ValidKey,
    /// Seconds since 1970 of the last use, and of the last use written to MySQL. 0 for none.
    used_at: AtomicU64,
    written_at: AtomicU64,
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    #[error("the key is not valid")]
    Unknown,
    #[error("the key has expired")]
    Expired,
}

/// Why no key was made. Nothing has happened, unless the database's error leaves the outcome unknown.
#[derive(Debug, thiserror::Error)]
pub enum MakeKeyError {
    /// The limit of keys of all salers is reached.
    #[error("the limit of keys is reached")]
    Full,
    #[error(transparent)]
    Add(#[from] AddKeyError),
}

pub struct MerchantKeys {
    dbs: DbPools,
    keys_max: usize,
    known: RwLock<KnownKeys>,
}

#[derive(Default)]
struct KnownKeys {
    keys: HashMap<KeyId, Arc<KnownKey>>,
    /// Keys changed here since the last read began. The read may return older values.
    changed: HashSet<KeyId>,
}

/// Times of the last reads of MySQL. Used by the watch task only.
#[derive(Clone, Copy)]
struct KeyReads {
    last: Instant,
    last_all: Instant,
}

impl MerchantKeys {
    /// Empty until [`MerchantKeys::load`]. `keys_max` bounds the keys of all salers.
    pub fn new(dbs: DbPools, keys_max: usize) -> Self {
        Self { dbs, keys_max, known: RwLock::default() }
    }

    /// The key of a text, which is then noted as used.
    ///
    /// # Errors
    /// [`KeyRefusal`]
    pub fn verify(&self, raw: &[u8], now_seconds: u64) -> Result<Arc<KnownKey>, KeyRefusal> {
        let key = MerchantKey::parse(raw).ok_or(KeyRefusal::Unknown)?;
        let known = self.known().keys.get(&key.id).cloned().ok_or(KeyRefusal::Unknown)?;
        // No constant time is needed: nobody can choose the SHA-256 of a secret.
        if known.valid.hash != key.secret.hash() {
            return Err(KeyRefusal::Unknown);
        }
        if known.valid.expires_at.is_some_and(|expires_at| expires_at <= now_seconds) {
            return Err(KeyRefusal::Expired);
        }
        known.used_at.store(now_seconds, Ordering::Relaxed);
        Ok(known)
    }

    pub fn count(&self) -> usize {
        self.known().keys.len()
    }

    /// Makes a key of `saler`. Only the answer has the whole key.
    ///
    /// # Errors
    /// [`MakeKeyError`]
    pub async fn make(
        &self,
        saler: &User,
        name: String,
        rights: Rights,
        expires_at: Option<u64>,
        now_seconds: u64,
    ) -> Result<MerchantKey, MakeKeyError> {
        if self.count() >= self.keys_max {
            return Err(MakeKeyError::Full);
        }
        let secret = KeySecret::random();
        let valid = ValidKey { mandate: Mandate { saler: saler.clone(), rights }, hash: secret.hash(), expires_at };
        let new = NewKey { name, rights, hash: valid.hash, expires_at };
        let id = merchant_keys::add(&self.dbs.users, saler.id, &new, now_seconds).await?;
        let mut known = self.known_mut();
        known.changed.insert(id);
        known.set(id, Some(valid));
        Ok(MerchantKey { id, secret })
    }

    /// Ends a key of `saler`. Returns `false` if the saler has no such key.
    ///
    /// # Errors
    /// [`DbError`]. With an unknown outcome, a retry is safe.
    pub async fn end(&self, saler: &User, id: KeyId, now_seconds: u64) -> Result<bool, DbError> {
        let is_ended = merchant_keys::end(&self.dbs.users, saler.id, id, now_seconds).await?;
        if is_ended {
            let mut known = self.known_mut();
            known.changed.insert(id);
            known.set(id, None);
        }
        Ok(is_ended)
    }

    /// Reads all keys in force and drops the rest. Must succeed before the instance serves requests.
    ///
    /// # Errors
    /// [`DbError`]. The keys in memory stay.
    pub async fn load(&self) -> Result<(), DbError> {
        let all = self.read(KeysSince::Ever).await?;
        let mut known = self.known_mut();
        let ids: HashSet<KeyId> = all.iter().map(|key| key.id).collect();
        let KnownKeys { keys, changed } = &mut *known;
        keys.retain(|id, _| ids.contains(id) || changed.contains(id));
        known.take_over(all);
        Ok(())
    }

    /// Reads twice a second, and writes the last use of keys, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let now = Instant::now();
        let reads = Mutex::new(KeyReads { last: now, last_all: now });
        let outage = Outage::new("keys of merchants: reading and writing");
        every(READ_EVERY, &stop, || async {
            outage.note(self.step(&reads, now_seconds()).await);
        })
        .await;
    }

    async fn step(&self, reads: &Mutex<KeyReads>, now_seconds: u64) -> Result<(), DbError> {
        let began = Instant::now();
        let times = *reads.lock().unwrap_or_else(PoisonError::into_inner);
        if began - times.last_all >= READ_ALL_EVERY || began - times.last >= SILENCE_MAX {
            self.load().await?;
            reads.lock().unwrap_or_else(PoisonError::into_inner).last_all = began;
            let before = now_seconds.saturating_sub(ENDED_KEPT_SECONDS);
            merchant_keys::delete_ended(&self.dbs.control, before, DELETE_ROWS_MAX).await?;
        } else {
            let lately = self.read(KeysSince::Lately).await?;
            self.known_mut().take_over(lately);
        }
        reads.lock().unwrap_or_else(PoisonError::into_inner).last = began;
        self.write_uses(now_seconds).await
    }

    /// Called at the start and by the watch task, never concurrently.
    async fn read(&self, since: KeysSince) -> Result<Vec<ReadKey>, DbError> {
        self.known_mut().changed.clear();
        let mut all: Vec<ReadKey> = Vec::new();
        loop {
            let after = all.last().map_or(KeyId(0), |key| key.id);
            let mut page = merchant_keys::read(&self.dbs.control, since, after, READ_ROWS_MAX).await?;
            let is_last = page.len() < READ_ROWS_MAX as usize;
            all.append(&mut page);
            if is_last || all.len() >= self.keys_max {
                return Ok(all);
            }
        }
    }

    async fn write_uses(&self, now_seconds: u64) -> Result<(), DbError> {
        let is_due = |key: &&Arc<KnownKey>| {
            let (used_at, written_at) = (key.used_at.load(Ordering::Relaxed), key.written_at.load(Ordering::Relaxed));
            used_at > written_at && written_at.saturating_add(WRITE_USE_EVERY_SECONDS) <= now_seconds
        };
        let used: Vec<Arc<KnownKey>> = self.known().keys.values().filter(is_due).take(USES_BATCH).cloned().collect();
        let ids: Vec<KeyId> = used.iter().map(|key| key.id).collect();
        merchant_keys::note_use(&self.dbs.control, &ids, now_seconds).await?;
        used.iter().for_each(|key| key.written_at.store(now_seconds, Ordering::Relaxed));
        Ok(())
    }

    /// A poisoned lock is used anyway: every single change leaves the map consistent.
    fn known(&self) -> RwLockReadGuard<'_, KnownKeys> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, KnownKeys> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownKey {
    pub const fn mandate(&self) -> &Mandate {
        &self.valid.mandate
    }
}

impl KnownKeys {
    fn take_over(&mut self, read: Vec<ReadKey>) {
        for ReadKey { id, valid } in read {
            if !self.changed.contains(&id) {
                self.set(id, valid);
            }
        }
    }

    fn set(&mut self, id: KeyId, valid: Option<ValidKey>) {
        match valid {
            None => drop(self.keys.remove(&id)),
            // A known key keeps the times of its use.
            Some(valid) if self.keys.get(&id).is_some_and(|known| known.valid == valid) => {}
            Some(valid) => {
                let [used_at, written_at] = Default::default();
                self.keys.insert(id, Arc::new(KnownKey { id, valid, used_at, written_at }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Kind, UserId, UserName};
    use crate::mysql::{Db, DbLimits};

    const NOW: u64 = 1_800_000_000;

    /// The database behind it is never asked.
    fn keys(keys_max: usize) -> MerchantKeys {
        let wait = Duration::from_secs(1);
        let limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, limits).expect("it connects to nothing yet");
        MerchantKeys::new(DbPools { users: db.clone(), control: db }, keys_max)
    }

    fn saler() -> User {
        User { id: UserId(7), name: UserName::parse("shop".to_owned()).expect("a name"), kind: Kind::Saler }
    }

    fn key(id: u32, expires_at: Option<u64>) -> (String, ReadKey) {
        let secret = KeySecret::random();
        let mandate = Mandate { saler: saler(), rights: Rights::from_bits(1).expect("a right") };
        let valid = ValidKey { mandate, hash: secret.hash(), expires_at };
        let id = KeyId(id);
        (MerchantKey { id, secret }.to_string(), ReadKey { id, valid: Some(valid) })
    }

    #[test]
    fn a_key_counts_from_its_row_until_its_end() {
        let keys = keys(10);
        let ((first, first_row), (second, second_row)) = (key(1, Some(NOW)), key(2, None));
        keys.known_mut().take_over(vec![first_row, second_row]);
        assert_eq!(keys.verify(first.as_bytes(), NOW - 1).map(|key| key.id).ok(), Some(KeyId(1)));
        assert_eq!(keys.verify(first.as_bytes(), NOW).err(), Some(KeyRefusal::Expired));
        assert!(keys.verify(second.as_bytes(), NOW).is_ok());
        let (other, _) = key(2, None);
        assert_eq!(keys.verify(other.as_bytes(), NOW).err(), Some(KeyRefusal::Unknown), "another secret");
        keys.known_mut().take_over(vec![ReadKey { id: KeyId(2), valid: None }]);
        assert_eq!(keys.verify(second.as_bytes(), NOW).err(), Some(KeyRefusal::Unknown));
        assert_eq!(keys.count(), 1);
    }

    #[test]
    fn a_read_that_began_before_a_change_does_not_undo_the_change() {
        let keys = keys(10);
        let (text, row) = key(1, None);
        let mut known = keys.known_mut();
        known.changed.insert(row.id);
        known.take_over(vec![row.clone()]);
        assert!(known.keys.is_empty(), "the key has ended meanwhile");
        known.changed.clear();
        known.take_over(vec![row.clone()]);
        known.keys[&row.id].used_at.store(NOW, Ordering::Relaxed);
        known.take_over(vec![row.clone()]);
        assert_eq!(known.keys[&row.id].used_at.load(Ordering::Relaxed), NOW, "an unchanged row keeps the last use");
        drop(known);
        assert!(keys.verify(text.as_bytes(), NOW).is_ok());
    }

    #[tokio::test]
    async fn no_saler_gets_a_key_above_the_limit_of_all() {
        let keys = keys(1);
        keys.known_mut().take_over(vec![key(1, None).1]);
        let rights = Rights::from_bits(1).expect("a right");
        let made = keys.make(&saler(), "till".to_owned(), rights, None, NOW).await;
        assert!(matches!(made, Err(MakeKeyError::Full)));
    }
}
