//! The far end of the channel: one task that stores claims and sweeps the outbox.
//!
//! One connection to MySQL, one batch at a time. A batch is repeated until it is stored, for ever: what is answered is
//! kept, however long MySQL is away. Whatever goes wrong with a connection, it is closed, which also rolls back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::unfinished::Unfinished;
use super::{Handed, Ledger, LedgerState};
use crate::base::Outage;
use crate::domain::{Claim, EntryId, Epoch};
use crate::mysql::claims::{self, StoreOutcome};
use crate::mysql::{Db, DbConnection, DbError, instances, within};
use crate::redis::{DoneEntry, Head, KvError, Live, Outbox, OutboxEntry, Pool, broken};

/// The persister's bounds.
#[derive(Debug, Clone)]
pub struct PersisterSettings {
    /// The shard, as `shards` names it.
    pub shard: &'static str,
    /// This instance, as `instances` names it.
    pub instance: String,
    /// Claims of one transaction at most.
    pub batch_max: usize,
    /// How long a batch that is not full waits for more claims at most.
    pub linger_max: Duration,
    /// How long a transaction may take before its connection is closed and it is repeated.
    pub store_wait: Duration,
    /// The pause before repeating: the first and the last, doubled each time, with jitter.
    pub pauses: (Duration, Duration),
    /// How often the outbox is swept.
    pub sweep_every: Duration,
    /// How old an entry must be to be swept.
    pub sweep_age: Duration,
    /// Batches of one sweep at most, so that the channel is served between.
    pub sweep_batches_max: usize,
}

/// Stores claims until the channel is closed and empty.
pub struct Persister {
    db: Db,
    pool: Pool,
    outbox: Outbox,
    state: Arc<LedgerState>,
    settings: PersisterSettings,
    abandon: CancellationToken,
    outage: Outage,
    /// The connection and when it was last used.
    connection: Option<(DbConnection, Instant)>,
    /// The duration of the last transaction.
    took: Duration,
    unfinished: Unfinished,
    /// Claims made before the shard was rebuilt. They wait until it is live again. Later claims do not wait for them.
    late: Vec<Claim>,
}

/// A batch was given up because nobody waits for it any more; its claims are in the outbox.
struct Abandoned;

impl Persister {
    /// A persister that has stored nothing yet.
    pub fn new(db: Db, pool: Pool, outbox: Outbox, ledger: &Ledger, settings: PersisterSettings) -> Self {
        Self {
            db,
            pool,
            outbox,
            state: Arc::clone(ledger.state()),
            settings,
            abandon: CancellationToken::new(),
            outage: Outage::new("ledger: storing claims"),
            connection: None,
            took: Duration::ZERO,
            unfinished: Unfinished::default(),
            late: Vec::new(),
        }
    }

    /// Cancelled by a stop that no longer waits for the claims that are left. Their entries stay in the outbox.
    pub fn abandon(&self) -> &CancellationToken {
        &self.abandon
    }

    /// Runs until the channel is closed and empty, or until `abandon`. Returns how many claims it leaves in the outbox.
    pub async fn run(mut self, mut channel: Receiver<Handed>, close: CancellationToken) -> usize {
        let mut batch = Vec::with_capacity(self.settings.batch_max);
        let mut next_sweep = Instant::now() + self.settings.sweep_every;
        loop {
            if channel.is_closed() && channel.is_empty() && self.settle_late(true).await.is_err() {
                return channel.len() + self.late.len();
            }
            tokio::select! {
                biased;
                () = close.cancelled(), if !channel.is_closed() => {
                    channel.close();
                    continue;
                }
                received = channel.recv_many(&mut batch, self.settings.batch_max) => {
                    if received == 0 {
                        return 0;
                    }
                    self.state.set_oldest(oldest(&batch));
                    self.linger(&mut channel, &mut batch, &close).await;
                }
                () = tokio::time::sleep_until(next_sweep.into()), if !channel.is_closed() => {}
            }
            // Before the sweep, which may not take what this batch or the channel behind it holds.
            self.state.set_oldest(oldest(&batch));
            let mut result = Ok(());
            if Instant::now() >= next_sweep && !channel.is_closed() {
                result = self.settle_late(false).await;
                if result.is_ok() {
                    result = self.sweep().await;
                }
                next_sweep = Instant::now() + self.settings.sweep_every;
            }
            if result.is_ok() {
                result = self.settle(&batch).await;
            }
            if result.is_err() {
                return batch.len() + channel.len() + self.late.len();
            }
            batch.clear();
            self.state.set_oldest(None);
        }
    }

    /// Waits a little for a fuller batch: a commit costs as much for ten claims as for a thousand. As long as the last one took,
    /// so that MySQL works half of the time while it keeps up: small batches while there is little to do, which take the
    /// processor from nobody for long, and large ones in a rush or where a disk is slow.
    async fn linger(&mut self, channel: &mut Receiver<Handed>, batch: &mut Vec<Handed>, close: &CancellationToken) {
        if batch.len() >= self.settings.batch_max || channel.is_closed() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(self.took.min(self.settings.linger_max)) => {}
            () = close.cancelled() => {}
        }
        while batch.len() < self.settings.batch_max
            && let Ok(claim) = channel.try_recv()
        {
            batch.push(claim);
        }
    }

    /// Stores a batch from the channel and deletes its entries from the outbox.
    async fn settle(&mut self, batch: &[Handed]) -> Result<(), Abandoned> {
        // Almost always one epoch; around a rebuild there may be two.
        for handed in batch.chunk_by(|a, b| a.claim.epoch == b.claim.epoch) {
            let (epoch, claims) = (handed[0].claim.epoch, claims_of(handed));
            if self.store(epoch, &claims).await? {
                let done = self.unfinished.note(handed);
                self.delete(epoch, &done).await;
                self.state.settled.fetch_add(claims.len() as u64, Ordering::SeqCst);
            } else {
                self.set_aside(&claims, claims.len() as u64);
            }
        }
        Ok(())
    }

    /// Keeps claims for which the shard must be live first. `counted`: how many of them are counted as accepted.
    fn set_aside(&mut self, claims: &[Claim], counted: u64) {
        log::warn!("ledger: {} claims are of an earlier loading; they wait until this one is complete", claims.len());
        self.late.extend_from_slice(claims);
        self.state.accepted.fetch_add(claims.len() as u64 - counted, Ordering::SeqCst);
        self.state.late.store(self.late.len() as u64, Ordering::SeqCst);
    }

    /// Settles late claims as far as the shard is live; until none is left where `all` of them must be.
    async fn settle_late(&mut self, all: bool) -> Result<(), Abandoned> {
        while let Some(first) = self.late.first() {
            let epoch = first.epoch;
            let count = self.late.iter().take(self.settings.batch_max).take_while(|claim| claim.epoch == epoch).count();
            let claims = self.late[..count].to_vec();
            if self.store(epoch, &claims).await? {
                self.late.drain(..count);
                self.state.late.store(self.late.len() as u64, Ordering::SeqCst);
                self.state.settled.fetch_add(count as u64, Ordering::SeqCst);
            } else if all {
                tokio::select! {
                    () = tokio::time::sleep(self.settings.sweep_every) => {}
                    () = self.abandon.cancelled() => return Err(Abandoned),
                }
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Stores what no channel brings: entries that are old, and below what any living instance has in its hands.
    async fn sweep(&mut self) -> Result<(), Abandoned> {
        // Said before `live` is looked at, and recovery takes that away before it asks: either it waits for what is read
        // here, or nothing is read.
        self.state.sweeping.store(true, Ordering::SeqCst);
        let result = self.sweep_head().await;
        self.state.sweeping.store(false, Ordering::SeqCst);
        result
    }

    async fn sweep_head(&mut self) -> Result<(), Abandoned> {
        let Some(live) = self.state.live.load_full() else { return Ok(()) };
        let below = match instances::oldest_entries(&self.db, &self.settings.instance).await {
            Ok(others) => others.into_iter().chain(self.state.oldest()).min(),
            Err(error) => {
                log::debug!("ledger: sweep skipped: {error}");
                return Ok(());
            }
        };
        for _ in 0..self.settings.sweep_batches_max {
            let (entries, more) = match self.head(&live, below).await {
                Ok(Head::Entries { entries, more }) => (entries, more),
                Ok(Head::NotMine | Head::NotLoaded) => return Ok(()),
                Err(error) => {
                    log::debug!("ledger: sweep skipped: {error}");
                    return Ok(());
                }
            };
            if entries.is_empty() {
                return Ok(());
            }
            self.store_entries(live.epoch, &entries).await?;
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn head(&mut self, live: &Live, below: Option<EntryId>) -> Result<Head, KvError> {
        let (loading, settings) = ((live.as_str(), live.epoch), &self.settings);
        let calls = self.pool.get().await?;
        self.outbox.head(&calls, loading, settings.sweep_age, below, settings.batch_max).await
    }

    async fn store_entries(&mut self, epoch: Epoch, entries: &[OutboxEntry]) -> Result<(), Abandoned> {
        let claims = crate::redis::claims(entries);
        log::info!("ledger: sweeping {} claims, some of which no channel brought", claims.len());
        crate::base::crash::point("swept-read");
        if !claims.is_empty() && !self.store(epoch, &claims).await? {
            // Redis may have lost them since: they are in these hands alone.
            self.set_aside(&claims, 0);
            return Ok(());
        }
        for (entry, text) in broken(entries) {
            self.poison(entry, text).await?;
        }
        let done: Vec<DoneEntry> = entries.iter().map(OutboxEntry::done).collect();
        self.delete(epoch, &done).await;
        Ok(())
    }

    /// Repeats the transaction until it is committed. `false`: it cannot be yet, because the claims are late.
    async fn store(&mut self, epoch: Epoch, claims: &[Claim]) -> Result<bool, Abandoned> {
        let mut pause = self.settings.pauses.0;
        let abandon = self.abandon.clone();
        loop {
            let attempt = tokio::select! {
                attempt = self.try_store(epoch, claims) => attempt,
                () = abandon.cancelled() => return Err(Abandoned),
            };
            match attempt {
                Ok(StoreOutcome::Done(outcome)) => {
                    self.state.stored.fetch_add(outcome.inserted as u64, Ordering::Relaxed);
                    self.state.poisoned.fetch_add(outcome.poisoned.len() as u64, Ordering::Relaxed);
                    if !outcome.poisoned.is_empty() {
                        self.state.contradicted.fetch_max(epoch.0, Ordering::SeqCst);
                    }
                    for claim in &outcome.poisoned {
                        log::error!(
                            "ledger: ALARM: claim {} poisoned, poisoned_claims says why: {claim:?}",
                            claim.entry
                        );
                    }
                    self.outage.end();
                    return Ok(true);
                }
                Ok(StoreOutcome::Late) => return Ok(false),
                Err(error) => {
                    self.connection = None;
                    self.state.failures.fetch_add(1, Ordering::Relaxed);
                    self.outage.begin(&error);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                () = self.abandon.cancelled() => return Err(Abandoned),
            }
            pause = (pause * 2).min(self.settings.pauses.1);
        }
    }

    async fn try_store(&mut self, epoch: Epoch, claims: &[Claim]) -> Result<StoreOutcome, DbError> {
        let (shard, wait) = (self.settings.shard, self.settings.store_wait);
        let began = Instant::now();
        let connection = self.connect().await?;
        let stored = within("store claims", wait, claims::store(connection, shard, epoch, claims)).await?;
        self.took = began.elapsed();
        self.state.batches.claims.note(claims.len() as u64);
        self.state.batches.times.note_time(self.took);
        Ok(stored)
    }

    /// Notes an entry that is not a claim; nothing behind it waits.
    async fn poison(&mut self, entry: EntryId, text: &str) -> Result<(), Abandoned> {
        log::error!("ledger: ALARM: outbox entry {entry} is not a claim: {text:?}");
        let mut pause = self.settings.pauses.0;
        loop {
            let wait = self.settings.store_wait;
            let result = match self.connect().await {
                Ok(connection) => within("poison", wait, claims::poison(connection, entry, text, "not a claim")).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else {
                self.state.poisoned.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            };
            self.outage.begin(&error);
            self.connection = None;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.abandon.cancelled() => return Err(Abandoned),
            }
            pause = (pause * 2).min(self.settings.pauses.1);
        }
    }

    async fn connect(&mut self) -> Result<&mut DbConnection, DbError> {
        // MySQL hangs up on it when it is idle for longer, which is not a failure.
        self.connection.take_if(|(_, used)| used.elapsed() > claims::IDLE_WAIT / 2);
        if self.connection.is_none() {
            let mut connection = self.db.connect_alone().await?;
            within("prepare", self.settings.store_wait, claims::prepare(&mut connection)).await?;
            self.connection = Some((connection, Instant::now()));
        }
        let (connection, used) = self.connection.as_mut().expect("it was put there a line above");
        *used = Instant::now();
        Ok(connection)
    }

    /// Deletes entries that MySQL has; what fails here is left to the sweep.
    async fn delete(&mut self, epoch: Epoch, entries: &[DoneEntry]) {
        let live = self.state.live.load_full();
        let Some(live) = live.filter(|live| live.epoch == epoch) else { return };
        let (pool, outbox) = (&self.pool, &self.outbox);
        let deleted = async { outbox.delete(&*pool.get().await?, live.as_str(), entries).await };
        if let Err(error) = deleted.await {
            log::debug!("ledger: {} outbox entries left to the sweep: {error}", entries.len());
        }
    }
}

fn oldest(batch: &[Handed]) -> Option<EntryId> {
    batch.iter().map(|handed| handed.claim.entry).min()
}

fn claims_of(batch: &[Handed]) -> Vec<Claim> {
    batch.iter().map(|handed| handed.claim).collect()
}
