//! One connection to one Redis process.
//!
//! It never reconnects: it stays bound to the process it was made to, whose `run_id` it knows, so that no claim is ever sent
//! to a process that nobody has compared. Every call has a deadline, and a reply that is read after it does not count.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use tokio::sync::Mutex;

use super::address::LinkConfig;
use super::pipe::{Pipe, Replies};
use super::reply::{each, value};
use super::together::Case;
use super::{Command, KvError, Reply, Script};
use crate::figures::Histogram;

/// How long connecting may take, and every call that is made for the connection's own sake.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// How far [`Connection::server_ms`] is taken to be wrong at most, where the clock of the server or of this machine is set.
pub const CLOCK_ERROR_MS: u64 = 1_000;

/// A connection to one Redis process.
pub struct Connection {
    pipe: Pipe,
    run_id: String,
    origin: Instant,
    /// The server's clock, in ms, at `origin`. Rewritten by each probe.
    server_ms_at_origin: AtomicI64,
    /// How often the scripts were loaded again, and who does it: of many callers that miss them one loads them.
    reloads: AtomicU64,
    reloading: Mutex<()>,
    times: Arc<Histogram>,
}

impl Connection {
    /// Connects, loads the scripts and learns which process answers.
    ///
    /// # Errors
    /// [`KvError`]; nothing has been changed but the server's cache of scripts.
    pub async fn open(config: &LinkConfig) -> Result<Self, KvError> {
        let connecting = tokio::time::timeout(CONNECT_WAIT, config.connect()).await;
        let pipe = connecting.map_err(|_| KvError::TimedOut)?.map_err(KvError::Unreachable)?;
        let mut connection = Self {
            pipe,
            run_id: String::new(),
            origin: Instant::now(),
            server_ms_at_origin: AtomicI64::new(0),
            reloads: AtomicU64::new(0),
            reloading: Mutex::new(()),
            times: Arc::clone(config.times()),
        };
        for command in config.greeting() {
            connection.call(&command, CONNECT_WAIT).await?;
        }
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
    pub fn server_ms(&self) -> u64 {
        self.server_ms_at(Instant::now())
    }

    /// The server's clock at that moment of ours.
    pub fn server_ms_at(&self, moment: Instant) -> u64 {
        let server_ms = self.server_ms_at_origin.load(Ordering::Relaxed) + ms_between(self.origin, moment);
        u64::try_from(server_ms).unwrap_or(0)
    }

    /// Waits until the connection is of no more use, and says why. The reason is given once.
    pub(super) async fn ended(&self) -> io::Error {
        self.pipe.ended().await
    }

    /// Sends a command and waits up to `wait` for its reply.
    ///
    /// # Errors
    /// [`KvError`]; a reply that comes too late is [`KvError::TimedOut`], also where it was read.
    pub async fn call(&self, cmd: &Cmd, wait: Duration) -> Result<Value, KvError> {
        value(&self.exchange(1, wait, |buffer| buffer.extend_from_slice(&cmd.get_packed_command())).await?)
    }

    /// Calls a script, and loads the scripts again where the server has forgotten them.
    ///
    /// # Errors
    /// As [`Connection::call`], and [`KvError::Unreadable`] for a reply that is not an array of words.
    pub async fn eval(&self, command: &Command, wait: Duration) -> Result<Reply, KvError> {
        let began = Instant::now();
        let reply = self.repeat_without_script(wait, || self.pipe.call(1, |buffer| command.write_to(buffer))).await;
        self.note_call(began);
        reply
    }

    /// Calls a script that takes many cases with one of them; those that leave together are one call. Not among the
    /// connection's times without [`Connection::note_call`]: attempts take their own.
    ///
    /// # Errors
    /// As [`Connection::eval`]; an error may be this case's alone.
    pub async fn eval_together(&self, case: &impl Case, wait: Duration) -> Result<Reply, KvError> {
        self.repeat_without_script(wait, || self.pipe.join(case)).await
    }

    /// Sends a call of a script, and once more where the server had forgotten the scripts.
    async fn repeat_without_script<'a>(
        &'a self,
        wait: Duration,
        send: impl Fn() -> Result<Replies<'a>, KvError>,
    ) -> Result<Reply, KvError> {
        let deadline = Instant::now() + wait;
        let reloads = self.reloads.load(Ordering::SeqCst);
        match Reply::new(in_time(deadline, send()?).await?) {
            Err(error) if error.is_no_script() => {
                // The script did not run, whatever becomes of loading it. Boxed, so that not every call has room for it.
                Box::pin(self.reload_scripts(reloads, wait)).await.map_err(|_| KvError::NotConnected)?;
                Reply::new(in_time(deadline, send()?).await?)
            }
            other => other,
        }
    }

    /// Sends commands together and gives their replies in order.
    ///
    /// # Errors
    /// As [`Connection::call`]; a command that Redis answers with an error fails the whole.
    pub async fn call_all(&self, pipeline: &redis::Pipeline, wait: Duration) -> Result<Vec<Value>, KvError> {
        let packed = pipeline.get_packed_pipeline();
        let replies = self.exchange(pipeline.len(), wait, |buffer| buffer.extend_from_slice(&packed)).await?;
        each(&replies, value)
    }

    /// Calls scripts together and gives their replies in order. The scripts are loaded since the connection was made; where
    /// the server has forgotten them since, nothing has happened.
    ///
    /// # Errors
    /// As [`Connection::call_all`] and [`Connection::eval`].
    pub async fn eval_all(&self, commands: &[Command], wait: Duration) -> Result<Vec<Reply>, KvError> {
        each(&self.send_all(commands, wait).await?, |reply| Reply::new(reply.to_vec()))
    }

    /// Sends commands that reply with arrays together, and gives their replies in order.
    ///
    /// # Errors
    /// As [`Connection::call_all`], and [`KvError::Unreadable`] for a reply that is not an array.
    pub async fn read_all(&self, commands: &[Command], wait: Duration) -> Result<Vec<Reply>, KvError> {
        each(&self.send_all(commands, wait).await?, |reply| Reply::array(reply.to_vec()))
    }

    async fn send_all(&self, commands: &[Command], wait: Duration) -> Result<Vec<u8>, KvError> {
        let pack = |buffer: &mut Vec<u8>| commands.iter().for_each(|command| command.write_to(buffer));
        self.exchange(commands.len(), wait, pack).await
    }

    async fn exchange(
        &self,
        replies: usize,
        wait: Duration,
        pack: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>, KvError> {
        if replies == 0 {
            return Ok(Vec::new());
        }
        let sent = self.pipe.call(replies, pack)?;
        let began = Instant::now();
        let replies = in_time(began + wait, sent).await;
        self.note_call(began);
        replies
    }

    /// Notes a call that began then and is over: for one by [`Connection::eval_together`] that is to be among the times. Not a
    /// wrapper around the call, whose future would have room for it twice.
    pub fn note_call(&self, began: Instant) {
        self.times.note_time(began.elapsed());
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

    /// Asks the server for its time, which also shows that it answers.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub(super) async fn measure_clock(&self) -> Result<(), KvError> {
        let sent = elapsed_ms(self.origin);
        let reply = self.call(&redis::cmd("TIME"), CONNECT_WAIT).await?;
        let middle = i64::midpoint(sent, elapsed_ms(self.origin));
        let (seconds, micros): (i64, i64) = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
        self.server_ms_at_origin.store(seconds * 1_000 + micros / 1_000 - middle, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits for replies until the deadline.
async fn in_time(deadline: Instant, replies: Replies<'_>) -> Result<Vec<u8>, KvError> {
    let bytes = tokio::time::timeout_at(deadline.into(), replies).await;
    // The timer is looked at only when the task is polled: a worker that was held up would take a late reply.
    if Instant::now() > deadline {
        return Err(KvError::TimedOut);
    }
    bytes.unwrap_or(Err(KvError::TimedOut))
}

fn elapsed_ms(origin: Instant) -> i64 {
    ms_between(origin, Instant::now())
}

fn ms_between(earlier: Instant, later: Instant) -> i64 {
    let between = later.saturating_duration_since(earlier);
    i64::try_from(between.as_millis()).expect("a process does not run for 292 million years")
}

fn run_id(info: &Value) -> Option<String> {
    let info: String = redis::from_redis_value_ref(info).ok()?;
    info.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim().to_owned())
}
