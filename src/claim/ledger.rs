//! The ledger stores answered claims in MySQL, each exactly once.
//!
//! A claim reaches the ledger in two ways. The channel brings claims from handlers. A handler reserves a [`Slot`]
//! before the call to Redis, so handing a claim over can neither fail nor wait. The outbox in Redis holds every claim.
//! The sweep reads from the outbox the claims of dropped handlers and dead instances, which never entered the channel.
//!
//! Every handler writes to the channel. The single persister task reads. The channel is as long as the outbox may grow,
//! so every claim answered by this process stays in memory until MySQL has stored it. Reserved slots can still be
//! filled after the channel is closed. The persister ends when all are filled or dropped.
//!
//! The gate is unknown to this module. [`Ledger::trust`] sets the epoch under which entries are swept and deleted.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use tokio::sync::mpsc;

use super::Waiters;
use crate::base::Histogram;
use crate::domain::{Claim, CouponId, EntryId, Epoch, Format, Seq};
use crate::redis::Live;

/// Maximum vouched claims remembered, so that repeated requests do not fill the channel.
const VOUCHED_MAX: u64 = 100_000;
/// How long a vouched claim is remembered.
const VOUCHED_AGE: Duration = Duration::from_secs(10);

/// The sending side of the ledger. Clones share the channel.
#[derive(Clone)]
pub struct Ledger {
    channel: mpsc::Sender<Handed>,
    vouched: Cache<(CouponId, Seq), ()>,
    state: Arc<LedgerState>,
}

/// A claim in the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    pub(super) claim: Claim,
    pub(super) entry_claims: u8,
    /// When the claim was handed over.
    pub(super) at: Instant,
}

/// A reserved place in the channel, held until filled or dropped.
pub struct Slot<'a> {
    permit: mpsc::Permit<'a, Handed>,
    state: &'a LedgerState,
}

/// No place in the channel. No state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger's channel is full or closed")]
pub struct NoSlot;

/// The state shared by both sides of the ledger.
#[derive(Default)]
pub struct LedgerState {
    /// The process and epoch under which outbox entries may be deleted and swept.
    pub(super) live: ArcSwapOption<Live>,
    /// The format of the shard.
    pub(super) format: AtomicU8,
    /// The lowest entry held by the persister, and when the first of its claims was handed over.
    pub(super) oldest: Mutex<Option<(EntryId, Instant)>>,
    /// Claims put into slots. The channel's length would exclude the batch that the persister is storing.
    pub(super) accepted: AtomicU64,
    /// Claims from slots that were stored or poisoned.
    pub(super) settled: AtomicU64,
    /// Claims held by the persister until after a rebuild. A rebuild must not wait for these.
    pub(super) late: AtomicU64,
    /// The persister may hold claims read from the outbox.
    pub(super) sweeping: AtomicBool,
    /// The last epoch in which a claim contradicted MySQL, 0 for none.
    pub(super) contradicted: AtomicU32,
    pub(super) stored: AtomicU64,
    pub(super) poisoned: AtomicU64,
    pub(super) failures: AtomicU64,
    /// Of all shards.
    pub waiters: Arc<Waiters>,
    /// Of all shards.
    pub batches: Arc<Batches>,
}

/// Sizes and durations of committed transactions.
pub struct Batches {
    pub claims: Histogram,
    pub times: Histogram,
}

impl Ledger {
    /// A channel for `claims_max` claims, and its receiving side. `waiters` and `batches` belong to the ledgers of all
    /// shards.
    pub fn new(claims_max: usize, waiters: Arc<Waiters>, batches: Arc<Batches>) -> (Self, mpsc::Receiver<Handed>) {
        let (channel, receiver) = mpsc::channel(claims_max);
        let vouched = Cache::builder().max_capacity(VOUCHED_MAX).time_to_live(VOUCHED_AGE).build();
        let state = LedgerState { waiters, batches, ..LedgerState::default() };
        (Self { channel, vouched, state: Arc::new(state) }, receiver)
    }

    /// Reserves a place for a claim before the attempt is made.
    ///
    /// # Errors
    /// [`NoSlot`]. No state has changed, and the attempt must not be made.
    pub fn reserve(&self) -> Result<Slot<'_>, NoSlot> {
        self.channel.try_reserve().map(|permit| Slot { permit, state: &self.state }).map_err(|_| NoSlot)
    }

    /// Hands over an earlier claim that is still in the outbox. Repeated calls within 10 s have no effect and return
    /// `false`. The claim may be stored already then.
    pub fn vouch(&self, slot: Slot<'_>, claim: Claim) -> bool {
        let is_fresh = self.vouched.entry((claim.coupon, claim.seq)).or_insert(()).is_fresh();
        if is_fresh {
            slot.put(claim, 0);
        }
        is_fresh
    }

    /// Outbox entries are swept and deleted under `live` from now on, or not at all for `None`. `format` is that of the
    /// shard.
    pub fn trust(&self, live: Option<Live>, format: Format) {
        self.state.format.store(format.0, Ordering::SeqCst);
        self.state.live.store(live.map(Arc::new));
    }

    /// Claims in the channel, and the channel's capacity.
    pub fn backlog(&self) -> (usize, usize) {
        let max = self.channel.max_capacity();
        (max - self.channel.capacity(), max)
    }

    /// Claims handed over but not stored yet. While no claims are made, 0 means that MySQL has all of them.
    pub fn unsettled(&self) -> u64 {
        let settled = self.state.settled.load(Ordering::SeqCst);
        self.state.accepted.load(Ordering::SeqCst) - settled
    }

    /// Whether MySQL has every claim of the current epoch that this process held, from the channel or from a sweep. The
    /// result stays true while no claims are made and no epoch is trusted.
    pub fn is_drained(&self) -> bool {
        let late = self.state.late.load(Ordering::SeqCst);
        self.unsettled() <= late && !self.state.sweeping.load(Ordering::SeqCst)
    }

    pub fn state(&self) -> &Arc<LedgerState> {
        &self.state
    }
}

impl Slot<'_> {
    /// Hands the claim over, without waiting or failing. `entry_claims` is the number of claims in the outbox entry, or
    /// 0 if the entry is left to the sweep.
    pub fn put(self, claim: Claim, entry_claims: u8) {
        self.state.accepted.fetch_add(1, Ordering::SeqCst);
        self.permit.send(Handed { claim, entry_claims, at: Instant::now() });
    }
}

impl Default for Batches {
    fn default() -> Self {
        Self { claims: Histogram::of_sizes(), times: Histogram::of_times() }
    }
}

impl LedgerState {
    /// The oldest entry held by the persister, or `None` while it is idle.
    pub fn oldest(&self) -> Option<EntryId> {
        self.oldest.lock().unwrap_or_else(PoisonError::into_inner).map(|(entry, _)| entry)
    }

    /// The time since the oldest claim held by the persister was handed over, or `None` while it is idle.
    pub fn lag(&self) -> Option<Duration> {
        self.oldest.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, at)| at.elapsed())
    }

    pub(super) fn set_oldest(&self, oldest: Option<(EntryId, Instant)>) {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    /// The last epoch in which a claim contradicted MySQL, a sign that Redis went back in time. 0 means none.
    pub fn contradicted(&self) -> Epoch {
        Epoch(self.contradicted.load(Ordering::SeqCst))
    }

    /// Rows added since the start.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Whether the shard has the newest format. In format 1 nothing is archived, and entries that cannot be read are
    /// poisoned, because a rebuild of the previous release deletes the stream `unread`.
    pub fn has_newest_format(&self) -> bool {
        self.format.load(Ordering::SeqCst) >= Format::NEWEST.0
    }

    /// Claims and entries that could not be stored, since the start, by the ledger or by a rebuild of this process.
    pub fn poisoned(&self) -> u64 {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Counts claims and entries that could not be stored, by the ledger or by a rebuild.
    pub fn count_poisoned(&self, count: usize) {
        self.poisoned.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Transactions that failed and were retried, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityId, UserId};

    fn ledger(claims_max: usize) -> (Ledger, mpsc::Receiver<Handed>) {
        Ledger::new(claims_max, Arc::default(), Arc::default())
    }

    fn claim(seq: Seq) -> Claim {
        let entry = EntryId { ms: 1, counter: 0 };
        let (coupon, user, activity, epoch) = (CouponId(1), UserId(1), ActivityId(0), Epoch(1));
        Claim { coupon, user, entry, seq, activity, epoch, nth: 1, claimed_at_ms: 1 }
    }

    fn received(receiver: &mut mpsc::Receiver<Handed>) -> Option<(Claim, u8)> {
        receiver.blocking_recv().map(|handed| (handed.claim, handed.entry_claims))
    }

    #[test]
    fn a_reserved_slot_counts_and_a_dropped_one_is_free_again() {
        let (ledger, _receiver) = ledger(1);
        let slot = ledger.reserve().expect("one is free");
        assert_eq!(ledger.reserve().err(), Some(NoSlot));
        drop(slot);
        assert!(ledger.reserve().is_ok());
    }

    #[test]
    fn a_reserved_slot_can_be_filled_after_the_channel_was_closed() {
        let (ledger, mut receiver) = ledger(4);
        let slot = ledger.reserve().expect("one is free");
        receiver.close();
        assert_eq!(ledger.reserve().err(), Some(NoSlot));
        slot.put(claim(1), 2);
        assert_eq!(received(&mut receiver), Some((claim(1), 2)));
        assert_eq!(received(&mut receiver), None);
    }

    #[test]
    fn a_claim_is_vouched_for_once() {
        let (ledger, mut receiver) = ledger(4);
        for seq in [1, 1, 2] {
            ledger.vouch(ledger.reserve().expect("one is free"), claim(seq));
        }
        receiver.close();
        for seq in [1, 2] {
            assert_eq!(received(&mut receiver), Some((claim(seq), 0)));
        }
        assert_eq!(received(&mut receiver), None);
    }
}
