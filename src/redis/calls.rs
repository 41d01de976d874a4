//! Calls to one Redis process. Every call has a deadline. A reply after the deadline does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{KvError, Script, ScriptReply, WriteRefusal, parse, server_version};
use crate::base::Histogram;

/// Calls of one connection that may wait for a reply, besides attempts. Deadlines bound the waiting.
pub(super) const CALLS_WAITING_MAX: usize = 4_096;
/// Timeout of calls that open or check a connection.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Assumed largest error of [`Calls::server_ms`], in case an operator sets a clock.
pub const CLOCK_ERROR_MS: u64 = 1_000;

/// Calls to one Redis process over one connection. Cloning shares the connection.
#[derive(Clone)]
pub struct Calls {
    redis: MultiplexedConnection,
    server: Arc<Server>,
    /// Cancelled at the end of the connection. Later calls are refused without sending.
    ended: CancellationToken,
}

/// State of a server. All connections of a pool share one.
pub(super) struct Server {
    origin: Instant,
    /// The server's clock at `origin`, in ms since 1970. Every measurement replaces the value.
    server_ms_at_origin: AtomicI64,
    /// Time of the last measurement, in ms since `origin`, or [`NEVER`].
    measured_ms: AtomicI64,
    /// Counts reloads of the scripts, so one of many callers reloads.
    reloads: AtomicU64,
    reloading: Mutex<()>,
    /// A permit for every call that may wait.
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

    /// Notes the reply to `TIME`, which was sent at `sent` and has just arrived.
    fn note_clock(&self, sent: Instant, reply: Value) -> Result<(), KvError> {
        let (sent, received) = (ms_between(self.origin, sent), ms_between(self.origin, Instant::now()));
        let (seconds, micros): (i64, i64) = parse(reply)?;
        let middle = i64::midpoint(sent, received);
        self.server_ms_at_origin.store(seconds * 1_000 + micros / 1_000 - middle, Ordering::Relaxed);
        self.measured_ms.store(received, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets the measurement, because another process answers from now on.
    pub(super) fn forget_the_time(&self) {
        self.measured_ms.store(NEVER, Ordering::Relaxed);
    }
}

impl Calls {
    pub(super) fn new(redis: MultiplexedConnection, server: Arc<Server>, ended: CancellationToken) -> Self {
        Self { redis, server, ended }
    }

    pub(super) fn have_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// The server's clock, in ms since 1970. The error is at most half a round trip.
    pub fn server_ms(&self) -> u64 {
        self.server_ms_at(Instant::now())
    }

    /// The server's clock at a local moment, in ms since 1970.
    pub fn server_ms_at(&self, moment: Instant) -> u64 {
        let server = &self.server;
        let server_ms = server.server_ms_at_origin.load(Ordering::Relaxed) + ms_between(server.origin, moment);
        u64::try_from(server_ms).unwrap_or(0)
    }

    /// Sends a command and waits up to `wait` for the reply.
    ///
    /// # Errors
    /// [`KvError`]. A late reply is [`KvError::TimedOut`], even if the reply was read.
    pub async fn call(&self, cmd: &Cmd, wait: Duration) -> Result<Value, KvError> {
        self.within(wait, self.send(cmd)).await
    }

    /// Sends commands in one pipeline and returns the replies in order.
    ///
    /// # Errors
    /// As [`Calls::call`]. The first error among the replies fails the whole pipeline.
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

    /// Sends commands in one pipeline and returns the replies in order, errors among them.
    ///
    /// # Errors
    /// As [`Calls::call`], but a refused command is only one of the replies.
    pub async fn call_each(&self, pipeline: &Pipeline, wait: Duration) -> Result<Vec<Value>, KvError> {
        let sent = async { Ok(self.redis.clone().send_packed_commands(pipeline, 0, pipeline.len()).await?) };
        self.within(wait, sent).await
    }

    /// Calls a script. Reloads forgotten scripts. An unknown reply is [`KvError::Unreadable`].
    pub(super) async fn eval(&self, cmd: &Cmd, wait: Duration) -> Result<ScriptReply, KvError> {
        ScriptReply::new(self.within(wait, self.send_script(cmd)).await?)
    }

    /// Calls scripts in one pipeline and returns the replies in order. Does not reload forgotten scripts: `NOSCRIPT`
    /// is an error, and nothing has happened.
    pub(super) async fn eval_all(&self, commands: Vec<Cmd>, wait: Duration) -> Result<Vec<ScriptReply>, KvError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for cmd in commands {
            pipeline.add_command(cmd);
        }
        self.call_all(&pipeline, wait).await?.into_iter().map(ScriptReply::new).collect()
    }

    /// Waits for `sent` until the deadline, and records the duration.
    async fn within<T>(&self, wait: Duration, sent: impl Future<Output = Result<T, KvError>>) -> Result<T, KvError> {
        let began = Instant::now();
        if self.have_ended() {
            return Err(KvError::NotConnected);
        }
        let _permit = self.server.waiting.try_acquire().map_err(|_| KvError::Full)?;
        let result = in_time(began + wait, sent).await;
        self.server.times.note_time(began.elapsed());
        result
    }

    /// Sends a command and waits for the reply without a deadline.
    async fn send(&self, cmd: &Cmd) -> Result<Value, KvError> {
        let value = self.redis.clone().send_packed_command(cmd).await?;
        Ok(value.extract_error()?)
    }

    /// Calls a script without a deadline, and repeats the call once after `NOSCRIPT`.
    pub(super) async fn send_script(&self, cmd: &Cmd) -> Result<Value, KvError> {
        // `extract_error` would let the error of one array element replace the whole reply.
        let send = async || match self.redis.clone().send_packed_command(cmd).await? {
            Value::ServerError(error) => Err(KvError::from(redis::RedisError::from(error))),
            value => Ok(value),
        };
        let reloads = self.server.reloads.load(Ordering::SeqCst);
        match send().await {
            Err(error) if error.is_no_script() => {
                // The script did not run, even if the reload fails. Boxed, to keep the future of every call small.
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

    /// Reloads the scripts, unless another caller did so after `reloads` was read.
    async fn reload_scripts(&self, reloads: u64) -> Result<(), KvError> {
        let lock = self.server.reloading.lock();
        let _reloading = tokio::time::timeout(CONNECT_WAIT, lock).await.map_err(|_| KvError::TimedOut)?;
        if self.server.reloads.load(Ordering::SeqCst) == reloads {
            self.load_scripts().await?;
            self.server.reloads.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Measures the server's clock.
    pub(super) async fn measure_clock(&self) -> Result<(), KvError> {
        let sent = Instant::now();
        let reply = self.call(&redis::cmd("TIME"), CONNECT_WAIT).await?;
        self.server.note_clock(sent, reply)
    }

    /// Measures the server's clock, and checks that the server is a primary. Also sends `writes`. Returns why the server
    /// refuses one of them, or `None`.
    ///
    /// # Errors
    /// [`KvError::Replica`], or any error of a call.
    pub(super) async fn probe(&self, writes: &[Cmd]) -> Result<Option<WriteRefusal>, KvError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("ROLE");
        for write in writes {
            pipeline.add_command(write.clone());
        }
        let sent = Instant::now();
        let mut replies = self.call_each(&pipeline, CONNECT_WAIT).await?.into_iter();
        let mut next = || replies.next().ok_or(KvError::Unreadable);
        self.server.note_clock(sent, next()?.extract_error()?)?;
        if is_replica(&next()?) {
            return Err(KvError::Replica);
        }
        for _ in writes {
            if let Err(error) = next()?.extract_error() {
                let error = KvError::from(error);
                return error.write_refusal().map(Some).ok_or(error);
            }
        }
        Ok(None)
    }
}

/// Whether the reply to `ROLE` is that of a replica. A user without the right to ask counts as connected to a primary.
fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else { return false };
    matches!(parts.first(), Some(Value::BulkString(role)) if role != b"master")
}

pub(super) async fn in_time<T>(
    deadline: Instant,
    result: impl Future<Output = Result<T, KvError>>,
) -> Result<T, KvError> {
    let result = tokio::time::timeout_at(deadline.into(), result).await;
    // The timer is checked only when the task is polled. A delayed worker could otherwise accept a late reply.
    if Instant::now() > deadline {
        return Err(KvError::TimedOut);
    }
    result.unwrap_or(Err(KvError::TimedOut))
}

/// The `run_id` in the reply to `INFO server`.
pub(super) fn run_id(info: &Value) -> Option<String> {
    server_version::field(info, "run_id")
}

/// For how long the server has run, in the reply to `INFO server`. Zero if the reply does not say.
pub(super) fn uptime(info: &Value) -> Duration {
    let seconds = server_version::field(info, "uptime_in_seconds").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn ms_between(earlier: Instant, later: Instant) -> i64 {
    let between = later.saturating_duration_since(earlier);
    i64::try_from(between.as_millis()).expect("a process does not run for 292 million years")
}
