//! Live units for viewers of a product during its sale.
//!
//! A single task reads the units of all viewed products with one script per tick and shard. Changes go to a [`watch`] channel per
//! product, as bytes shared by all viewers. A slow viewer receives the latest state and misses earlier ones, so no
//! queue exists.
//!
//! Live units are the first feature shed under load. While the gate is busy, no units are read and no viewer is
//! admitted. Connected viewers stay, at no cost, also while Redis is away. If the feature is switched off or the
//! service stops, the channels are dropped, which ends every viewer's stream.
//!
//! Only products on sale have viewers: coupons that are sold at any time, and products whose activity is current, begins within
//! the hour or has ended within the minute. One saler's products have at most half of the places. So nobody fills the places
//! with viewers of coupons that nobody can buy.
//!
//! Invariant: viewers and viewed products are bounded. A product without viewers is not read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::viewer_places::{ViewerPlace, ViewerPlaces};
use crate::base::now_ms;
use crate::claim::{Claiming, Doubt, Shard, Shards};
use crate::domain::{ActivityId, CouponId, ShardId};
use crate::memory::{Activities, Settings};
use crate::redis::Units;

/// Period of reads.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The same for a crowd, because every change costs a write per viewer.
const LOOK_EVERY_FOR_CROWD: Duration = Duration::from_secs(1);
/// Number of viewers above which the slower period applies.
const CROWD: usize = 1_000;
/// Pause after every read, including reads for new products.
const PAUSE: Duration = Duration::from_millis(20);
/// How long before the start of an activity its product gets viewers, in ms.
const EARLY_MS: u64 = 3_600_000;
/// How long viewers stay after the end of an activity, in ms.
const LATE_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    pub viewers_max: usize,
    pub products_max: usize,
    /// Timeout of a call to Redis.
    pub wait: Duration,
}

/// Live units of this instance.
pub struct Events {
    shards: Arc<Shards>,
    activities: Arc<Activities>,
    settings: Arc<Settings>,
    limits: EventLimits,
    products: Mutex<Products>,
    places: Arc<ViewerPlaces>,
    refused: AtomicU64,
    /// Notified when a viewer asks for a product that has not been read yet.
    new: Notify,
}

/// The sending side of each channel. Viewers add products. The single task sends states and removes products.
#[derive(Default)]
struct Products {
    shown: HashMap<CouponId, Channel>,
    /// The service is stopping and admits no viewers.
    over: bool,
}

/// The channel of a product, and its shard as soon as a read has found it.
struct Channel {
    states: watch::Sender<ProductState>,
    shard: Option<ShardId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProductState {
    /// Not read yet.
    Unknown,
    /// The product does not exist.
    Nowhere,
    Shown(Shown),
}

/// The units of a product at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    product: CouponId,
    /// Units that its sale can still sell, as in `/sec/info`.
    left: u64,
    /// Claims of the product over all its activities.
    claimed: u64,
    /// Sold only inside activities.
    scheduled: bool,
    /// Time of the read by Redis' clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The encoded event.
    pub bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of viewers is reached, the product is not on sale, or the service is busy")]
pub struct NoPlace;

/// A viewer of a product. Dropping it frees the place.
pub struct Viewer {
    states: watch::Receiver<ProductState>,
    place: ViewerPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFigures {
    pub viewers: usize,
    pub viewers_max: usize,
    /// Viewers of the saler who has most.
    pub of_one_saler: usize,
    pub products: usize,
    /// Viewers refused so far.
    pub refused: u64,
}

impl Events {
    pub fn new(shards: Arc<Shards>, activities: Arc<Activities>, settings: Arc<Settings>, limits: EventLimits) -> Self {
        let (products, refused, new) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        let places = ViewerPlaces::new(limits.viewers_max);
        Self { shards, activities, settings, limits, products, places, refused, new }
    }

    /// Admits a viewer of `product`.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn enter(&self, product: CouponId, now_ms: u64) -> Result<Viewer, NoPlace> {
        self.find_place(product, now_ms).inspect_err(|_| self.count_refusal())
    }

    /// Keeps a viewer who has seen the product, in the share of its saler.
    ///
    /// # Errors
    /// [`NoPlace`] if the product is not on sale, or the saler's share is taken.
    pub fn keep(&self, viewer: &mut Viewer, product: &Shown, saler: &str, now_ms: u64) -> Result<(), NoPlace> {
        if self.is_on_sale(product.product, Some(product), now_ms) && viewer.place.count_for(saler) {
            return Ok(());
        }
        self.count_refusal();
        Err(NoPlace)
    }

    fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether viewers may have a place. A product without activities in memory is on sale until its units are known.
    fn is_on_sale(&self, product: CouponId, units: Option<&Shown>, now_ms: u64) -> bool {
        match self.activities.of(product) {
            Some(schedule) => schedule.is_near(now_ms, EARLY_MS, LATE_MS),
            None => units.is_none_or(|units| !units.scheduled),
        }
    }

    fn find_place(&self, product: CouponId, now_ms: u64) -> Result<Viewer, NoPlace> {
        if self.shards.any_busy() || !self.is_on_sale(product, None, now_ms) {
            return Err(NoPlace);
        }
        let place = self.places.take().ok_or(NoPlace)?;
        let mut products = self.products();
        if let Some(channel) = products.shown.get(&product) {
            return Ok(Viewer { states: channel.states.subscribe(), place });
        }
        if products.over || products.shown.len() >= self.limits.products_max {
            return Err(NoPlace);
        }
        let (sender, states) = watch::channel(ProductState::Unknown);
        products.shown.insert(product, Channel { states: sender, shard: None });
        self.new.notify_one();
        Ok(Viewer { states, place })
    }

    pub fn figures(&self) -> EventFigures {
        let (viewers, of_one_saler) = self.places.counts();
        EventFigures {
            viewers,
            viewers_max: self.places.max(),
            of_one_saler,
            products: self.products().shown.len(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Publishes changes until `stop`, then ends every viewer's stream. Returns at `over`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken, over: CancellationToken) {
        stop.run_until_cancelled(self.show()).await;
        let ended = std::mem::replace(&mut *self.products(), Products { over: true, ..Products::default() });
        drop(ended);
        over.cancelled().await;
    }

    async fn show(&self) {
        let mut next = tokio::time::Instant::now();
        loop {
            let newcomers_only = tokio::select! {
                () = tokio::time::sleep_until(next) => false,
                () = self.new.notified() => true,
            };
            if !newcomers_only {
                let is_crowd = self.places.counts().0 > CROWD;
                next = tokio::time::Instant::now() + if is_crowd { LOOK_EVERY_FOR_CROWD } else { LOOK_EVERY };
            }
            if !self.settings.switches().events {
                self.products().shown.clear();
            }
            let asked = self.looked_at(|state| !newcomers_only || *state == ProductState::Unknown);
            if !asked.is_empty() {
                self.look(asked).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Viewed products whose state matches `is_asked`, with their shards. Products without viewers are dropped, and so are those
    /// that are not on sale any more, which ends the streams of their viewers.
    fn looked_at(&self, is_asked: impl Fn(&ProductState) -> bool) -> Vec<(CouponId, Option<ShardId>)> {
        let (mut products, now_ms) = (self.products(), now_ms());
        products.shown.retain(|product, Channel { states, .. }| {
            let units = states.borrow();
            let units = if let ProductState::Shown(units) = &*units { Some(units) } else { None };
            !states.is_closed() && self.is_on_sale(*product, units, now_ms)
        });
        let asked = products.shown.iter().filter(|(_, channel)| is_asked(&channel.states.borrow()));
        asked.map(|(product, channel)| (*product, channel.shard)).collect()
    }

    /// Reads these products, those without a known shard from all shards. A product exists nowhere if every shard says so.
    async fn look(&self, products: Vec<(CouponId, Option<ShardId>)>) {
        let shards = self.shards.all();
        let reads = shards.iter().map(|shard| {
            let is_there = |(_, place): &&(CouponId, Option<ShardId>)| place.is_none_or(|place| place == shard.id);
            self.read(shard, products.iter().filter(is_there).map(|(product, _)| *product).collect())
        });
        if join_all(reads).await.into_iter().all(|has_answered| has_answered) {
            let shown = self.products();
            for (product, _) in products {
                if let Some(Channel { states, shard: None }) = shown.shown.get(&product) {
                    states.send_if_modified(|state| state.become_later(None));
                }
            }
        }
    }

    /// Reads these products from a shard with a single script, and publishes changes. Returns whether the shard answered. A
    /// busy shard is not asked.
    async fn read(&self, shard: &Shard, products: Vec<CouponId>) -> bool {
        let Claiming { gate, stock, .. } = &shard.claiming;
        if products.is_empty() {
            return true;
        }
        if gate.is_busy() {
            return false;
        }
        let (Ok(live), Ok(calls)) = (gate.live(), shard.pool.get().await) else { return false };
        let time_ms = calls.server_ms();
        let sale = |product: &CouponId| {
            let schedule = self.activities.of(*product);
            let activity = schedule.as_ref().and_then(|schedule| schedule.at(time_ms));
            activity.map_or((ActivityId(0), 0), |activity| (activity.id, activity.terms.total))
        };
        let (activities, totals): (Vec<ActivityId>, Vec<u32>) = products.iter().map(sale).unzip();
        let asked: Vec<_> = products.iter().copied().zip(activities).collect();
        match stock.units(&calls, &live, &asked, self.limits.wait).await {
            Ok(Some(all)) => {
                let mut shown = self.products();
                for ((product, total), units) in products.into_iter().zip(totals).zip(all) {
                    let (Some(channel), Some(units)) = (shown.shown.get_mut(&product), units) else { continue };
                    channel.shard = Some(shard.id);
                    let units = Shown::new(product, &units, total, time_ms);
                    channel.states.send_if_modified(|state| state.become_later(Some(units)));
                }
                true
            }
            Ok(None) => {
                gate.doubt(Doubt::NotLoaded);
                false
            }
            // The link and the gate log the outage. Viewers keep the last state until Redis is back.
            Err(error) => {
                log::debug!("events: reading units failed: {error}");
                false
            }
        }
    }

    /// A poisoned lock is used anyway: every state of the table is valid.
    fn products(&self) -> MutexGuard<'_, Products> {
        self.products.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProductState {
    /// Takes a later reading and returns whether it differs. A product that vanishes for a moment, during a repair of
    /// Redis, keeps its last state.
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
        let scheduled = units.scheduled;
        Self { product, left, claimed, scheduled, time_ms, bytes: Bytes::new() }.at(time_ms)
    }

    /// The same units at a later time.
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
    /// The current state. Waits up to `wait` for the first read, and returns [`ProductState::Unknown`] on a timeout.
    pub async fn first(&mut self, wait: Duration) -> ProductState {
        let known = self.states.wait_for(|state| *state != ProductState::Unknown);
        match tokio::time::timeout(wait, known).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => ProductState::Unknown,
        }
    }

    /// Waits for a change and returns the latest state as an event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.states.changed().await.ok()?;
            if let ProductState::Shown(shown) = &*self.states.borrow_and_update() {
                return Some(shown.bytes.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
