//! The shards of this process, and a worker's connections to them.
//!
//! A shard has its own gate, ledger, outbox and recovery, so a shard that is being loaded holds up no other. Activities,
//! limits and counts belong to the process. A coupon never changes its shard.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{Claiming, RebuildProgress};
use crate::base::every;
use crate::domain::ShardId;
use crate::redis::{Connection, KvError, Link, LinkConfig, Live, Outbox, Pool};

/// Period of looking for added shards.
const CONNECT_EVERY: Duration = Duration::from_millis(250);

/// A shard as this process sees it.
pub struct Shard {
    pub id: ShardId,
    pub claiming: Claiming,
    /// The address, for workers' links.
    pub redis: LinkConfig,
    /// The connections of all work except claims, lists and recovery.
    pub pool: Pool,
    /// The connection of recovery.
    pub link: Arc<Link>,
    pub outbox: Outbox,
    pub progress: Arc<RebuildProgress>,
}

/// All shards, in the order of their numbers. Shards are added while the process runs, and are never removed.
pub struct Shards(ArcSwap<Vec<Arc<Shard>>>);

impl Shards {
    pub fn new(shards: Vec<Arc<Shard>>) -> Self {
        Self(ArcSwap::from_pointee(shards))
    }

    pub fn all(&self) -> Arc<Vec<Arc<Shard>>> {
        self.0.load_full()
    }

    pub fn count(&self) -> usize {
        self.0.load().len()
    }

    /// The shard with this number, or `None` if this process does not know it yet.
    pub fn get(&self, id: ShardId) -> Option<Arc<Shard>> {
        self.0.load().get(id.number()).map(Arc::clone)
    }

    /// Adds the shard with the next number.
    pub fn add(&self, shard: Arc<Shard>) {
        self.0.rcu(|shards| shards.iter().chain([&shard]).map(Arc::clone).collect::<Vec<_>>());
    }

    /// Whether a shard can be claimed from.
    pub fn any_open(&self) -> bool {
        self.0.load().iter().any(|shard| shard.claiming.gate.live().is_ok())
    }

    /// Whether half of the in-flight limit of a shard is used.
    pub fn any_busy(&self) -> bool {
        self.0.load().iter().any(|shard| shard.claiming.gate.is_busy())
    }
}

/// A worker's own connections, one for each shard. A worker drives them in its thread.
pub struct Links {
    shards: Arc<Shards>,
    links: RefCell<Vec<Rc<ShardLink>>>,
    /// Ends the connections.
    over: CancellationToken,
}

/// A worker's connection to a shard.
pub struct ShardLink {
    pub shard: Arc<Shard>,
    link: Arc<Link>,
}

impl Links {
    /// Connects to all shards. Must be called in the thread of the worker.
    pub fn new(shards: Arc<Shards>, over: CancellationToken) -> Self {
        let links = Self { shards, links: RefCell::default(), over };
        links.connect_new();
        links
    }

    /// Connects to shards that are added later, until the process stops. A new shard gets coupons after a second or two, so
    /// their first attempts find a connection.
    pub async fn keep_up(&self) {
        every(CONNECT_EVERY, &self.over, || async { self.connect_new() }).await;
    }

    /// The link to a shard, or `None` if this process does not know it yet.
    pub fn to(&self, id: ShardId) -> Option<Rc<ShardLink>> {
        let known = self.links.borrow().get(id.number()).map(Rc::clone);
        known.or_else(|| {
            self.connect_new();
            self.links.borrow().get(id.number()).map(Rc::clone)
        })
    }

    /// The links to all shards.
    pub fn all(&self) -> Vec<Rc<ShardLink>> {
        self.connect_new();
        self.links.borrow().clone()
    }

    /// The clock of Redis, in milliseconds since 1970: that of the first shard with a connection.
    ///
    /// # Errors
    /// [`KvError::NotConnected`] without a connection to any shard.
    pub fn server_ms(&self) -> Result<u64, KvError> {
        let links = self.links.borrow();
        let connection = links.iter().find_map(|link| link.connection().ok());
        connection.map(|connection| connection.server_ms()).ok_or(KvError::NotConnected)
    }

    /// Connects to shards that were added since the last call.
    fn connect_new(&self) {
        let mut links = self.links.borrow_mut();
        if links.len() == self.shards.count() {
            return;
        }
        for shard in self.shards.all().iter().skip(links.len()) {
            let link = Arc::new(Link::new(shard.redis.clone()));
            let (kept, over) = (Arc::clone(&link), self.over.clone());
            tokio::task::spawn_local(async move { kept.keep(over).await });
            links.push(Rc::new(ShardLink { shard: Arc::clone(shard), link }));
        }
    }
}

impl ShardLink {
    /// The current connection.
    ///
    /// # Errors
    /// [`KvError`], as [`Link::connection`] returns it.
    pub fn connection(&self) -> Result<Arc<Connection>, KvError> {
        self.link.connection()
    }

    /// The connection and the value of `live` for a read, if the gate is open and the connection leads to its process.
    pub fn reading(&self) -> Option<(Arc<Connection>, Arc<Live>)> {
        let connection = self.link.connection().ok()?;
        let live = self.shard.claiming.gate.live_at(&connection)?;
        Some((connection, live))
    }
}
