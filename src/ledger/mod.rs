//! The ledger: takes claims that were answered to MySQL, each exactly once.
//!
//! A claim reaches it in one of two ways. The channel brings it from the handler, which reserved a [`Slot`] before it asked
//! Redis, so that handing over can neither fail nor wait. The outbox has it in any case; the sweep finds there what the
//! channel never carried (a dropped handler's, a dead instance's).
//!
//! Writers to the channel: every handler. Reader: the one persister task. The channel is as long as the outbox may grow,
//! so every claim this process has answered stays in memory until MySQL has it. Closing it lets
//! reserved slots still be filled; the persister ends when all are.
//!
//! Deliberately does not know the gate: [`Ledger::trust`] is told which loading of the shard counts.

mod outbox;
mod persister;
mod unfinished;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::sync::Cache;
use tokio::sync::mpsc;

use crate::domain::{Claim, CouponId, EntryId, Epoch, Seq};
use crate::figures::Histogram;
use crate::kv::Live;

pub use outbox::{Done, Entry, Extent, Head, Outbox, broken, claims};
pub use persister::{Persister, Settings};
pub use unfinished::Unfinished;

/// Claims vouched for again that are remembered, so that asking again and again does not fill the channel.
const VOUCHED_MAX: u64 = 100_000;
const VOUCHED_AGE: Duration = Duration::from_secs(10);

/// The near end of the ledger. Cloning it shares it.
#[derive(Clone)]
pub struct Ledger {
    channel: mpsc::Sender<Handed>,
    vouched: Cache<(CouponId, Seq), ()>,
    state: Arc<State>,
}

/// A claim as the channel brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    claim: Claim,
    entry_claims: u8,
}

/// A place in the channel that is held until it is filled or dropped.
pub struct Slot<'a> {
    permit: mpsc::Permit<'a, Handed>,
    state: &'a State,
}

/// No place in the channel: nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger's channel is full or closed")]
pub struct NoSlot;

/// What both ends of the ledger share.
#[derive(Default)]
pub struct State {
    /// The loading under which outbox entries may be deleted and swept.
    live: ArcSwapOption<Live>,
    oldest: Mutex<Option<EntryId>>,
    /// Claims that slots were filled with, and how many of them have been stored or poisoned. Counted apart from the channel,
    /// whose length says nothing of the batch in the persister's hands.
    accepted: AtomicU64,
    settled: AtomicU64,
    /// Claims in the persister's hands that wait for a rebuild: no rebuild may wait for them.
    late: AtomicU64,
    /// The persister may hold claims that it read from the outbox.
    sweeping: AtomicBool,
    /// The last loading in which a claim contradicted what MySQL has.
    contradicted: AtomicU32,
    stored: AtomicU64,
    poisoned: AtomicU64,
    failures: AtomicU64,
    pub batches: Batches,
}

/// Claims of each transaction that was committed, and how long it took.
pub struct Batches {
    pub claims: Histogram,
    pub times: Histogram,
}

impl Ledger {
    /// A channel of `claims_max` and its far end.
    pub fn new(claims_max: usize) -> (Self, mpsc::Receiver<Handed>) {
        let (channel, receiver) = mpsc::channel(claims_max);
        let vouched = Cache::builder().max_capacity(VOUCHED_MAX).time_to_live(VOUCHED_AGE).build();
        (Self { channel, vouched, state: Arc::default() }, receiver)
    }

    /// Holds a place for a claim that is about to be made.
    ///
    /// # Errors
    /// [`NoSlot`]: nothing has happened, and the attempt must not be made.
    pub fn reserve(&self) -> Result<Slot<'_>, NoSlot> {
        self.channel.try_reserve().map(|permit| Slot { permit, state: &self.state }).map_err(|_| NoSlot)
    }

    /// Takes on a claim that was made earlier and is still in the outbox, once.
    pub fn vouch(&self, slot: Slot<'_>, claim: Claim) {
        if self.vouched.entry((claim.coupon, claim.seq)).or_insert(()).is_fresh() {
            slot.put(claim, 0);
        }
    }

    /// From now on outbox entries are swept and deleted under `live`; `None`: not at all.
    pub fn trust(&self, live: Option<Live>) {
        self.state.live.store(live.map(Arc::new));
    }

    /// Claims in the channel, and how many it holds at most.
    pub fn backlog(&self) -> (usize, usize) {
        let max = self.channel.max_capacity();
        (max - self.channel.capacity(), max)
    }

    /// Claims handed over that are not stored yet. While nobody makes claims, 0 says that MySQL has them all.
    pub fn unsettled(&self) -> u64 {
        let settled = self.state.settled.load(Ordering::SeqCst);
        self.state.accepted.load(Ordering::SeqCst) - settled
    }

    /// Whether MySQL has every claim of this loading that this process ever held, from its channel or from a sweep. Stays so
    /// while nobody makes claims and nothing is trusted.
    pub fn is_drained(&self) -> bool {
        let late = self.state.late.load(Ordering::SeqCst);
        self.unsettled() <= late && !self.state.sweeping.load(Ordering::SeqCst)
    }

    pub fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Slot<'_> {
    /// Hands the claim over. `entry_claims`: how many its outbox entry holds; 0 where the entry is left to the sweep. Cannot
    /// fail and does not wait.
    pub fn put(self, claim: Claim, entry_claims: u8) {
        self.state.accepted.fetch_add(1, Ordering::SeqCst);
        self.permit.send(Handed { claim, entry_claims });
    }
}

impl Default for Batches {
    fn default() -> Self {
        Self { claims: Histogram::of_sizes(), times: Histogram::of_times() }
    }
}

impl State {
    /// The oldest entry in the persister's hands; `None` while it waits for claims.
    pub fn oldest(&self) -> Option<EntryId> {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_oldest(&self, oldest: Option<EntryId>) {
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    /// The last loading in which a claim contradicted what MySQL has: Redis went back in time. 0: none ever.
    pub fn contradicted(&self) -> Epoch {
        Epoch(self.contradicted.load(Ordering::SeqCst))
    }

    /// Rows added since the start.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Claims and entries that could not be stored, since the start.
    pub fn poisoned(&self) -> u64 {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Transactions that failed and were repeated, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityId, UserId};

    fn claim(seq: Seq) -> Claim {
        let entry = EntryId { ms: 1, counter: 0 };
        Claim { coupon: CouponId(1), user: UserId(1), entry, seq, activity: ActivityId(0), epoch: Epoch(1), nth: 1 }
    }

    #[test]
    fn a_reserved_slot_counts_and_a_dropped_one_is_free_again() {
        let (ledger, _receiver) = Ledger::new(1);
        let slot = ledger.reserve().expect("one is free");
        assert_eq!(ledger.reserve().err(), Some(NoSlot));
        drop(slot);
        assert!(ledger.reserve().is_ok());
    }

    #[test]
    fn a_reserved_slot_can_be_filled_after_the_channel_was_closed() {
        let (ledger, mut receiver) = Ledger::new(4);
        let slot = ledger.reserve().expect("one is free");
        receiver.close();
        assert_eq!(ledger.reserve().err(), Some(NoSlot));
        slot.put(claim(1), 2);
        assert_eq!(receiver.blocking_recv(), Some(Handed { claim: claim(1), entry_claims: 2 }));
        assert_eq!(receiver.blocking_recv(), None);
    }

    #[test]
    fn a_claim_is_vouched_for_once() {
        let (ledger, mut receiver) = Ledger::new(4);
        for seq in [1, 1, 2] {
            ledger.vouch(ledger.reserve().expect("one is free"), claim(seq));
        }
        receiver.close();
        for seq in [1, 2] {
            assert_eq!(receiver.blocking_recv(), Some(Handed { claim: claim(seq), entry_claims: 0 }));
        }
        assert_eq!(receiver.blocking_recv(), None);
    }
}
