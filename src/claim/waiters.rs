//! Handlers that wait until MySQL has committed their claims, for answers with [`Durability::Stored`].
//!
//! A handler takes a [`Place`] before the attempt, so that an attempt without a place changes nothing. The handler
//! registers before it hands the claim to the ledger. So the persister, which tells after the commit, never misses it.
//! A batch costs the persister one lock while nobody waits. A claim without a waiting handler costs nothing.
//!
//! [`Durability::Stored`]: crate::domain::Durability::Stored

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::base::Histogram;
use crate::domain::{Claim, CouponId, Nth, Seq, UserId};
use crate::mysql::{Db, DbError, claim_rows};

/// Longest wait for a commit. Then the outcome is unknown to the client.
pub const COMMIT_WAIT: Duration = Duration::from_secs(2);
/// Rows read from MySQL at the same time. Other users of the pool keep most of its connections.
const READS_MAX: usize = 4;

/// Whether MySQL has a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// MySQL has committed the claim.
    Stored,
    /// The claim is late or poisoned, or MySQL lacks it.
    NotStored,
}

/// Who can tell a handler about its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// The ledger, because this handler has handed the claim over.
    Ledger,
    /// The ledger or MySQL. Another handler has handed the claim over, and the ledger may have stored it since.
    LedgerOrMysql,
    /// MySQL alone, because the claim has left the outbox.
    Mysql,
}

/// The waiting handlers of a ledger.
pub struct Waiters {
    waiting: Mutex<BTreeMap<HandlerKey, oneshot::Sender<Told>>>,
    places: Semaphore,
    places_max: usize,
    reads: Semaphore,
    /// Number of handlers that have registered so far.
    registered: AtomicU64,
    /// Duration of waits, timeouts included.
    pub waited: Histogram,
}

/// A grant as [`Claim::is_same_grant`] compares it, and the number of the handler.
type HandlerKey = (GrantKey, u64);
type GrantKey = (CouponId, Seq, UserId, Nth);

/// Permission to wait, held from before the attempt until the answer.
pub struct Place<'a> {
    waiters: &'a Waiters,
    _permit: SemaphorePermit<'a>,
}

/// A registered handler. Dropping the value ends the registration.
pub struct Waiter<'a> {
    place: Place<'a>,
    claim: Claim,
    key: HandlerKey,
    told: oneshot::Receiver<Told>,
}

impl Waiters {
    /// Up to `places_max` handlers may wait.
    pub fn new(places_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            places: Semaphore::new(places_max),
            places_max,
            reads: Semaphore::new(READS_MAX),
            registered: AtomicU64::new(0),
            waited: Histogram::of_times(),
        }
    }

    /// A place to wait, or `None` if all are taken.
    pub fn place(&self) -> Option<Place<'_>> {
        self.places.try_acquire().ok().map(|permit| Place { waiters: self, _permit: permit })
    }

    /// Places in use, and their maximum.
    pub fn places(&self) -> (usize, usize) {
        (self.places_max - self.places.available_permits(), self.places_max)
    }

    /// Tells the handlers of `claims` that MySQL has committed them, except those in `poisoned`.
    pub(super) fn tell_stored(&self, claims: &[Claim], poisoned: &[Claim]) {
        // The poisoned claims come first, so that their handlers are gone when all claims are told.
        self.tell([(poisoned, Told::NotStored), (claims, Told::Stored)]);
    }

    /// Tells the handlers of `claims` that the claims are late or poisoned.
    pub(super) fn tell_not_stored(&self, claims: &[Claim]) {
        self.tell([(claims, Told::NotStored), (&[], Told::Stored)]);
    }

    fn tell(&self, parts: [(&[Claim], Told); 2]) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (claims, told) in parts {
            for claim in claims {
                let grant = grant_of(claim);
                while let Some((key, _)) = waiting.range((grant, 0)..=(grant, u64::MAX)).next() {
                    let key = *key;
                    found.extend(waiting.remove(&key).map(|sender| (sender, told)));
                }
            }
        }
        drop(waiting);
        for (sender, told) in found {
            // The handler may be gone, because its client hung up.
            let _ = sender.send(told);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandlerKey, oneshot::Sender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Waiters {
    /// Without a place to wait.
    fn default() -> Self {
        Self::new(0)
    }
}

impl<'a> Place<'a> {
    /// Registers the handler of `claim`. Call this before the claim is handed to the ledger.
    pub fn register(self, claim: Claim) -> Waiter<'a> {
        let key = (grant_of(&claim), self.waiters.registered.fetch_add(1, Ordering::Relaxed));
        let (sender, told) = oneshot::channel();
        self.waiters.lock().insert(key, sender);
        Waiter { place: self, claim, key, told }
    }
}

impl Waiter<'_> {
    /// Waits until `teller` tells, at most [`COMMIT_WAIT`]. `None` after that time.
    pub async fn told(mut self, teller: Teller, db: &Db) -> Option<Told> {
        let began = Instant::now();
        let told = tokio::time::timeout(COMMIT_WAIT, self.ask(teller, db)).await.ok();
        self.place.waiters.waited.note_time(began.elapsed());
        told
    }

    async fn ask(&mut self, teller: Teller, db: &Db) -> Told {
        if teller != Teller::Ledger {
            let row = tokio::select! {
                biased;
                told = &mut self.told => return told.unwrap_or(Told::NotStored),
                row = read(&self.place.waiters.reads, db, self.claim) => row,
            };
            match row {
                Ok(Some(row)) if row.is_same_grant(&self.claim) => return Told::Stored,
                Ok(None) if teller == Teller::LedgerOrMysql => {}
                Ok(_) => return Told::NotStored,
                Err(error) => {
                    log::debug!("a claim's row could not be read: {}", crate::base::error_chain(&error));
                    if teller == Teller::Mysql {
                        return Told::NotStored;
                    }
                }
            }
        }
        // The sender is dropped only with this waiter, or after it has told.
        (&mut self.told).await.unwrap_or(Told::NotStored)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.place.waiters.lock().remove(&self.key);
    }
}

/// The row of the claim's unit.
async fn read(reads: &Semaphore, db: &Db, claim: Claim) -> Result<Option<Claim>, DbError> {
    let _permit = reads.acquire().await.expect("the semaphore is never closed");
    claim_rows::of_unit(db, claim).await
}

fn grant_of(claim: &Claim) -> GrantKey {
    (claim.coupon, claim.seq, claim.user, claim.nth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityId, EntryId, Epoch};

    fn claim(seq: Seq, user: u64) -> Claim {
        let entry = EntryId { ms: 1, counter: 0 };
        let (coupon, user, activity, epoch) = (CouponId(1), UserId(user), ActivityId(0), Epoch(1));
        Claim { coupon, user, entry, seq, activity, epoch, nth: 1, claimed_at_ms: 1 }
    }

    fn waits(waiters: &Waiters, claim: Claim) -> Waiter<'_> {
        waiters.place().expect("a place is free").register(claim)
    }

    #[test]
    fn every_handler_of_a_stored_claim_is_told_and_no_other() {
        let waiters = Waiters::new(10);
        let (mut first, mut second) = (waits(&waiters, claim(1, 7)), waits(&waiters, claim(1, 7)));
        let (mut other_user, mut other_seq) = (waits(&waiters, claim(1, 8)), waits(&waiters, claim(2, 7)));
        waiters.tell_stored(&[claim(1, 7), claim(3, 7)], &[]);
        assert_eq!((first.told.try_recv(), second.told.try_recv()), (Ok(Told::Stored), Ok(Told::Stored)));
        assert!(other_user.told.try_recv().is_err() && other_seq.told.try_recv().is_err());
    }

    #[test]
    fn poisoned_and_late_claims_are_told_as_not_stored() {
        let waiters = Waiters::new(10);
        let (mut stored, mut poisoned) = (waits(&waiters, claim(1, 1)), waits(&waiters, claim(2, 2)));
        let mut late = waits(&waiters, claim(3, 3));
        waiters.tell_stored(&[claim(1, 1), claim(2, 2)], &[claim(2, 2)]);
        waiters.tell_not_stored(&[claim(3, 3)]);
        assert_eq!(stored.told.try_recv(), Ok(Told::Stored));
        assert_eq!(poisoned.told.try_recv(), Ok(Told::NotStored));
        assert_eq!(late.told.try_recv(), Ok(Told::NotStored));
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let waiters = Waiters::new(2);
        let place = waiters.place().expect("a place is free");
        let waiter = waits(&waiters, claim(1, 1));
        assert!(waiters.place().is_none());
        assert_eq!(waiters.places(), (2, 2));
        drop((place, waiter));
        assert_eq!(waiters.places(), (0, 2));
        assert!(waiters.lock().is_empty(), "a handler that is gone is not registered");
    }
}
