//! One connection to one Redis process.
//!
//! It never reconnects. It stays bound to the process it was made to, whose `run_id` it knows, so no claim is ever sent to a
//! process that nobody has compared.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::batcher::{ATTEMPTS_WAITING_MAX, ClaimArguments, WaitingAttempt, run_batcher};
use super::calls::{CONNECT_WAIT, Server, in_time, run_id};
use super::{Calls, KvError};

/// A connection to one Redis process. It offers all [`Calls`], and takes attempts, which leave in batches.
pub struct Connection {
    calls: Calls,
    run_id: String,
    /// Attempts on their way to the batcher, which is the one reader. It closes the channel when the connection ends.
    attempts: mpsc::Sender<WaitingAttempt>,
    ended: CancellationToken,
    /// The socket's driver, whose end is the connection's.
    driver: Mutex<JoinSet<()>>,
    /// The batcher. It ends by itself after the driver, once every attempt has its answer.
    batcher: Mutex<JoinSet<()>>,
}

impl Connection {
    /// Connects, loads the scripts and learns which process answers.
    ///
    /// # Errors
    /// [`KvError`]; only the server's cache of scripts has changed.
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

    /// The Redis process at the other end.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Makes an attempt at a unit and waits up to `wait` for its outcome, in the words of `lua/claim.lua`. Attempts of the same
    /// moment share one call of the script. The call is not among the connection's times: attempts have times of their own.
    ///
    /// # Errors
    /// [`KvError`] of this attempt alone. [`KvError::Full`] and [`KvError::NotConnected`]: it was not sent.
    pub async fn attempt(&self, arguments: ClaimArguments, wait: Duration) -> Result<String, KvError> {
        let deadline = Instant::now() + wait;
        let (answer, answered) = oneshot::channel();
        self.attempts.try_send(WaitingAttempt { arguments, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => KvError::Full,
            mpsc::error::TrySendError::Closed(_) => KvError::NotConnected,
        })?;
        // A batch that is dropped without an answer may have been sent.
        in_time(deadline, async { answered.await.unwrap_or(Err(KvError::Lost)) }).await
    }

    /// Waits until the connection is of no more use.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Closes the socket and waits until every attempt has its answer. Dropping the connection closes it, too.
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
