//! Live units: what whoever looks at a product is shown while it sells.
//!
//! One task reads the units of all products that are looked at, in one script a tick, and puts what has changed into a
//! [`watch`] channel a product, as bytes that all its viewers share. A viewer who is slow finds the latest state when he
//! comes for it and misses those between: nothing is queued for anybody.
//!
//! Everything here is the first to go under load: while the gate is busy nothing is read, nobody new is let in, and those
//! who are there keep their connections, which costs nothing. While Redis is away they stay too. Switched off, and at a
//! stop, the channels are dropped, which is how each viewer learns that it is over.
//!
//! Invariant: viewers and the products they look at are bounded; a product nobody looks at is not read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::activities::Activities;
use crate::domain::{ActivityId, CouponId};
use crate::gate::{Doubt, Gate, Settings};
use crate::kv::{Calls, Live, Pool};
use crate::stock::{Stock, Units};

/// How often units are read, and how often for a crowd: each change costs a write a viewer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY_FOR_CROWD: Duration = Duration::from_secs(1);
const CROWD: usize = 1_000;
/// The pause after each read, also before those for newcomers.
const PAUSE: Duration = Duration::from_millis(20);

/// How many may look, at how many products together, and how long Redis may take.
#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    pub viewers_max: usize,
    pub products_max: usize,
    pub wait: Duration,
}

/// Live units of this instance.
pub struct Events {
    stock: Stock,
    gate: Arc<Gate>,
    activities: Arc<Activities>,
    settings: Arc<Settings>,
    limits: EventLimits,
    products: Mutex<Products>,
    viewers: Arc<AtomicUsize>,
    refused: AtomicU64,
    /// Rung when somebody looks at a product of which nothing is known yet.
    new: Notify,
}

/// The far end of each channel. Writers: viewers add a product, the one task writes states and takes products out.
#[derive(Default)]
struct Products {
    shown: HashMap<CouponId, watch::Sender<State>>,
    /// The service is stopping: nobody is let in any more.
    over: bool,
}

/// What is known of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not read yet.
    Unknown,
    /// There is no such product.
    Nowhere,
    Shown(Shown),
}

/// A product's units at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    product: CouponId,
    /// What its sale can still sell, as `/sec/info` says.
    left: u64,
    /// Claims of the product, over all its sales.
    claimed: u64,
    /// When it was read, by Redis' clock.
    pub time_ms: u64,
    /// The event as it is sent.
    pub bytes: Bytes,
}

/// Nobody more can be let in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are as many viewers as may be, or the service is busy")]
pub struct NoPlace;

/// One who looks at a product. Dropping it makes room for another.
pub struct Viewer {
    states: watch::Receiver<State>,
    _place: Place,
}

/// Counted as long as it is held.
struct Place(Arc<AtomicUsize>);

/// What operators see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFigures {
    pub viewers: usize,
    pub viewers_max: usize,
    pub products: usize,
    /// Viewers who were not let in.
    pub refused: u64,
}

impl Events {
    pub fn new(
        stock: Stock,
        gate: Arc<Gate>,
        activities: Arc<Activities>,
        settings: Arc<Settings>,
        limits: EventLimits,
    ) -> Self {
        let (products, viewers, refused, new) = (Mutex::default(), Arc::default(), AtomicU64::new(0), Notify::new());
        Self { stock, gate, activities, settings, limits, products, viewers, refused, new }
    }

    /// Lets somebody look at `product`.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn enter(&self, product: CouponId) -> Result<Viewer, NoPlace> {
        self.find_place(product).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn find_place(&self, product: CouponId) -> Result<Viewer, NoPlace> {
        if self.gate.is_busy() {
            return Err(NoPlace);
        }
        let viewers = self.viewers.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.viewers));
        if viewers >= self.limits.viewers_max {
            return Err(NoPlace);
        }
        let mut products = self.products();
        if let Some(states) = products.shown.get(&product) {
            return Ok(Viewer { states: states.subscribe(), _place: place });
        }
        if products.over || products.shown.len() >= self.limits.products_max {
            return Err(NoPlace);
        }
        let (sender, states) = watch::channel(State::Unknown);
        products.shown.insert(product, sender);
        self.new.notify_one();
        Ok(Viewer { states, _place: place })
    }

    pub fn figures(&self) -> EventFigures {
        EventFigures {
            viewers: self.viewers.load(Ordering::Relaxed),
            viewers_max: self.limits.viewers_max,
            products: self.products().shown.len(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Shows what changes until `stop`, then ends every viewer's stream; returns at `over`.
    pub async fn watch(self: Arc<Self>, pool: Pool, stop: CancellationToken, over: CancellationToken) {
        stop.run_until_cancelled(self.show(&pool)).await;
        let ended = std::mem::replace(&mut *self.products(), Products { over: true, ..Products::default() });
        drop(ended);
        over.cancelled().await;
    }

    async fn show(&self, pool: &Pool) {
        let mut next = tokio::time::Instant::now();
        loop {
            let newcomers_only = tokio::select! {
                () = tokio::time::sleep_until(next) => false,
                () = self.new.notified() => true,
            };
            if !newcomers_only {
                let is_crowd = self.viewers.load(Ordering::Relaxed) > CROWD;
                next = tokio::time::Instant::now() + if is_crowd { LOOK_EVERY_FOR_CROWD } else { LOOK_EVERY };
            }
            if !self.settings.switches().events {
                self.products().shown.clear();
            }
            let asked = self.looked_at(|state| !newcomers_only || *state == State::Unknown);
            if !asked.is_empty()
                && !self.gate.is_busy()
                && let Ok(live) = self.gate.live()
                && let Ok(calls) = pool.get().await
            {
                self.read(&calls, &live, asked).await;
                drop(calls);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// The products that somebody looks at, those in such a state; the others are forgotten.
    fn looked_at(&self, is_asked: impl Fn(&State) -> bool) -> Vec<CouponId> {
        let mut products = self.products();
        products.shown.retain(|_, states| !states.is_closed());
        products.shown.iter().filter(|(_, states)| is_asked(&states.borrow())).map(|(product, _)| *product).collect()
    }

    /// Reads these products in one script and shows what has changed.
    async fn read(&self, calls: &Calls, live: &Live, products: Vec<CouponId>) {
        let time_ms = calls.server_ms();
        let sale = |product: &CouponId| {
            let schedule = self.activities.of(*product);
            let activity = schedule.as_ref().and_then(|schedule| schedule.at(time_ms));
            activity.map_or((ActivityId(0), 0), |activity| (activity.id, activity.terms.total))
        };
        let (activities, totals): (Vec<ActivityId>, Vec<u32>) = products.iter().map(sale).unzip();
        let asked: Vec<_> = products.iter().copied().zip(activities).collect();
        match self.stock.units(calls, live, &asked, self.limits.wait).await {
            Ok(Some(all)) => {
                let shown = self.products();
                for ((product, total), units) in products.into_iter().zip(totals).zip(all) {
                    if let Some(states) = shown.shown.get(&product) {
                        let units = units.map(|units| Shown::new(product, &units, total, time_ms));
                        states.send_if_modified(|state| state.become_later(units));
                    }
                }
            }
            Ok(None) => self.gate.doubt(Doubt::NotLoaded),
            // The link and the gate tell of it; whoever looks sees the last state until Redis is back.
            Err(error) => log::debug!("events: not read: {error}"),
        }
    }

    /// A lock that a panic has poisoned is used all the same: every state of the table is a good one.
    fn products(&self) -> MutexGuard<'_, Products> {
        self.products.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes over what was read later; whether that is news. What is gone for a moment, while Redis is mended, is still shown.
    fn become_later(&mut self, read: Option<Shown>) -> bool {
        let later = match (&*self, read) {
            (Self::Unknown, None) => Self::Nowhere,
            (Self::Shown(before), Some(now)) if (before.left, before.claimed) == (now.left, now.claimed) => {
                return false;
            }
            (_, Some(now)) => Self::Shown(now),
            (_, None) => return false,
        };
        *self = later;
        true
    }
}

impl Shown {
    fn new(product: CouponId, units: &Units, total: u32, time_ms: u64) -> Self {
        let (left, claimed) = (units.left(total), units.claimed.saturating_sub(units.holes));
        Self { product, left, claimed, time_ms, bytes: Bytes::new() }.at(time_ms)
    }

    /// The same, still so at a later moment.
    #[must_use]
    pub fn at(self, time_ms: u64) -> Self {
        let Self { product, left, claimed, .. } = self;
        let event = format!(
            "event: units\ndata: {{\"product_id\":{},\"left\":{left},\"claimed\":{claimed},\"time_ms\":{time_ms}}}\n\n",
            product.0
        );
        Self { time_ms, bytes: event.into(), ..self }
    }
}

impl Viewer {
    /// The present state; waits up to `wait` where nothing has been read yet. [`State::Unknown`]: it could not be.
    pub async fn first(&mut self, wait: Duration) -> State {
        let known = self.states.wait_for(|state| *state != State::Unknown);
        match tokio::time::timeout(wait, known).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => State::Unknown,
        }
    }

    /// Waits for the next change and gives the latest state, as an event; `None`: it is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.states.changed().await.ok()?;
            if let State::Shown(shown) = &*self.states.borrow_and_update() {
                return Some(shown.bytes.clone());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(claimed: u64) -> Units {
        let (scheduled, revision, activity_revision) = (false, 1, 0);
        Units { scheduled, revision, activity_revision, amount: 10, claimed, holes: 1, sold: 0 }
    }

    fn shown(claimed: u64, time_ms: u64) -> Option<Shown> {
        Some(Shown::new(CouponId(7), &units(claimed), 0, time_ms))
    }

    #[test]
    fn an_event_is_one_line_of_data_that_browsers_read() {
        let shown = shown(4, 1_000).expect("it was made");
        let text = "event: units\ndata: {\"product_id\":7,\"left\":7,\"claimed\":3,\"time_ms\":1000}\n\n";
        assert_eq!(shown.bytes, text);
        assert_eq!(shown.at(2_000).bytes, text.replace("1000", "2000"));
    }

    #[test]
    fn only_what_has_changed_is_news() {
        let mut state = State::Unknown;
        assert!(state.become_later(shown(4, 1_000)));
        assert!(!state.become_later(shown(4, 2_000)));
        assert!(state.become_later(shown(5, 3_000)));
        assert!(!state.become_later(None), "it is being mended");
        assert!(matches!(state, State::Shown(shown) if shown.claimed == 4 && shown.time_ms == 3_000));
    }

    #[tokio::test]
    async fn a_slow_viewer_misses_states_and_gets_the_latest() {
        let (sender, states) = watch::channel(State::Unknown);
        let place = Place(Arc::new(AtomicUsize::new(1)));
        let mut viewer = Viewer { states, _place: place };
        for claimed in 1..=9 {
            sender.send_if_modified(|state| state.become_later(shown(claimed, 1)));
        }
        let State::Shown(first) = viewer.first(Duration::ZERO).await else { panic!("it was read") };
        assert_eq!(first.claimed, 8);
        for claimed in 5..=7 {
            sender.send_if_modified(|state| state.become_later(shown(claimed, 2)));
        }
        assert_eq!(viewer.next().await, shown(7, 2).map(|shown| shown.bytes));
        drop(sender);
        assert_eq!(viewer.next().await, None);
    }

    #[test]
    fn a_product_that_was_never_there_is_nowhere_until_it_is_made() {
        let mut state = State::Unknown;
        assert!(state.become_later(None));
        assert_eq!(state, State::Nowhere);
        assert!(!state.become_later(None));
        assert!(state.become_later(shown(1, 1)));
    }
}
