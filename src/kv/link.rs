//! One connection to Redis, kept.
//!
//! A [`Link`] is a place for a connection; its [`Link::keep`] connects, watches and connects again. A [`Connection`] never
//! reconnects by itself: it stays bound to the Redis process it was made to, whose `run_id` it knows, so that no claim
//! is ever sent to a process that nobody has compared. Each worker thread has a link of its own, driven on that thread,
//! and the background tasks share one.
//!
//! Writers: `keep` alone puts connections in and takes them out. Readers: anybody, without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{KvError, Reply, Script};

/// How long connecting may take, and every call that [`Link::keep`] makes.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How often a connection is probed, which also measures the server's clock.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The pause before connecting again: from the first to the last, doubled each time.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often it is looked whether the first connection is there.
const FIRST_POLL: Duration = Duration::from_millis(5);
/// Calls that may wait for the socket of one connection; the callers' deadlines bound how long.
const CALLS_WAITING_MAX: usize = 4_096;

/// Where Redis is.
#[derive(Clone)]
pub struct LinkConfig {
    client: redis::Client,
}

/// A place for a connection to Redis.
pub struct Link {
    config: LinkConfig,
    current: ArcSwapOption<Connection>,
    /// Rung by whoever sees the current connection fail.
    broken: Notify,
}

/// A connection to one Redis process.
pub struct Connection {
    inner: MultiplexedConnection,
    run_id: String,
    origin: Instant,
    /// The server's clock, in ms, at `origin`. Rewritten by each probe.
    server_ms_at_origin: AtomicI64,
    /// How often the scripts were loaded again, and who does it: of many callers that miss them one loads them.
    reloads: AtomicU64,
    reloading: Mutex<()>,
}

impl LinkConfig {
    /// # Errors
    /// A sentence where `url` is not one that the `redis` crate takes. It never repeats the URL, which may hold a
    /// password.
    pub fn new(url: &str) -> Result<Self, String> {
        redis::Client::open(url).map(|client| Self { client }).map_err(|error| error.category().to_owned())
    }
}

impl Link {
    pub fn new(config: LinkConfig) -> Self {
        Self { config, current: ArcSwapOption::empty(), broken: Notify::new() }
    }

    /// The connection, where there is one.
    ///
    /// # Errors
    /// [`KvError::NotConnected`] until [`Link::keep`] has made one.
    pub fn connection(&self) -> Result<Arc<Connection>, KvError> {
        self.current.load_full().ok_or(KvError::NotConnected)
    }

    /// Waits for the first connection, up to `wait`.
    pub async fn connected(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        while self.current.load().is_none() && Instant::now() < deadline {
            tokio::time::sleep(FIRST_POLL).await;
        }
    }

    /// Keeps a connection in place until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut pause = RECONNECT_PAUSES.0;
        let mut reported = false;
        while !stop.is_cancelled() {
            match Connection::open(&self.config).await {
                Ok(connection) => {
                    if reported {
                        log::info!("redis: connected again");
                    }
                    (pause, reported) = (RECONNECT_PAUSES.0, false);
                    let connection = Arc::new(connection);
                    self.current.store(Some(Arc::clone(&connection)));
                    self.watch(&connection, &stop).await;
                    self.current.store(None);
                }
                Err(error) => {
                    if !reported {
                        log::warn!("redis: cannot connect: {error}");
                        reported = true;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(RECONNECT_PAUSES.1);
                }
            }
        }
    }

    /// Returns when `connection` is of no more use.
    async fn watch(&self, connection: &Connection, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {
                    if let Err(error) = connection.measure_clock().await {
                        log::warn!("redis: connection given up: {error}");
                        return;
                    }
                }
                () = self.broken.notified() => {
                    log::warn!("redis: connection lost");
                    return;
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tells [`Link::keep`] that a call over the current connection met `error`.
    pub fn report(&self, error: &KvError) {
        if let KvError::Unknown(error) = error
            && (error.is_unrecoverable_error() || error.is_connection_dropped())
        {
            self.broken.notify_one();
        }
    }
}

impl Connection {
    /// Connects, loads the scripts and learns which process answers.
    ///
    /// # Errors
    /// [`KvError`]; nothing has been changed but the server's cache of scripts.
    pub async fn open(config: &LinkConfig) -> Result<Self, KvError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WAIT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(CALLS_WAITING_MAX);
        let connecting = config.client.get_multiplexed_async_connection_with_config(&settings);
        let inner = tokio::time::timeout(CONNECT_WAIT, connecting).await.map_err(|_| KvError::TimedOut)??;
        let mut connection = Self {
            inner,
            run_id: String::new(),
            origin: Instant::now(),
            server_ms_at_origin: AtomicI64::new(0),
            reloads: AtomicU64::new(0),
            reloading: Mutex::new(()),
        };
        let info = connection.call(redis::cmd("INFO").arg("server"), CONNECT_WAIT).await?;
        connection.run_id = run_id(&info).ok_or(KvError::Unreadable)?;
        connection.load_scripts(CONNECT_WAIT).await?;
        connection.measure_clock().await?;
        Ok(connection)
    }

    /// The Redis process at the other end.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The server's clock, in ms since 1970, as last measured; wrong by half a round trip at most.
    pub fn server_ms(&self) -> i64 {
        self.server_ms_at_origin.load(Ordering::Relaxed) + elapsed_ms(self.origin)
    }

    /// Sends a command and waits up to `wait` for its reply.
    ///
    /// # Errors
    /// [`KvError`]; a reply that comes too late is [`KvError::TimedOut`], also where it was read.
    pub async fn call(&self, cmd: &Cmd, wait: Duration) -> Result<Value, KvError> {
        self.call_by(cmd, Instant::now() + wait).await
    }

    /// Calls a script, and loads the scripts again where the server has forgotten them.
    ///
    /// # Errors
    /// As [`Connection::call`], and [`KvError::Unreadable`] for a reply that is not an array of words.
    pub async fn eval(&self, cmd: &Cmd, wait: Duration) -> Result<Reply, KvError> {
        let deadline = Instant::now() + wait;
        let reloads = self.reloads.load(Ordering::SeqCst);
        let value = match self.call_by(cmd, deadline).await {
            Err(error) if error.is_no_script() => {
                // The script did not run, whatever becomes of loading it.
                self.reload_scripts(reloads, wait).await.map_err(|_| KvError::NotConnected)?;
                self.call_by(cmd, deadline).await?
            }
            other => other?,
        };
        Reply::new(value)
    }

    /// Sends commands together and gives their replies in order.
    ///
    /// # Errors
    /// As [`Connection::call`]; a command that Redis answers with an error fails the whole.
    pub async fn call_all(&self, pipeline: &redis::Pipeline, wait: Duration) -> Result<Vec<Value>, KvError> {
        let mut inner = self.inner.clone();
        match tokio::time::timeout(wait, pipeline.query_async(&mut inner)).await {
            Ok(replies) => Ok(replies?),
            Err(_) => Err(KvError::TimedOut),
        }
    }

    /// Calls scripts together and gives their replies in order. The scripts are loaded since the connection was made; where
    /// the server has forgotten them since, nothing has happened.
    ///
    /// # Errors
    /// As [`Connection::call_all`] and [`Connection::eval`].
    pub async fn eval_all(&self, pipeline: &redis::Pipeline, wait: Duration) -> Result<Vec<Reply>, KvError> {
        self.call_all(pipeline, wait).await?.into_iter().map(Reply::new).collect()
    }

    async fn call_by(&self, cmd: &Cmd, deadline: Instant) -> Result<Value, KvError> {
        let mut inner = self.inner.clone();
        let reply = tokio::time::timeout_at(deadline.into(), inner.send_packed_command(cmd)).await;
        // The timer is looked at only when the task is polled: a worker that was held up would take a late reply.
        if Instant::now() > deadline {
            return Err(KvError::TimedOut);
        }
        match reply {
            Ok(value) => Ok(value?.extract_error()?),
            Err(_) => Err(KvError::TimedOut),
        }
    }

    async fn load_scripts(&self, wait: Duration) -> Result<(), KvError> {
        for code in Script::sources() {
            self.call(redis::cmd("SCRIPT").arg("LOAD").arg(code), wait).await?;
        }
        Ok(())
    }

    /// Loads the scripts, unless that was done since the caller counted `reloads`.
    async fn reload_scripts(&self, reloads: u64, wait: Duration) -> Result<(), KvError> {
        let _reloading = tokio::time::timeout(wait, self.reloading.lock()).await.map_err(|_| KvError::TimedOut)?;
        if self.reloads.load(Ordering::SeqCst) == reloads {
            self.load_scripts(wait).await?;
            self.reloads.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn measure_clock(&self) -> Result<(), KvError> {
        let sent = elapsed_ms(self.origin);
        let reply = self.call(&redis::cmd("TIME"), CONNECT_WAIT).await?;
        let middle = i64::midpoint(sent, elapsed_ms(self.origin));
        let (seconds, micros): (i64, i64) = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
        self.server_ms_at_origin.store(seconds * 1_000 + micros / 1_000 - middle, Ordering::Relaxed);
        Ok(())
    }
}

fn elapsed_ms(origin: Instant) -> i64 {
    i64::try_from(origin.elapsed().as_millis()).expect("a process does not run for 292 million years")
}

fn run_id(info: &Value) -> Option<String> {
    let info: String = redis::from_redis_value_ref(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}
