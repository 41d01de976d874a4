//! Calls to one Redis process over one connection.
//!
//! Every call has a deadline. A reply that is read after its deadline does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{KvError, Script, ScriptReply};
use crate::figures::Histogram;

/// Calls of one connection that may wait for their replies, attempts not among them. Their deadlines bound how long.
pub(super) const CALLS_WAITING_MAX: usize = 4_096;
/// How long a call may take that is made for the connection's own sake.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// The largest error of [`Calls::server_ms`] that is reckoned with, if somebody sets the server's or this machine's clock.
pub const CLOCK_ERROR_MS: u64 = 1_000;

/// Calls to one Redis process over one connection. Cloning shares the connection.
#[derive(Clone)]
pub struct Calls {
    redis: MultiplexedConnection,
    server: Arc<Server>,
    /// Cancelled once the connection has ended. From then on calls are refused, and nothing is sent.
    ended: CancellationToken,
}

/// State that belongs to a server instead of a connection: a pool shares it among its connections.
pub(super) struct Server {
    origin: Instant,
    /// The server's clock at `origin`, in ms. Rewritten by each measurement.
    server_ms_at_origin: AtomicI64,
    /// When the clock was measured, in ms since `origin`; [`NEVER`] before.
    measured_ms: AtomicI64,
    /// How often the scripts were loaded again. Of many callers that miss them, one loads them.
    reloads: AtomicU64,
    reloading: Mutex<()>,
    /// A permit for each call that may wait.
    waiting: Semaphore,
    times: Arc<Histogram>,
}

const NEVER: i64 = i64::MIN;

impl Server {
    pub(super) fn new(times: &Arc<Histogram>) -> Self {
        Self {
            origin: Instant::now(),
            server_ms_at_origin: AtomicI64::new(0),
            measured_ms: AtomicI64::new(NEVER),
            reloads: AtomicU64::new(0),
            reloading: Mutex::new(()),
            waiting: Semaphore::new(CALLS_WAITING_MAX),
            times: Arc::clone(times),
        }
    }

    /// Whether the clock was measured within `age`.
    pub(super) fn knows_the_time(&self, age: Duration) -> bool {
        let measured = self.measured_ms.load(Ordering::Relaxed);
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        measured != NEVER && ms_between(self.origin, Instant::now()) - measured < age
    }

    /// Another process answers from now on: its clock is not known.
    pub(super) fn forget_the_time(&self) {
        self.measured_ms.store(NEVER, Ordering::Relaxed);
    }
}

impl Calls {
    pub(super) fn new(redis: MultiplexedConnection, server: Arc<Server>, ended: CancellationToken) -> Self {
        Self { redis, server, ended }
    }

    /// The server's clock, in ms since 1970, as last measured; wrong by half a round trip at most.
    pub fn server_ms(&self) -> u64 {
        self.server_ms_at(Instant::now())
    }

    /// The server's clock at that moment of ours.
    pub fn server_ms_at(&self, moment: Instant) -> u64 {
        let server = &self.server;
        let server_ms = server.server_ms_at_origin.load(Ordering::Relaxed) + ms_between(server.origin, moment);
        u64::try_from(server_ms).unwrap_or(0)
    }

    /// Sends a command and waits up to `wait` for its reply.
    ///
    /// # Errors
    /// [`KvError`]. A reply that comes too late is [`KvError::TimedOut`], even if it was read.
    pub async fn call(&self, cmd: &Cmd, wait: Duration) -> Result<Value, KvError> {
        self.within(wait, self.send(cmd)).await
    }

    /// Sends commands together and gives their replies in order.
    ///
    /// # Errors
    /// As [`Calls::call`]; a command that Redis answers with an error fails the whole.
    pub async fn call_all(&self, pipeline: &Pipeline, wait: Duration) -> Result<Vec<Value>, KvError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let sent = async {
            let mut redis = self.redis.clone();
            let values = redis.send_packed_commands(pipeline, 0, pipeline.len()).await?;
            values.into_iter().map(|value| Ok(value.extract_error()?)).collect()
        };
        self.within(wait, sent).await
    }

    /// Calls a script, and loads the scripts again if the server has forgotten them.
    ///
    /// # Errors
    /// As [`Calls::call`], and [`KvError::Unreadable`] for a reply that no script gives.
    pub async fn eval(&self, cmd: &Cmd, wait: Duration) -> Result<ScriptReply, KvError> {
        ScriptReply::new(self.within(wait, self.send_script(cmd)).await?)
    }

    /// Calls scripts together and gives their replies in order. The scripts were loaded when the connection was made. If
    /// the server has forgotten them since, nothing has happened.
    ///
    /// # Errors
    /// As [`Calls::call_all`] and [`Calls::eval`].
    pub async fn eval_all(&self, commands: Vec<Cmd>, wait: Duration) -> Result<Vec<ScriptReply>, KvError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for cmd in commands {
            pipeline.add_command(cmd);
        }
        self.call_all(&pipeline, wait).await?.into_iter().map(ScriptReply::new).collect()
    }

    /// Waits for `sent` until the deadline, and notes the duration.
    async fn within<T>(&self, wait: Duration, sent: impl Future<Output = Result<T, KvError>>) -> Result<T, KvError> {
        let began = Instant::now();
        if self.ended.is_cancelled() {
            return Err(KvError::NotConnected);
        }
        let _permit = self.server.waiting.try_acquire().map_err(|_| KvError::Full)?;
        let result = in_time(began + wait, sent).await;
        self.server.times.note_time(began.elapsed());
        result
    }

    /// Sends a command and waits for its reply, without a deadline.
    async fn send(&self, cmd: &Cmd) -> Result<Value, KvError> {
        let value = self.redis.clone().send_packed_command(cmd).await?;
        Ok(value.extract_error()?)
    }

    /// Sends a script's call without a deadline, and once more after the server had forgotten the scripts.
    pub(super) async fn send_script(&self, cmd: &Cmd) -> Result<Value, KvError> {
        // Not by `extract_error`: an element of the reply may be an error of its own.
        let send = async || match self.redis.clone().send_packed_command(cmd).await? {
            Value::ServerError(error) => Err(KvError::from(redis::RedisError::from(error))),
            value => Ok(value),
        };
        let reloads = self.server.reloads.load(Ordering::SeqCst);
        match send().await {
            Err(error) if error.is_no_script() => {
                // The script did not run, even if loading it fails. Boxed, so that not every call has room for it.
                Box::pin(self.reload_scripts(reloads)).await.map_err(|_| KvError::NotConnected)?;
                send().await
            }
            other => other,
        }
    }

    pub(super) async fn load_scripts(&self) -> Result<(), KvError> {
        let mut pipeline = redis::pipe();
        for code in Script::sources() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(code);
        }
        self.call_all(&pipeline, CONNECT_WAIT).await?;
        Ok(())
    }

    /// Loads the scripts, unless somebody did so since the caller read `reloads`.
    async fn reload_scripts(&self, reloads: u64) -> Result<(), KvError> {
        let lock = self.server.reloading.lock();
        let _reloading = tokio::time::timeout(CONNECT_WAIT, lock).await.map_err(|_| KvError::TimedOut)?;
        if self.server.reloads.load(Ordering::SeqCst) == reloads {
            self.load_scripts().await?;
            self.server.reloads.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Asks the server for its time. The answer also proves that the server works.
    ///
    /// # Errors
    /// As [`Calls::call`].
    pub(super) async fn measure_clock(&self) -> Result<(), KvError> {
        let server = &self.server;
        let sent = ms_between(server.origin, Instant::now());
        let reply = self.call(&redis::cmd("TIME"), CONNECT_WAIT).await?;
        let received = ms_between(server.origin, Instant::now());
        let (seconds, micros): (i64, i64) = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
        let middle = i64::midpoint(sent, received);
        server.server_ms_at_origin.store(seconds * 1_000 + micros / 1_000 - middle, Ordering::Relaxed);
        server.measured_ms.store(received, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits for `result` until the deadline.
pub(super) async fn in_time<T>(
    deadline: Instant,
    result: impl Future<Output = Result<T, KvError>>,
) -> Result<T, KvError> {
    let result = tokio::time::timeout_at(deadline.into(), result).await;
    // The timer counts only when the task is polled. A worker that was held up would take a late reply.
    if Instant::now() > deadline {
        return Err(KvError::TimedOut);
    }
    result.unwrap_or(Err(KvError::TimedOut))
}

/// The `run_id` that `INFO server` names.
pub(super) fn run_id(info: &Value) -> Option<String> {
    let info: String = redis::from_redis_value_ref(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}

fn ms_between(earlier: Instant, later: Instant) -> i64 {
    let between = later.saturating_duration_since(earlier);
    i64::try_from(between.as_millis()).expect("a process does not run for 292 million years")
}
