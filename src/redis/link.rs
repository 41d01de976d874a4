//! A connection to Redis that is replaced after it ends.
//!
//! A [`Link`] is the place of a [`Connection`]. [`Link::keep`] connects, watches and connects again. Every worker
//! thread drives its own link. Only `keep` writes the place. All tasks read the place without waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::{Connection, KvError};
use crate::base::Histogram;

/// Interval of probes. A probe also measures the server's clock.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// First and last pause before reconnecting. The pause doubles after every failure.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Interval of checks for the first connection.
const FIRST_POLL: Duration = Duration::from_millis(5);

pub struct Link {
    config: LinkConfig,
    current: ArcSwapOption<Connection>,
}

impl Link {
    pub fn new(config: LinkConfig) -> Self {
        Self { config, current: ArcSwapOption::empty() }
    }

    /// The current connection.
    ///
    /// # Errors
    /// [`KvError::NotConnected`] before the first connection and between two connections.
    pub fn connection(&self) -> Result<Arc<Connection>, KvError> {
        self.current.load_full().ok_or(KvError::NotConnected)
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
        while !stop.is_cancelled() {
            match Connection::open(&self.config).await {
                Ok(connection) => {
                    if reported {
                        log::info!("redis: connected again");
                    }
                    (pause, reported) = (RECONNECT_PAUSES.0, false);
                    let connection = Arc::new(connection);
                    self.current.store(Some(Arc::clone(&connection)));
                    watch(&connection, &stop).await;
                    self.current.store(None);
                    connection.close().await;
                }
                Err(error) => {
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

/// Waits until `connection` ends or fails a probe.
async fn watch(connection: &Connection, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {
                match connection.measure_clock().await {
                    // A full connection is busy, not broken: a later probe finds a free place.
                    Ok(()) | Err(KvError::Full) => {}
                    Err(error) => {
                        log::warn!("redis: connection closed after a failed probe: {error}");
                        return;
                    }
                }
            }
            () = connection.ended() => {
                log::warn!("redis: connection lost");
                return;
            }
            () = stop.cancelled() => return,
        }
    }
}
