//! A connection to Redis that is replaced after it ends.
//!
//! A [`Link`] is the place of a [`Connection`]. [`Link::keep`] connects, watches and connects again. Every worker
//! thread drives its own link. Only `keep` writes the place. All tasks read the place without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::{Connection, KvError};
use crate::base::Histogram;

/// Interval of probes. A probe writes a beat, asks for the server's role, and measures the server's clock.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// First and last pause before reconnecting. The pause doubles after every failure.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// First and last time for which a connection is kept although it was given up. The time doubles while the address
/// leads to the same process again.
const KEPT_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Interval of checks for the first connection.
const FIRST_POLL: Duration = Duration::from_millis(5);

pub struct Link {
    config: LinkConfig,
    current: ArcSwapOption<Connection>,
    /// Whether the last attempt to connect found a replica.
    is_replica: AtomicBool,
}

impl Link {
    pub fn new(config: LinkConfig) -> Self {
        Self { config, current: ArcSwapOption::empty(), is_replica: AtomicBool::new(false) }
    }

    /// The current connection.
    ///
    /// # Errors
    /// [`KvError::NotConnected`] before the first connection and between two connections. [`KvError::Replica`] while
    /// the address leads to a replica.
    pub fn connection(&self) -> Result<Arc<Connection>, KvError> {
        let is_replica = || self.is_replica.load(Ordering::Relaxed);
        self.current.load_full().ok_or_else(|| if is_replica() { KvError::Replica } else { KvError::NotConnected })
    }

    pub fn times(&self) -> &Histogram {
        self.config.times()
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
        // The process of the connection that was given up last, and how long the next connection to it is kept.
        let (mut given_up, mut kept_for) = (String::new(), KEPT_FOR.0);
        while !stop.is_cancelled() {
            match Connection::open(&self.config).await {
                Ok(connection) => {
                    if reported {
                        log::info!("redis: connected again");
                    }
                    (pause, reported) = (RECONNECT_PAUSES.0, false);
                    if connection.run_id() != given_up {
                        (given_up, kept_for) = (String::new(), KEPT_FOR.0);
                    }
                    let connection = Arc::new(connection);
                    self.is_replica.store(false, Ordering::Relaxed);
                    self.current.store(Some(Arc::clone(&connection)));
                    if watch(&connection, kept_for, &stop).await == Watched::GivenUp {
                        if given_up.is_empty() {
                            log::warn!(
                                "redis: connecting again, because another process than {} has the shard",
                                connection.peer()
                            );
                        }
                        given_up = connection.run_id().to_owned();
                        kept_for = (kept_for * 2).min(KEPT_FOR.1);
                    }
                    self.current.store(None);
                    connection.close().await;
                }
                Err(error) => {
                    self.is_replica.store(matches!(error, KvError::Replica), Ordering::Relaxed);
                    if !reported {
                        log::warn!("redis: cannot connect: {error}");
                        reported = true;
                    }
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(RECONNECT_PAUSES.1);
                }
            }
        }
    }
}

/// Why a connection is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Ended,
    GivenUp,
}

/// Waits until `connection` ends, fails a probe, or is given up and at least `kept_for` old. A server that became a
/// replica fails the probe.
async fn watch(connection: &Connection, kept_for: Duration, stop: &CancellationToken) -> Watched {
    let began = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {
                if connection.is_given_up() && began.elapsed() >= kept_for {
                    return Watched::GivenUp;
                }
                match connection.probe().await {
                    // A full connection is busy, not broken: a later probe finds a free place.
                    Ok(()) | Err(KvError::Full) => {}
                    Err(error) => {
                        log::warn!("redis: connection closed after a failed probe: {error}");
                        return Watched::Ended;
                    }
                }
            }
            () = connection.ended() => {
                log::warn!("redis: connection lost");
                return Watched::Ended;
            }
            () = stop.cancelled() => return Watched::Ended,
        }
    }
}
