//! May this attempt go on to Redis? Decided from memory, without waiting.
//!
//! [`Admission`] says whether somebody is let in at all: switches, blacklist, rates. Then comes the [`Gate`] itself.
//!
//! The gate is open for one loading of the shard at a time and closed while nobody vouches for what Redis holds.
//! [`Recovery`](crate::recovery) opens and closes it; every attempt passes through it. Deliberately knows nothing of
//! coupons.
//!
//! A pass counts as in flight until it is dropped. Entering counts first and looks at the state second, closing sets the
//! state first and waits for the count second, both sequentially consistent: after [`Gate::close`] and a count of 0, no
//! attempt of the old loading is under way in this process.

mod admission;
mod attempts;
mod blacklist;
mod capacity;
mod keyed;
mod limits;
mod pace;
mod settings;
mod switches;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::domain::Epoch;
use crate::kv::Live;
use capacity::Capacity;

pub use admission::{Admission, AdmissionFigures, TurnedAway};
pub use attempts::AttemptLimits;
pub use blacklist::{Blacklist, BlacklistLimits, BlockError};
pub use limits::Limits;
pub use settings::{BadSetting, Setting, Settings};
pub use switches::Switches;

/// Why the gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The program has not compared Redis with MySQL yet.
    Starting,
    /// Redis is not the one we knew, and is being loaded.
    Recovering,
    /// The program is stopping.
    Stopping,
}

/// What somebody saw that the recovery should look at before its next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Redis may be another process, or another loading.
    NotLoaded,
    /// Redis is the loading of this epoch, and lacks something that it had.
    Lost(Epoch),
}

#[derive(Debug, Clone)]
enum State {
    Open(Arc<Live>),
    Closed(Reason),
}

/// What kept an attempt out. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    Closed(Reason),
    /// As many attempts as may be are in flight.
    Full,
}

/// The gate of one shard.
pub struct Gate {
    state: ArcSwap<State>,
    in_flight: AtomicUsize,
    capacity: Capacity,
    /// Rung by [`Gate::doubt`], heard by the recovery.
    doubted: Notify,
    /// The last loading that was seen to lack something. Never forgotten: the rebuild raises the epoch above it.
    lost: AtomicU32,
}

/// Leave to ask Redis once, under one loading of the shard.
pub struct Pass<'a> {
    gate: &'a Gate,
    live: Arc<Live>,
}

impl Gate {
    /// A closed gate that lets `in_flight_max` attempts in at once when it opens, or fewer where Redis is slow.
    pub fn new(in_flight_max: usize) -> Self {
        let state = ArcSwap::from_pointee(State::Closed(Reason::Starting));
        let (in_flight, lost, capacity) = (AtomicUsize::new(0), AtomicU32::new(0), Capacity::new(in_flight_max));
        Self { state, in_flight, capacity, doubted: Notify::new(), lost }
    }

    /// Lets an attempt in.
    ///
    /// # Errors
    /// [`Denied`]: nothing has happened.
    pub fn enter(&self) -> Result<Pass<'_>, Denied> {
        let entered = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let result = match &**self.state.load() {
            State::Open(_) if entered >= self.capacity.limit() => Err(Denied::Full),
            State::Open(live) => Ok(Arc::clone(live)),
            State::Closed(reason) => Err(Denied::Closed(*reason)),
        };
        match result {
            Ok(live) => Ok(Pass { gate: self, live }),
            Err(denied) => {
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
                Err(denied)
            }
        }
    }

    /// Lets attempts in under `live`.
    pub fn open(&self, live: Live) {
        self.state.store(Arc::new(State::Open(Arc::new(live))));
    }

    /// Keeps attempts out from now on. Those let in before may still be in flight.
    pub fn close(&self, reason: Reason) {
        self.state.rcu(|state| match &**state {
            State::Closed(current) if *current == reason => Arc::clone(state),
            _ => Arc::new(State::Closed(reason)),
        });
    }

    /// Wakes the recovery.
    pub fn doubt(&self, doubt: Doubt) {
        if let Doubt::Lost(epoch) = doubt {
            self.lost.fetch_max(epoch.0, Ordering::SeqCst);
        }
        self.doubted.notify_one();
    }

    /// Waits until somebody doubts.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// The last loading of which something was lost; 0 for none.
    pub fn lost(&self) -> Epoch {
        Epoch(self.lost.load(Ordering::SeqCst))
    }

    /// The loading that the gate is open for.
    ///
    /// # Errors
    /// The reason why it is closed.
    pub fn live(&self) -> Result<Arc<Live>, Reason> {
        match &**self.state.load() {
            State::Open(live) => Ok(Arc::clone(live)),
            State::Closed(reason) => Err(*reason),
        }
    }

    /// Whether it is open, and for `live`. Cheaper than [`Gate::live`], which counts who holds the loading.
    pub fn is_open_for(&self, live: &Live) -> bool {
        matches!(&**self.state.load(), State::Open(open) if **open == *live)
    }

    /// How many attempts may be in flight now.
    pub fn in_flight_limit(&self) -> usize {
        self.capacity.limit()
    }

    /// Whether half of what may be in flight is: time to leave out what is not a claim.
    pub fn is_busy(&self) -> bool {
        2 * self.in_flight() >= self.in_flight_limit().max(2)
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Pass<'_> {
    /// The loading that Redis must still be of.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Notes that Redis took so long to answer, or did not answer within it: what may be in flight follows.
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
        assert_eq!(gate.enter().err(), Some(Denied::Closed(Reason::Starting)));
        gate.open(Live::new("r", Epoch(1)));
        gate.close(Reason::Recovering);
        assert_eq!(gate.enter().err(), Some(Denied::Closed(Reason::Recovering)));
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn a_pass_counts_until_it_is_dropped_and_outlives_the_closing() {
        let gate = Gate::new(10);
        gate.open(Live::new("r", Epoch(1)));
        let Ok(pass) = gate.enter() else { panic!("the gate is open") };
        gate.close(Reason::Stopping);
        assert_eq!((gate.in_flight(), pass.live().epoch), (1, Epoch(1)));
        drop(pass);
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
