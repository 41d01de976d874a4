//! One connection to one Redis process.
//!
//! A connection never reconnects. The connection stays bound to one process with a known `run_id`, so no claim reaches
//! a process that recovery has not compared.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::address::{LinkConfig, Socket};
use super::batcher::{ATTEMPTS_WAITING_MAX, WaitingAttempt, run_batcher};
use super::beats::BeatWriter;
use super::calls::{CONNECT_WAIT, Server, in_time, run_id, uptime};
use super::majority::Named;
use super::{Calls, ClaimArguments, KvError, Live, WriteRefusal, server_version};

/// A connection to one Redis process. Offers all [`Calls`], and batches attempts.
pub struct Connection {
    calls: Calls,
    run_id: String,
    peer: String,
    named: Option<Named>,
    /// When the process answered, and for how long it had run then.
    opened: (Instant, Duration),
    beat: Option<BeatWriter>,
    /// The result of the last probe.
    refusal: SyncMutex<Option<WriteRefusal>>,
    /// Set when another process has the shard. The link then replaces this connection.
    is_given_up: AtomicBool,
    /// Attempts on the way to the batcher. The batcher closes the channel at the end of the connection.
    attempts: mpsc::Sender<WaitingAttempt>,
    ended: CancellationToken,
    /// Drives the socket. The end of this task is the end of the connection.
    driver: Mutex<JoinSet<()>>,
    /// Runs the batcher. Ends after the driver, once every attempt is answered.
    batcher: Mutex<JoinSet<()>>,
}

impl Connection {
    /// Connects, asks for version and `run_id`, loads the scripts, and probes the server.
    ///
    /// # Errors
    /// [`KvError`], also for a replica and for a server that is too old. Only the server's script cache and the beat may have changed.
    pub async fn open(config: &LinkConfig) -> Result<Self, KvError> {
        let connecting = tokio::time::timeout(CONNECT_WAIT, config.connect()).await;
        let Socket { redis, driver: socket, peer, named } = connecting.map_err(|_| KvError::TimedOut)??;
        let ended = CancellationToken::new();
        let calls = Calls::new(redis, Arc::new(Server::new(config.times())), ended.clone());
        let (attempts, waiting) = mpsc::channel(ATTEMPTS_WAITING_MAX);
        let (mut driver, mut batcher) = (JoinSet::new(), JoinSet::new());
        let ends = ended.clone().drop_guard();
        driver.spawn(async move {
            let _ends = ends;
            socket.await;
        });
        batcher.spawn(run_batcher(calls.clone(), waiting, ended.clone()));
        let info = calls.call(redis::cmd("INFO").arg("server"), CONNECT_WAIT).await?;
        server_version::check(&info)?;
        let run_id = run_id(&info).ok_or(KvError::Unreadable)?;
        let opened = (Instant::now(), uptime(&info));
        calls.load_scripts().await?;
        let refusal = calls.probe(&config.beat().map(BeatWriter::commands).unwrap_or_default()).await?;
        Ok(Self {
            calls,
            run_id,
            peer,
            named,
            opened,
            beat: config.beat().cloned(),
            refusal: SyncMutex::new(refusal),
            is_given_up: AtomicBool::new(false),
            attempts,
            ended,
            driver: Mutex::new(driver),
            batcher: Mutex::new(batcher),
        })
    }

    /// Checks that the server is a primary that takes writes, and measures its clock.
    ///
    /// # Errors
    /// [`KvError`]: the server is a replica or has not answered. A refused write is no error, see
    /// [`Connection::write_refusal`].
    pub async fn probe(&self) -> Result<(), KvError> {
        let refusal = self.calls.probe(&self.beat.as_ref().map(BeatWriter::commands).unwrap_or_default()).await?;
        if refusal == Some(WriteRefusal::Elsewhere) {
            // The address is resolved again.
            self.give_up();
        }
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        Ok(())
    }

    /// Why the server refused the write of the last probe, or `None`.
    pub fn write_refusal(&self) -> Option<WriteRefusal> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this connection leads to the process of `live`. If not, the link replaces the connection within a
    /// second, because the address may lead to that process by now.
    pub fn leads_to(&self, live: &Live) -> bool {
        let is_same = self.run_id == live.run_id;
        if !is_same {
            self.give_up();
        }
        is_same
    }

    /// Lets the link replace this connection within a second.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// The server that the majority named when the connection was made. `None` for a single address.
    pub fn named(&self) -> Option<&Named> {
        self.named.as_ref()
    }

    /// The address of the server: IP and port, or the path of a Unix socket.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// For how long the process has run.
    pub fn uptime(&self) -> Duration {
        let (opened, uptime) = self.opened;
        uptime + opened.elapsed()
    }

    /// Makes an attempt at a unit in a batch, and waits up to `wait` for the reply of `lua/claim.lua`. The duration is
    /// not recorded here, because attempts have a histogram of their own.
    ///
    /// # Errors
    /// [`KvError`] of this attempt. [`KvError::Full`] and [`KvError::NotConnected`]: the attempt was not sent.
    pub async fn attempt(&self, arguments: ClaimArguments, wait: Duration) -> Result<String, KvError> {
        let deadline = Instant::now() + wait;
        let (answer, answered) = oneshot::channel();
        self.attempts.try_send(WaitingAttempt { arguments, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => KvError::Full,
            mpsc::error::TrySendError::Closed(_) => KvError::NotConnected,
        })?;
        // A batch dropped without an answer may have been sent.
        in_time(deadline, async { answered.await.unwrap_or(Err(KvError::Lost)) }).await
    }

    /// Waits for the end of the connection.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Closes the socket and waits until every attempt is answered. Dropping the connection closes the socket, too.
    pub(super) async fn close(&self) {
        self.driver.lock().await.shutdown().await;
        let mut batcher = self.batcher.lock().await;
        while batcher.join_next().await.is_some() {}
    }
}

impl Deref for Connection {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}
