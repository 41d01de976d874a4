//! The receiving side of the ledger: a task that stores claims in MySQL and sweeps the outbox.
//!
//! The task has one connection to MySQL and one batch at a time. A batch is retried without a limit, so an answered
//! claim is kept however long MySQL is down. Any error closes the connection, which rolls back the transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::unfinished::Unfinished;
use super::{Handed, Ledger, LedgerState};
use crate::base::Outage;
use crate::domain::{Claim, EntryId, Epoch, ShardId};
use crate::mysql::claims::{self, StoreOutcome};
use crate::mysql::instances::BeatLog;
use crate::mysql::ledgers::Fence;
use crate::mysql::shard_statements::ShardStatements;
use crate::mysql::{Db, DbConnection, DbError, within};
use crate::redis::{
    DoneEntry, Head, KvError, Live, Outbox, OutboxEntry, Pool, ReadTo, Sightings, broken, split_unreadable,
};

/// Longest wait for a connection to Redis. Storing claims must not wait long for a Redis that does not answer.
const POOL_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub struct PersisterSettings {
    pub shard: ShardId,
    /// Maximum claims of a transaction.
    pub batch_max: usize,
    /// Maximum time to wait for more claims before storing a batch.
    pub linger_max: Duration,
    /// Timeout of a transaction. Afterwards the connection is closed and the transaction is retried.
    pub store_wait: Duration,
    /// First and last pause before a retry. The pause doubles after every failure, and has jitter.
    pub pauses: (Duration, Duration),
    /// Interval of sweeps.
    pub sweep_every: Duration,
    /// How long this process has seen an entry before it is swept.
    pub sweep_age: Duration,
    /// Maximum batches of a sweep, so the channel is served in between.
    pub sweep_batches_max: usize,
}

/// Stores claims until the channel is closed and empty.
pub struct Persister {
    db: Db,
    statements: Arc<ShardStatements>,
    pool: Pool,
    outbox: Outbox,
    fence: Arc<Fence>,
    pub(super) state: Arc<LedgerState>,
    pub(super) settings: PersisterSettings,
    pub(super) abandon: CancellationToken,
    pub(super) outage: Outage,
    /// The connection, and the time of its last use.
    pub(super) connection: Option<(DbConnection, Instant)>,
    /// The duration of the last transaction.
    took: Duration,
    /// Beats of other instances, to leave alone what is in the hands of the living.
    beats: BeatLog,
    /// How long entries have been in the outbox.
    sightings: Sightings,
    unfinished: Unfinished,
    /// Claims granted before the shard was rebuilt. They wait until the shard is live. Later claims do not wait.
    late: Vec<Claim>,
}

/// A stop gave up a batch. Its claims are in the outbox.
pub(super) struct Abandoned;

impl Persister {
    pub fn new(
        statements: Arc<ShardStatements>,
        pool: Pool,
        outbox: Outbox,
        fence: Arc<Fence>,
        ledger: &Ledger,
        settings: PersisterSettings,
    ) -> Self {
        Self {
            db: statements.db().clone(),
            statements,
            pool,
            outbox,
            fence,
            state: Arc::clone(ledger.state()),
            settings,
            abandon: CancellationToken::new(),
            outage: Outage::alarming("ledger: storing claims"),
            connection: None,
            took: Duration::ZERO,
            beats: BeatLog::default(),
            sightings: Sightings::default(),
            unfinished: Unfinished::default(),
            late: Vec::new(),
        }
    }

    /// Cancelled by a stop that no longer waits for the remaining claims. Their entries stay in the outbox.
    pub fn abandon(&self) -> &CancellationToken {
        &self.abandon
    }

    /// Runs until the channel is closed and empty, or until `abandon`. Returns the number of claims left in the outbox.
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
            // Set before the sweep. A sweep must not take claims of this batch or of the channel.
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

    /// Waits for more claims, because a commit costs the same for ten claims as for a thousand. The wait is as long as
    /// the last transaction, at most `linger_max`. So MySQL works half of the time while it keeps up. A quiet system
    /// has small batches, so no transaction occupies the CPU for long. A rush or a slow disk makes large batches.
    async fn linger(&mut self, channel: &mut Receiver<Handed>, batch: &mut Vec<Handed>, close: &CancellationToken) {
        if batch.len() >= self.settings.batch_max || channel.is_closed() {
            return;
        }
        close.run_until_cancelled(tokio::time::sleep(self.took.min(self.settings.linger_max))).await;
        while batch.len() < self.settings.batch_max
            && let Ok(claim) = channel.try_recv()
        {
            batch.push(claim);
        }
    }

    /// Stores a batch from the channel, and deletes its entries from the outbox.
    async fn settle(&mut self, batch: &[Handed]) -> Result<(), Abandoned> {
        // Around a rebuild a batch may have two epochs, otherwise one.
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

    /// Sets late claims aside until the shard is live. `counted` is the number of claims already counted as accepted.
    fn set_aside(&mut self, claims: &[Claim], counted: u64) {
        log::warn!("ledger: {} claims of an earlier epoch wait until the rebuild is complete", claims.len());
        self.state.waiters.tell_not_stored(claims);
        self.late.extend_from_slice(claims);
        self.state.accepted.fetch_add(claims.len() as u64 - counted, Ordering::SeqCst);
        self.state.late.store(self.late.len() as u64, Ordering::SeqCst);
    }

    /// Settles late claims while the shard is live. With `all`, waits until no late claim is left.
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
                let pause = tokio::time::sleep(self.settings.sweep_every);
                self.abandon.run_until_cancelled(pause).await.ok_or(Abandoned)?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Stores old outbox entries that no living instance holds.
    async fn sweep(&mut self) -> Result<(), Abandoned> {
        // Set before `live` is read. Recovery clears `live` before it checks this flag. So recovery waits for a sweep
        // under way, or the sweep reads nothing.
        self.state.sweeping.store(true, Ordering::SeqCst);
        let result = self.sweep_head().await;
        self.state.sweeping.store(false, Ordering::SeqCst);
        result
    }

    async fn sweep_head(&mut self) -> Result<(), Abandoned> {
        let Some(live) = self.state.live.load_full() else { return Ok(()) };
        let below = match self.statements.others(self.settings.shard).await {
            Ok((others, read_at)) => {
                let now = Instant::now();
                self.beats.read(&others, read_at);
                self.beats.oldest_held(&others, now).into_iter().chain(self.state.oldest()).min()
            }
            Err(error) => {
                log::debug!("ledger: sweep skipped: {error}");
                return Ok(());
            }
        };
        for _ in 0..self.settings.sweep_batches_max {
            let (entries, more) = match self.head(&live, below).await {
                Ok(Head::Entries { entries, more, .. }) => (entries, more),
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
        let (calls, settings) = (self.pool.get_within(POOL_WAIT).await?, &self.settings);
        // Without an old entry the read finds none, but tells where the outbox ends.
        let old = self.sightings.seen_for(live.as_str(), settings.sweep_age, Instant::now()).unwrap_or_default();
        let to = match below {
            Some(below) if below <= old => ReadTo::Before(below),
            _ => ReadTo::Through(old),
        };
        let head = self.outbox.head(&calls, live.as_str(), live.epoch, to, settings.batch_max).await?;
        if let Head::Entries { last, .. } = &head {
            self.sightings.note(live.as_str(), *last, Instant::now());
        }
        Ok(head)
    }

    async fn store_entries(&mut self, epoch: Epoch, entries: &[OutboxEntry]) -> Result<(), Abandoned> {
        let claims = crate::redis::claims(entries);
        log::info!("ledger: sweeping {} claims from the outbox", claims.len());
        crate::base::crash::point("swept-read");
        if !claims.is_empty() && !self.store(epoch, &claims).await? {
            // Redis may have lost the entries since the read, so the claims must be kept here.
            self.set_aside(&claims, 0);
            return Ok(());
        }
        let (mut unread, mut done) = split_unreadable(entries);
        for (entry, text) in broken(entries) {
            log::error!("ledger: ALARM: outbox entry {entry} cannot be read: {text:?}");
            if !self.state.has_newest_format() {
                self.poison(entry, text, "not a claim").await?;
            }
        }
        if !self.state.has_newest_format() {
            done.append(&mut unread);
        }
        self.move_unread(epoch, &unread).await;
        self.delete(epoch, &done).await;
        Ok(())
    }

    /// Runs the transaction once.
    pub(super) async fn try_store(&mut self, epoch: Epoch, claims: &[Claim]) -> Result<StoreOutcome, DbError> {
        let (fence, wait) = (Arc::clone(&self.fence), self.settings.store_wait);
        let began = Instant::now();
        let connection = self.connect().await?;
        let stored = within("store claims", wait, claims::store(connection, &fence, epoch, claims)).await?;
        self.took = began.elapsed();
        self.state.batches.claims.note(claims.len() as u64);
        self.state.batches.times.note_time(self.took);
        Ok(stored)
    }

    pub(super) async fn connect(&mut self) -> Result<&mut DbConnection, DbError> {
        // MySQL closes a connection that is idle for longer. A closed idle connection is not a failure.
        self.connection.take_if(|(_, used)| used.elapsed() > claims::IDLE_WAIT / 2);
        if self.connection.is_none() {
            let mut connection = self.db.connect_alone().await?;
            within("prepare", self.settings.store_wait, claims::prepare(&mut connection)).await?;
            self.connection = Some((connection, Instant::now()));
        }
        let (connection, used) = self.connection.as_mut().expect("connected above");
        *used = Instant::now();
        Ok(connection)
    }

    /// Moves entries that cannot be read to the stream `unread`. After an error the next sweep moves them.
    async fn move_unread(&mut self, epoch: Epoch, entries: &[DoneEntry]) {
        let live = self.state.live.load_full();
        let Some(live) = live.filter(|live| live.epoch == epoch && !entries.is_empty()) else { return };
        let (pool, outbox) = (&self.pool, &self.outbox);
        let moved =
            async { outbox.move_unread(&*pool.get_within(POOL_WAIT).await?, live.as_str(), epoch, entries).await };
        if let Err(error) = moved.await {
            log::debug!("ledger: {} entries that cannot be read are left to the next sweep: {error}", entries.len());
        }
    }

    /// Deletes entries that MySQL has. After an error the sweep deletes the entries.
    async fn delete(&mut self, epoch: Epoch, entries: &[DoneEntry]) {
        let live = self.state.live.load_full();
        let Some(live) = live.filter(|live| live.epoch == epoch) else { return };
        let (pool, outbox, committed) = (&self.pool, &self.outbox, self.fence.committed());
        let deleted =
            async { outbox.delete(&*pool.get_within(POOL_WAIT).await?, live.as_str(), committed, entries).await };
        if let Err(error) = deleted.await {
            log::debug!("ledger: {} outbox entries left to the sweep: {error}", entries.len());
        }
    }
}

/// The lowest entry of a batch, and when the first claim of the batch was handed over.
fn oldest(batch: &[Handed]) -> Option<(EntryId, Instant)> {
    batch.iter().map(|handed| handed.claim.entry).min().zip(batch.iter().map(|handed| handed.at).min())
}

fn claims_of(batch: &[Handed]) -> Vec<Claim> {
    batch.iter().map(|handed| handed.claim).collect()
}
