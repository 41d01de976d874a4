//! One connection to one Redis process.
//!
//! A connection never reconnects. The connection stays bound to one process with a known `run_id`, so no claim reaches
//! a process that recovery has not compared.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::batcher::{ATTEMPTS_WAITING_MAX, WaitingAttempt, run_batcher};
use super::calls::{CONNECT_WAIT, Server, in_time, run_id};
use super::{Calls, ClaimArguments, KvError};

/// A connection to one Redis process. Offers all [`Calls`], and batches attempts.
pub struct Connection {
    calls: Calls,
    run_id: String,
    /// Attempts on the way to the batcher. The batcher closes the channel at the end of the connection.
    attempts: mpsc::Sender<WaitingAttempt>,
    ended: CancellationToken,
    /// Drives the socket. The end of this task is the end of the connection.
    driver: Mutex<JoinSet<()>>,
    /// Runs the batcher. Ends after the driver, once every attempt is answered.
    batcher: Mutex<JoinSet<()>>,
}

impl Connection {
    /// Connects, loads the scripts, and asks for the `run_id` and the time.
    ///
    /// # Errors
    /// [`KvError`]. Only the server's script cache may have changed.
    pub async fn open(config: &LinkConfig) -> Result<Self, KvError> {
        let connecting = tokio::time::timeout(CONNECT_WAIT, config.connect()).await;
        let (redis, socket) = connecting.map_err(|_| KvError::TimedOut)?.map_err(KvError::Unreachable)?;
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
        let (driver, batcher) = (Mutex::new(driver), Mutex::new(batcher));
        let mut connection = Self { calls, run_id: String::new(), attempts, ended, driver, batcher };
        let info = connection.call(redis::cmd("INFO").arg("server"), CONNECT_WAIT).await?;
        connection.run_id = run_id(&info).ok_or(KvError::Unreadable)?;
        connection.load_scripts().await?;
        connection.measure_clock().await?;
        Ok(connection)
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
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
