//! Decides from memory, without waiting, whether an attempt may be sent to Redis.
//!
//! [`Admission`] comes first, with switches, blacklist and rates. The [`Gate`] comes second.
//!
//! The gate is open for a single epoch of the shard (a loading of its data into Redis), and closed while the data in
//! Redis is unconfirmed. [`Recovery`](crate::recovery) opens and closes the gate. Every attempt passes through it.
//! Coupons are unknown to this module.
//!
//! An attempt is in flight until its [`Pass`] is dropped. [`Gate::enter`] raises the count before reading the state.
//! [`Gate::close`] sets the state first, and its caller then waits for the count. Both use sequentially consistent
//! ordering. After a close and a count of 0, no attempt of the old epoch is running in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::capacity::Capacity;
use crate::domain::Epoch;
use crate::redis::{Connection, Live, WriteRefusal};

/// How long the gate may stay open without a new extension of the lease. Shorter than the ten seconds of silence after
/// which a rebuild takes this process for dead.
pub const LEASE: Duration = Duration::from_secs(5);
/// The end of the lease of a gate without a lease.
const NO_LEASE: u64 = u64::MAX;

/// Why the gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedReason {
    /// The process has not compared Redis with MySQL yet.
    Starting,
    /// Redis was replaced or lost data, and a rebuild is in progress.
    Recovering,
    /// Redis holds the shard's data but refuses writes.
    Refusing(WriteRefusal),
    /// Instances reach different Redis processes, and another process than this instance's has the shard.
    TwoPrimaries,
    /// Neither MySQL nor a majority has extended the lease, so another Redis process may have the shard.
    CutOff,
    /// Redis belongs to another installation, or another database with the same id uses it. An operator has to decide.
    Foreign,
    /// MySQL lacks commits that Redis or a process knows, and an operator has to repair it.
    MysqlWentBack,
    /// The process is stopping.
    Stopping,
}

impl ClosedReason {
    pub const ALL: [Self; 14] = [
        Self::Starting,
        Self::Recovering,
        Self::Refusing(WriteRefusal::ReadOnly),
        Self::Refusing(WriteRefusal::OutOfMemory),
        Self::Refusing(WriteRefusal::NotPersisting),
        Self::Refusing(WriteRefusal::NoReplicas),
        Self::Refusing(WriteRefusal::NoPermission),
        Self::Refusing(WriteRefusal::Elsewhere),
        Self::Refusing(WriteRefusal::Moving),
        Self::TwoPrimaries,
        Self::CutOff,
        Self::Foreign,
        Self::MysqlWentBack,
        Self::Stopping,
    ];

    /// The reason in one word, for `/readyz`, metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Refusing(refusal) => refusal.word(),
            Self::TwoPrimaries => "two-primaries",
            Self::CutOff => "cut-off",
            Self::Foreign => "foreign",
            Self::MysqlWentBack => "mysql-went-back",
            Self::Stopping => "stopping",
        }
    }
}

/// An observation that makes recovery check Redis early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Redis may be another process, may hold another epoch, or may refuse writes.
    NotLoaded,
    /// A worker's connection leads to another process than that of the open gate.
    OtherProcess,
    /// Redis holds this epoch but lacks data written before.
    Lost(Epoch),
}

#[derive(Debug, Clone)]
enum GateState {
    Open(Arc<Live>),
    Closed(ClosedReason),
}

/// Why an attempt was refused. No state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    Closed(ClosedReason),
    /// The in-flight limit is reached.
    Full,
}

pub struct Gate {
    state: ArcSwap<GateState>,
    in_flight: AtomicUsize,
    capacity: Capacity,
    /// Notified by [`Gate::doubt`], awaited by recovery.
    doubted: Notify,
    /// [`Doubt::OtherProcess`] since the last call of [`Gate::take_other_process`].
    other_process: AtomicBool,
    /// The last epoch seen to lack data, 0 for none. Never reset: the next rebuild raises the epoch above it.
    lost: AtomicU32,
    origin: Instant,
    /// The end of the lease, in ms since `origin`, or [`NO_LEASE`].
    lease_ms: AtomicU64,
}

/// Permission to send an attempt to Redis, valid for a single epoch of the shard.
pub struct Pass<'a> {
    gate: &'a Gate,
    live: Arc<Live>,
}

impl Gate {
    /// A closed gate. Once open, it admits up to `in_flight_max` attempts at once, fewer while Redis is slow.
    pub fn new(in_flight_max: usize) -> Self {
        let state = ArcSwap::from_pointee(GateState::Closed(ClosedReason::Starting));
        let (in_flight, lost, capacity) = (AtomicUsize::new(0), AtomicU32::new(0), Capacity::new(in_flight_max));
        let (doubted, other_process) = (Notify::new(), AtomicBool::new(false));
        let (origin, lease_ms) = (Instant::now(), AtomicU64::new(NO_LEASE));
        Self { state, in_flight, capacity, doubted, other_process, lost, origin, lease_ms }
    }

    /// The same gate with a lease, which has to be extended for every opening and while the gate is open.
    #[must_use]
    pub fn with_lease(self) -> Self {
        Self { lease_ms: AtomicU64::new(0), ..self }
    }

    /// Lets the gate stay open for [`LEASE`] after `sent`. `sent` is when the question was sent whose answer shows that
    /// this process may sell. An earlier end never replaces a later one.
    pub fn extend_lease(&self, sent: Instant) {
        // A gate without a lease keeps the highest number.
        self.lease_ms.fetch_max(self.ms_at(sent + LEASE), Ordering::SeqCst);
    }

    /// Whether the lease has ended, so that no attempt may be sent.
    pub fn is_lease_over(&self) -> bool {
        let end = self.lease_ms.load(Ordering::SeqCst);
        end != NO_LEASE && self.ms_at(Instant::now()) >= end
    }

    fn ms_at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.origin).as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Admits an attempt.
    ///
    /// # Errors
    /// [`Denied`]. No state has changed.
    pub fn enter(&self) -> Result<Pass<'_>, Denied> {
        let entered = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let result = match &**self.state.load() {
            GateState::Open(_) if self.is_lease_over() => Err(Denied::Closed(ClosedReason::CutOff)),
            GateState::Open(_) if entered >= self.capacity.limit() => Err(Denied::Full),
            GateState::Open(live) => Ok(Arc::clone(live)),
            GateState::Closed(reason) => Err(Denied::Closed(*reason)),
        };
        result.map(|live| Pass { gate: self, live }).inspect_err(|_| {
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
        })
    }

    /// Admits attempts under `live` from now on.
    pub fn open(&self, live: Live) {
        self.state.store(Arc::new(GateState::Open(Arc::new(live))));
    }

    /// Refuses new attempts from now on. Earlier attempts may still be in flight.
    pub fn close(&self, reason: ClosedReason) {
        self.state.rcu(|state| match &**state {
            GateState::Closed(current) if *current == reason => Arc::clone(state),
            _ => Arc::new(GateState::Closed(reason)),
        });
    }

    /// Wakes recovery.
    pub fn doubt(&self, doubt: Doubt) {
        match doubt {
            Doubt::Lost(epoch) => {
                self.lost.fetch_max(epoch.0, Ordering::SeqCst);
            }
            Doubt::OtherProcess => self.other_process.store(true, Ordering::SeqCst),
            Doubt::NotLoaded => {}
        }
        self.doubted.notify_one();
    }

    /// Whether [`Doubt::OtherProcess`] was reported since the last call.
    pub fn take_other_process(&self) -> bool {
        self.other_process.swap(false, Ordering::SeqCst)
    }

    /// Waits for a call of [`Gate::doubt`].
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// The last epoch seen to lack data, 0 for none.
    pub fn lost(&self) -> Epoch {
        Epoch(self.lost.load(Ordering::SeqCst))
    }

    /// The process and epoch for which the gate is open.
    ///
    /// # Errors
    /// The reason why the gate is closed.
    pub fn live(&self) -> Result<Arc<Live>, ClosedReason> {
        match &**self.state.load() {
            GateState::Open(live) => Ok(Arc::clone(live)),
            GateState::Closed(reason) => Err(*reason),
        }
    }

    /// What [`Gate::live`] returns, if `connection` leads to the same process. A replica or an earlier primary can hold
    /// the same key `live`. Otherwise `None`, and recovery and the connection's link are told.
    pub fn live_at(&self, connection: &Connection) -> Option<Arc<Live>> {
        let live = self.live().ok()?;
        let leads_there = connection.leads_to(&live);
        if !leads_there {
            self.doubt(Doubt::OtherProcess);
        }
        leads_there.then_some(live)
    }

    /// Whether the gate is open for exactly `live`. Cheaper than [`Gate::live`], which clones an `Arc`.
    pub fn is_open_for(&self, live: &Live) -> bool {
        matches!(&**self.state.load(), GateState::Open(open) if **open == *live)
    }

    pub fn in_flight_limit(&self) -> usize {
        self.capacity.limit()
    }

    /// Whether half of the in-flight limit is used. Work other than claims should then be skipped.
    pub fn is_busy(&self) -> bool {
        2 * self.in_flight() >= self.in_flight_limit().max(2)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Pass<'_> {
    /// The process and epoch that must still be in place in Redis.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Records how long Redis took to answer, or that no answer came within `waited`. The in-flight limit adapts to it.
    pub fn note(&self, waited: Duration) {
        self.gate.capacity.note(waited, self.gate.in_flight());
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_and_counts_nobody() {
        let gate = Gate::new(10);
        assert_eq!(gate.enter().err(), Some(Denied::Closed(ClosedReason::Starting)));
        gate.open(Live::new("r", Epoch(1)));
        gate.close(ClosedReason::Recovering);
        assert_eq!(gate.enter().err(), Some(Denied::Closed(ClosedReason::Recovering)));
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn a_pass_counts_until_it_is_dropped_and_outlives_the_closing() {
        let gate = Gate::new(10);
        gate.open(Live::new("r", Epoch(1)));
        let Ok(pass) = gate.enter() else { panic!("the gate is open") };
        gate.close(ClosedReason::Stopping);
        assert_eq!((gate.in_flight(), pass.live().epoch), (1, Epoch(1)));
        drop(pass);
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn a_lease_ends_five_seconds_after_the_last_question_was_sent() {
        let gate = Gate::new(10).with_lease();
        gate.open(Live::new("r", Epoch(1)));
        assert_eq!(gate.enter().err(), Some(Denied::Closed(ClosedReason::CutOff)));
        let now = Instant::now();
        gate.extend_lease(now);
        assert!(gate.enter().is_ok());
        gate.extend_lease(now - Duration::from_secs(60));
        assert!(gate.enter().is_ok(), "an answer that comes late does not shorten the lease");
        gate.lease_ms.store(gate.ms_at(now), Ordering::SeqCst);
        assert_eq!(gate.enter().err(), Some(Denied::Closed(ClosedReason::CutOff)));
        gate.extend_lease(now - LEASE);
        assert_eq!(gate.enter().err(), Some(Denied::Closed(ClosedReason::CutOff)), "the answer took five seconds");
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn no_more_than_the_limit_are_in_flight() {
        let gate = Gate::new(1);
        gate.open(Live::new("r", Epoch(1)));
        let _first = gate.enter();
        assert_eq!(gate.enter().err(), Some(Denied::Full));
        assert_eq!(gate.in_flight(), 1);
    }
}
