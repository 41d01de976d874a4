//! Blocked users and addresses, on every instance, for a time or for ever.
//!
//! A change by an admin goes to MySQL, then to memory, then the admin gets the answer. An offender is blocked in memory
//! at once, and [`Blacklist::watch`] writes the block to MySQL soon after. Every instance reads news twice a second.
//! While MySQL is away, changes fail and known blocks stay in force until they end. A block above the limit is refused.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::base::{Outage, every, now_seconds};
use crate::domain::{Address, Block, BlockReason, Subject, Until, UserId};
use crate::mysql::blocks::{self, KnownBlock, Listed, Since};
use crate::mysql::{Db, DbError};

/// Half a second, because every instance must learn of a change within a second.
const READ_EVERY: Duration = Duration::from_millis(500);
/// How often all blocks are read again, which drops ended ones. All are also read after `SILENCE_MAX` without a read:
/// the incremental read covers only rows of the last minute.
const READ_ALL_EVERY: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(20);
const READ_ROWS_MAX: u32 = 10_000;
const DELETE_ROWS_MAX: u32 = 1_000;
const DELETES_PER_CLEANING: u32 = 100;
/// Offenders written by a statement, twice a second.
const OFFENDERS_BATCH: usize = 100;

#[derive(Debug, Clone, Copy)]
pub struct BlacklistLimits {
    /// Maximum blocks in force.
    pub blocks_max: usize,
    /// Maximum offenders waiting to be written to MySQL.
    pub offenders_waiting_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The limit of blocks is reached. No state has changed.
    #[error("the blacklist is full")]
    Full,
    #[error(transparent)]
    Db(#[from] DbError),
}

pub struct Blacklist {
    db: Db,
    limits: BlacklistLimits,
    known: RwLock<Untils>,
    /// Counts of `known`, usually 0, so requests skip the lock. Written only under the write lock of `known`.
    users: AtomicUsize,
    addresses: AtomicUsize,
    /// Offenders not in MySQL yet. Refused requests add to the list, the watch task removes from it.
    waiting: Mutex<Vec<(Subject, Block)>>,
    offenders: AtomicU64,
    /// Blocks dropped because the blacklist was full.
    refused: AtomicU64,
}

/// End times of blocks. An ended block stays until the next full read.
#[derive(Default)]
struct Untils {
    of: HashMap<Subject, Until>,
    users: usize,
    /// Subjects changed here since the last read began, and offenders waiting then. The read may return older values.
    changed: HashSet<Subject>,
}

/// Times of the last reads of MySQL. Used by the watch task only.
#[derive(Clone, Copy)]
struct Reads {
    last: Instant,
    last_all: Instant,
}

impl Blacklist {
    /// Empty until [`Blacklist::load`].
    pub fn new(db: Db, limits: BlacklistLimits) -> Self {
        Self {
            db,
            limits,
            known: RwLock::default(),
            users: AtomicUsize::new(0),
            addresses: AtomicUsize::new(0),
            waiting: Mutex::default(),
            offenders: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether `user` is blocked at `now_seconds` (seconds since 1970).
    pub fn blocks_user(&self, user: UserId, now_seconds: u64) -> bool {
        self.users.load(Ordering::Acquire) > 0 && self.blocks(Subject::User(user), now_seconds)
    }

    /// Whether `address` is blocked at `now_seconds` (seconds since 1970).
    pub fn blocks_address(&self, address: Address, now_seconds: u64) -> bool {
        self.has_addresses() && self.blocks(Subject::Address(address), now_seconds)
    }

    pub fn has_addresses(&self) -> bool {
        self.addresses.load(Ordering::Acquire) > 0
    }

    /// The block of `subject` in MySQL, or `None` if no block is in force.
    ///
    /// # Errors
    /// [`DbError`]. Reading changes no state.
    pub async fn find(&self, subject: Subject, now_seconds: u64) -> Result<Option<Block>, DbError> {
        let block = blocks::find(&self.db, subject).await?;
        Ok(block.filter(|block| block.until.holds(now_seconds)))
    }

    /// Blocks in force in MySQL, newest first: up to `rows_max`, after the first `skipped`.
    ///
    /// # Errors
    /// [`DbError`]. Reading changes no state.
    pub async fn list(&self, now_seconds: u64, skipped: u64, rows_max: u64) -> Result<Vec<Listed>, DbError> {
        blocks::list(&self.db, now_seconds, skipped, rows_max).await
    }

    /// Blocks `subject`, replacing any earlier block.
    ///
    /// # Errors
    /// [`BlockError`]. After a database error with unknown outcome, a retry is safe.
    pub async fn block(&self, subject: Subject, block: &Block) -> Result<(), BlockError> {
        if !self.has_room(subject) {
            return Err(BlockError::Full);
        }
        blocks::put(&self.db, subject, block).await?;
        self.change(subject, block.until);
        Ok(())
    }

    /// Ends the block of `subject`. Returns `false` if no block was in force.
    ///
    /// # Errors
    /// [`DbError`]. With an unknown outcome, a retry is safe.
    pub async fn unblock(&self, subject: Subject, now_seconds: u64) -> Result<bool, DbError> {
        let was_stored = blocks::take_away(&self.db, subject, now_seconds).await?;
        let was_waiting = self.waiting().extract_if(.., |(waiting, _)| *waiting == subject).count() > 0;
        self.change(subject, Until::OVER);
        Ok(was_stored || was_waiting)
    }

    /// Blocks an offender for `seconds`: on this instance at once, on all within about a second. Returns without
    /// waiting. Has no effect if too many blocks exist or wait.
    pub fn block_offender(&self, subject: Subject, now_seconds: u64, seconds: u32) {
        let until = Until(Some(now_seconds.saturating_add(seconds.into())));
        let mut waiting = self.waiting();
        if waiting.len() >= self.limits.offenders_waiting_max || !self.has_room(subject) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Two parallel requests of the subject may both have been refused.
        if self.blocks(subject, now_seconds) {
            return;
        }
        let block = Block { until, since: now_seconds, by: String::new(), reason: BlockReason::Offender };
        waiting.push((subject, block));
        self.change(subject, until);
        drop(waiting);
        self.offenders.fetch_add(1, Ordering::Relaxed);
        log::warn!("blacklist: {subject} kept sending after rate refusals; blocked for {seconds} s");
    }

    pub fn count(&self) -> usize {
        self.users.load(Ordering::Acquire) + self.addresses.load(Ordering::Acquire)
    }

    /// Offenders blocked by this instance, and blocks dropped because the list was full.
    pub fn counted(&self) -> (u64, u64) {
        (self.offenders.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Reads all blocks in force and drops the rest. Must succeed before the instance serves requests.
    ///
    /// # Errors
    /// [`DbError`]. The blocks in memory stay.
    pub async fn load(&self, now_seconds: u64) -> Result<(), DbError> {
        let all = self.read(Since::Ever { now_seconds }).await?;
        let mut known = self.known_mut();
        let before = std::mem::take(&mut *known);
        let all = all.into_iter().map(|KnownBlock { subject, until }| (subject, until));
        let changed = before.changed.iter().map(|subject| (*subject, before.until(*subject)));
        for (subject, until) in all.chain(changed) {
            known.set(subject, until);
        }
        self.note_counts(&known);
        Ok(())
    }

    /// Reads and writes MySQL twice a second until `stop`. No other instance blocks the offenders not written by then.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let now = Instant::now();
        let reads = Mutex::new(Reads { last: now, last_all: now });
        let outage = Outage::new("blacklist: reading and writing");
        every(READ_EVERY, &stop, || async {
            outage.note(self.step(&reads, now_seconds()).await);
        })
        .await;
    }

    async fn step(&self, reads: &Mutex<Reads>, now_seconds: u64) -> Result<(), DbError> {
        self.write_offenders().await?;
        let began = Instant::now();
        let times = *reads.lock().unwrap_or_else(PoisonError::into_inner);
        if began - times.last_all >= READ_ALL_EVERY || began - times.last >= SILENCE_MAX {
            self.load(now_seconds).await?;
            // Kept also if the cleaning fails, or every step would read all blocks again.
            reads.lock().unwrap_or_else(PoisonError::into_inner).last_all = began;
            self.clean(now_seconds).await?;
        } else {
            let lately = self.read(Since::Lately).await?;
            self.take_over(&lately);
        }
        reads.lock().unwrap_or_else(PoisonError::into_inner).last = began;
        Ok(())
    }

    /// Deletes ended blocks in bounded batches. The rest is deleted at the next cleaning.
    async fn clean(&self, now_seconds: u64) -> Result<(), DbError> {
        for _ in 0..DELETES_PER_CLEANING {
            let rows = blocks::delete_ended(&self.db, now_seconds, DELETE_ROWS_MAX).await?;
            if rows < DELETE_ROWS_MAX as usize {
                break;
            }
        }
        Ok(())
    }

    /// Writes waiting offenders. Entries stay in the list until the write succeeds, so a failure loses none. Only the
    /// watch task removes entries from the front.
    async fn write_offenders(&self) -> Result<(), DbError> {
        let batch: Vec<_> = self.waiting().iter().take(OFFENDERS_BATCH).cloned().collect();
        blocks::add_offenders(&self.db, &batch).await?;
        self.waiting().retain(|waiting| !batch.contains(waiting));
        Ok(())
    }

    /// Called at the start and by the watch task, never concurrently.
    async fn read(&self, since: Since) -> Result<Vec<KnownBlock>, DbError> {
        self.begin_read();
        let mut page = blocks::read(&self.db, since, None, READ_ROWS_MAX).await?;
        let mut all = page.known;
        while let Some(next) = page.next.filter(|_| all.len() < self.limits.blocks_max) {
            page = blocks::read(&self.db, since, Some(&next), READ_ROWS_MAX).await?;
            all.append(&mut page.known);
        }
        all.truncate(self.limits.blocks_max);
        Ok(all)
    }

    fn begin_read(&self) {
        let waiting = self.waiting();
        self.known_mut().changed = waiting.iter().map(|(subject, _)| *subject).collect();
    }

    fn blocks(&self, subject: Subject, now_seconds: u64) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.of.get(&subject).is_some_and(|until| until.holds(now_seconds))
    }

    fn has_room(&self, subject: Subject) -> bool {
        self.count() < self.limits.blocks_max
            || self.known.read().unwrap_or_else(PoisonError::into_inner).of.contains_key(&subject)
    }

    /// Applies a change made on this instance.
    fn change(&self, subject: Subject, until: Until) {
        let mut known = self.known_mut();
        known.changed.insert(subject);
        self.put(&mut known, subject, until);
        self.note_counts(&known);
    }

    /// Applies rows read from MySQL. Most are known already, so known rows are filtered under the read lock.
    fn take_over(&self, read: &[KnownBlock]) {
        let news: Vec<&KnownBlock> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            read.iter().filter(|read| known.until(read.subject) != read.until).collect()
        };
        if news.is_empty() {
            return;
        }
        let mut known = self.known_mut();
        for KnownBlock { subject, until } in news {
            if !known.changed.contains(subject) {
                self.put(&mut known, *subject, *until);
            }
        }
        self.note_counts(&known);
    }

    fn put(&self, known: &mut Untils, subject: Subject, until: Until) {
        let has_room = known.of.len() < self.limits.blocks_max || known.of.contains_key(&subject);
        if has_room || until == Until::OVER {
            known.set(subject, until);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_counts(&self, known: &Untils) {
        self.users.store(known.users, Ordering::Release);
        self.addresses.store(known.of.len() - known.users, Ordering::Release);
    }

    /// A poisoned lock is used anyway: every single change leaves the map consistent.
    fn known_mut(&self) -> RwLockWriteGuard<'_, Untils> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Subject, Block)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Untils {
    fn until(&self, subject: Subject) -> Until {
        self.of.get(&subject).copied().unwrap_or(Until::OVER)
    }

    fn set(&mut self, subject: Subject, until: Until) {
        let user = usize::from(matches!(subject, Subject::User(_)));
        let before = self.of.remove(&subject).map_or(0, |_| user);
        let after = if until == Until::OVER { 0 } else { user };
        if until != Until::OVER {
            self.of.insert(subject, until);
        }
        self.users = self.users - before + after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql as db;

    const NOW: u64 = 1_700_000_000;
    const MALLORY: UserId = UserId(1);

    #[test]
    fn a_read_that_began_before_a_change_does_not_undo_it() {
        let wait = Duration::from_secs(1);
        let db_limits = db::DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, db_limits).expect("it connects to nothing yet");
        let blacklist = Blacklist::new(db, BlacklistLimits { blocks_max: 10, offenders_waiting_max: 2 });
        let (subject, for_ever) = (Subject::User(MALLORY), Until(None));
        let read = |until| blacklist.take_over(&[KnownBlock { subject, until }]);

        blacklist.begin_read();
        blacklist.change(subject, for_ever);
        read(Until::OVER);
        assert!(blacklist.blocks_user(MALLORY, NOW), "he was let in before he was blocked again");
        blacklist.begin_read();
        read(for_ever);
        assert!(blacklist.blocks_user(MALLORY, NOW));

        blacklist.begin_read();
        blacklist.change(subject, Until::OVER);
        read(for_ever);
        assert!(!blacklist.blocks_user(MALLORY, NOW), "he was blocked before he was let in");
        blacklist.begin_read();
        read(for_ever);
        assert!(blacklist.blocks_user(MALLORY, NOW), "another instance has blocked him since");

        blacklist.change(subject, Until::OVER);
        blacklist.block_offender(subject, NOW, 60);
        blacklist.begin_read();
        read(Until::OVER);
        assert!(blacklist.blocks_user(MALLORY, NOW), "what is not written yet cannot be read");
        assert_eq!(blacklist.count(), 1);
    }
}
