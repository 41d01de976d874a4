//! Networks that know a name: those from which its user has logged in within 30 days.
//!
//! A login is noted in memory, and [`KnownNetworks::watch`] writes it to MySQL within seconds. Nobody waits for the write. The
//! networks of a name are read only when a limit of failed logins refuses the name, so logins usually cost no read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::{future, sync};
use tokio_util::sync::CancellationToken;

use super::few_reads::{FewReads, ReadCounts, ReadLimits};
use crate::base::{Outage, every, now_seconds};
use crate::domain::{Address, User, UserName};
use crate::mysql::known_networks::{self, SeenNetwork};
use crate::mysql::{DbError, DbPools};

/// How long a network knows a name after a login.
const KNOWN_SECONDS: u64 = 30 * 86_400;
/// Names in the cache, about 500 bytes each.
const NAMES_MAX: u64 = 10_000;
/// Lifetime of a cached name. Logins at other instances are known after this time.
const NAME_AGE: Duration = Duration::from_secs(60);
/// Bounds of the reads. Whoever logs in waits meanwhile. Other users of the pool keep most of its connections.
const READ_LIMITS: ReadLimits = ReadLimits { turns: 4, places: 2_000, wait: Duration::from_millis(500) };
/// Users with a network that need not be noted again, about 200 bytes each, and for how long.
const NOTED_MAX: u64 = 100_000;
const NOTED_AGE: Duration = Duration::from_secs(86_400);
/// Logins that wait to be written. A login above the limit is not noted. The next one of the user is.
const WAITING_MAX: usize = 10_000;
const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITTEN_ROWS_MAX: usize = 500;
const CLEAN_EVERY: Duration = Duration::from_secs(3_600);
const DELETE_ROWS_MAX: u32 = 1_000;
const DELETES_PER_CLEANING: u32 = 100;

pub struct KnownNetworks {
    dbs: DbPools,
    by_name: future::Cache<String, Arc<[Address]>>,
    reads: FewReads,
    /// Logins at this instance.
    noted: sync::Cache<(UserName, Address), ()>,
    /// Logins add to the end, the watch task removes from the front.
    waiting: Mutex<VecDeque<(UserName, SeenNetwork)>>,
    dropped: AtomicU64,
}

/// Logins that wait to be written, logins that were not noted, and reads so far.
#[derive(Debug, Clone, Copy)]
pub struct KnownNetworkFigures {
    pub waiting: usize,
    pub dropped: u64,
    pub reads: ReadCounts,
}

impl KnownNetworks {
    pub fn new(dbs: DbPools) -> Self {
        Self {
            dbs,
            by_name: future::Cache::builder().max_capacity(NAMES_MAX).time_to_live(NAME_AGE).build(),
            reads: FewReads::new("known networks: reading", READ_LIMITS),
            noted: sync::Cache::builder().max_capacity(NOTED_MAX).time_to_live(NOTED_AGE).build(),
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Whether the user called `name` has logged in from `network` within 30 days. `false` if MySQL does not answer in time.
    /// Simultaneous questions about a name share a query. A login may still wait to be written, so memory is asked first.
    pub async fn knows(&self, name: &UserName, network: Address, now_seconds: u64) -> bool {
        if self.has_noted(name, network) {
            return true;
        }
        let query = known_networks::of_name(&self.dbs.users, name, now_seconds.saturating_sub(KNOWN_SECONDS));
        let read = async { self.reads.read(query).await.map(Arc::from) };
        let networks = Box::pin(self.by_name.try_get_with_by_ref(name.as_str(), read)).await;
        networks.is_ok_and(|networks: Arc<[Address]>| networks.contains(&network))
    }

    /// Whether the user called `name` has logged in from `network` at this instance within a day, as far as memory knows.
    pub fn has_noted(&self, name: &UserName, network: Address) -> bool {
        self.noted.contains_key(&(name.clone(), network))
    }

    /// Notes a login.
    pub fn note(&self, user: &User, network: Address, now_seconds: u64) {
        if self.has_noted(&user.name, network) {
            return;
        }
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push_back((user.name.clone(), SeenNetwork { user: user.id, network, seen_at: now_seconds }));
        self.noted.insert((user.name.clone(), network), ());
    }

    /// Writes noted logins every second, and deletes old ones every hour, until `stop`. Logins not written by then are lost.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let (written, cleaned) =
            (Outage::new("known networks: writing"), Outage::new("known networks: deleting old ones"));
        tokio::join!(
            every(WRITE_EVERY, &stop, || async { _ = written.note(self.write().await) }),
            every(CLEAN_EVERY, &stop, || async { _ = cleaned.note(self.clean(now_seconds()).await) }),
        );
    }

    /// Writes all logins that wait.
    async fn write(&self) -> Result<(), DbError> {
        loop {
            let batch: Vec<_> = self.waiting().iter().take(WRITTEN_ROWS_MAX).cloned().collect();
            if batch.is_empty() {
                return Ok(());
            }
            let mut rows: Vec<SeenNetwork> = batch.iter().map(|(_, seen)| *seen).collect();
            // Instances write in one order, so that none waits for a row of another one that waits for its own.
            rows.sort_unstable();
            known_networks::note(&self.dbs.control, &rows).await?;
            self.waiting().drain(..batch.len());
            for (name, _) in &batch {
                self.by_name.invalidate(name.as_str()).await;
            }
        }
    }

    /// Deletes rows that count no more, in bounded batches. The rest is deleted at the next cleaning.
    async fn clean(&self, now_seconds: u64) -> Result<(), DbError> {
        let before = now_seconds.saturating_sub(KNOWN_SECONDS);
        for _ in 0..DELETES_PER_CLEANING {
            let rows = known_networks::delete_before(&self.dbs.control, before, DELETE_ROWS_MAX).await?;
            if rows < DELETE_ROWS_MAX as usize {
                break;
            }
        }
        Ok(())
    }

    pub fn figures(&self) -> KnownNetworkFigures {
        let (waiting, dropped) = (self.waiting().len(), self.dropped.load(Ordering::Relaxed));
        KnownNetworkFigures { waiting, dropped, reads: self.reads.counts() }
    }

    /// A poisoned lock is used anyway: every single change leaves the list consistent.
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(UserName, SeenNetwork)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
