//! A pool of connections to the Redis process of one shard, for all work but claims, lists and recovery.
//!
//! The pool knows the process that the shard was last live at, and hands out no connection to another process. A new
//! connection is asked for the `run_id`, at the cost of a round trip. A used connection is compared in memory. A
//! connection older than the last change of the process is dropped. Where a majority names the server, it is asked after a
//! failure to connect, but not after such a change, because recovery knows the server.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::{Hook, HookError, Manager, PoolError, Runtime, TimeoutType, Timeouts};
use redis::ConnectionInfo;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::calls::{Server, run_id};
use super::crate_settings::crate_settings;
use super::{Calls, KvError, Named, server_version};
use crate::base::TooOld;

/// How old the measurement of the server's clock may be.
const CLOCK_AGE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    pub connections_max: usize,
    /// Limit of the whole checkout, including the two limits below.
    pub wait: Duration,
    /// Limits of making a connection and of checking a used connection.
    pub create_wait: Duration,
    pub recycle_wait: Duration,
}

/// Connections to the Redis process of one shard. Clones share the connections.
#[derive(Clone)]
pub struct Pool {
    config: LinkConfig,
    limits: PoolLimits,
    /// The pool of the server that was found last. `None` before the first search, and after the server has changed.
    pool: Arc<Mutex<Option<deadpool_redis::Pool>>>,
    process: Arc<Mutex<KnownProcess>>,
    server: Arc<Server>,
    /// Never cancelled, because the pool drops broken connections by checking them.
    ended: CancellationToken,
}

/// [`Calls`] over a pooled connection. Dropping the value returns the connection.
pub struct PooledCalls {
    calls: Calls,
    _place: deadpool_redis::Connection,
}

/// The process of all pooled connections.
struct KnownProcess {
    /// Empty before the first connection.
    run_id: String,
    /// Older connections lead to an earlier process.
    since: Instant,
    /// Why the last new connection was refused, if the server was too old.
    too_old: Option<TooOld>,
}

impl Pool {
    pub fn new(config: &LinkConfig, limits: PoolLimits) -> Self {
        let process =
            Arc::new(Mutex::new(KnownProcess { run_id: String::new(), since: Instant::now(), too_old: None }));
        let (server, ended) = (Arc::new(Server::new(config.times())), CancellationToken::new());
        Self { config: config.clone(), limits, pool: Arc::default(), process, server, ended }
    }

    /// The pool of the server that was found last, or that is found.
    async fn found(&self) -> Result<deadpool_redis::Pool, KvError> {
        if let Some(pool) = &*lock(&self.pool) {
            return Ok(pool.clone());
        }
        let pool = self.pool_of(self.config.info().await?);
        // Another task may have found the server meanwhile.
        Ok(lock(&self.pool).get_or_insert(pool).clone())
    }

    fn pool_of(&self, info: ConnectionInfo) -> deadpool_redis::Pool {
        let (limits, process) = (self.limits, &self.process);
        let manager = Manager::new_with_config(info, crate_settings());
        let timeouts =
            Timeouts { wait: Some(limits.wait), create: Some(limits.create_wait), recycle: Some(limits.recycle_wait) };
        deadpool_redis::Pool::builder(manager.expect("the address was parsed before"))
            .max_size(limits.connections_max)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .post_create(compare_new(process))
            .pre_recycle(compare_used(process))
            .build()
            .expect("a pool with a runtime can have timeouts")
    }

    /// Lets the next checkout use the server that was `named`, or ask the majority without one.
    fn search_again(&self, named: Option<&Named>) {
        if self.config.has_majority() {
            *lock(&self.pool) = named.map(|named| self.pool_of(self.config.info_of(named)));
        }
    }

    /// Takes a connection that has just answered.
    ///
    /// # Errors
    /// [`KvError`]: nothing has happened.
    pub async fn get(&self) -> Result<PooledCalls, KvError> {
        self.get_within(self.limits.wait).await
    }

    /// Takes a connection within `wait`, below the pool's own limit.
    ///
    /// # Errors
    /// As [`Pool::get`].
    pub async fn get_within(&self, wait: Duration) -> Result<PooledCalls, KvError> {
        tokio::time::timeout(wait, self.take()).await.unwrap_or(Err(KvError::Full))
    }

    async fn take(&self) -> Result<PooledCalls, KvError> {
        let found = self.found().await?;
        let place = found.get().await.inspect_err(|error| {
            if !matches!(error, PoolError::Timeout(TimeoutType::Wait)) {
                self.search_again(None);
            }
        });
        let place = place.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => KvError::Full,
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                KvError::Unreachable(error)
            }
            PoolError::PostCreateHook(_) => {
                lock(&self.process).too_old.clone().map_or(KvError::NotConnected, KvError::TooOld)
            }
            _ => KvError::NotConnected,
        })?;
        let calls = Calls::new((*place).clone(), Arc::clone(&self.server), self.ended.clone());
        if !self.server.knows_the_time(CLOCK_AGE) {
            calls.measure_clock().await.map_err(|_| KvError::NotConnected)?;
        }
        Ok(PooledCalls { calls, _place: place })
    }

    /// Restricts the pool to the process `run_id`, because the shard is live at that process. `named` is the server of that
    /// process, if a majority named it.
    pub fn follow(&self, run_id: &str, named: Option<&Named>) {
        let mut process = lock(&self.process);
        if process.run_id != run_id {
            *process = KnownProcess { run_id: run_id.to_owned(), since: Instant::now(), too_old: None };
            self.server.forget_the_time();
            self.search_again(named);
        }
    }

    /// The `run_id` of the pool's process. Empty before the first connection.
    pub fn run_id(&self) -> String {
        lock(&self.process).run_id.clone()
    }
}

impl Deref for PooledCalls {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}

/// Compares a new connection. The first connection decides the process until [`Pool::follow`].
fn compare_new(process: &Arc<Mutex<KnownProcess>>) -> Hook {
    let process = Arc::clone(process);
    Hook::async_fn(move |redis, _| {
        let process = Arc::clone(&process);
        Box::pin(async move {
            let info = redis::cmd("INFO").arg("server").query_async(redis).await.map_err(HookError::Backend)?;
            let unreadable = || HookError::message("the server does not say which process it is");
            let run_id = run_id(&info).ok_or_else(unreadable)?;
            let mut process = lock(&process);
            process.too_old = server_version::check(&info).err();
            if process.too_old.is_some() {
                return Err(HookError::message("the server is too old"));
            }
            if process.run_id.is_empty() {
                process.run_id = run_id;
            } else if process.run_id != run_id {
                return Err(HookError::message("another Redis process answers"));
            }
            Ok(())
        })
    })
}

/// Drops a used connection from before the last change of the process.
fn compare_used(process: &Arc<Mutex<KnownProcess>>) -> Hook {
    let process = Arc::clone(process);
    Hook::sync_fn(move |_, metrics| {
        let is_earlier = metrics.created < lock(&process).since;
        if is_earlier { Err(HookError::message("it leads to an earlier Redis process")) } else { Ok(()) }
    })
}

/// Ignores poisoning, because every write replaces whole values.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
