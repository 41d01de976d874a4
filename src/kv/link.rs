//! One connection to Redis, kept.
//!
//! A [`Link`] is a place for a [`Connection`]; its [`Link::keep`] connects, watches and connects again. Each worker thread has
//! a link of its own, driven on that thread, and the background tasks share one.
//!
//! Writers: `keep` alone puts connections in and takes them out. Readers: anybody, without waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use super::address::LinkConfig;
use super::{Connection, KvError};
use crate::figures::Histogram;

/// How often a connection is probed, which also measures the server's clock.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The pause before connecting again: from the first to the last, doubled each time.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often it is looked whether the first connection is there.
const FIRST_POLL: Duration = Duration::from_millis(5);

/// A place for a connection to Redis.
pub struct Link {
    config: LinkConfig,
    current: ArcSwapOption<Connection>,
}

impl Link {
    pub fn new(config: LinkConfig) -> Self {
        Self { config, current: ArcSwapOption::empty() }
    }

    /// The connection, where there is one.
    ///
    /// # Errors
    /// [`KvError::NotConnected`] until [`Link::keep`] has made one.
    pub fn connection(&self) -> Result<Arc<Connection>, KvError> {
        self.current.load_full().ok_or(KvError::NotConnected)
    }

    /// How long calls take, over this link and all that are configured with it.
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
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(RECONNECT_PAUSES.1);
                }
            }
        }
    }
}

/// Returns when `connection` is of no more use.
async fn watch(connection: &Connection, stop: &CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {
                if let Err(error) = connection.measure_clock().await {
                    log::warn!("redis: connection given up: {error}");
                    return;
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
