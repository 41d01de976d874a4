//! The address of Redis, and how a connection to it is made.

use std::path::PathBuf;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};
use tokio::net::{TcpStream, UnixStream};

use super::batcher::BATCHES_IN_FLIGHT_MAX;
use super::calls::CALLS_WAITING_MAX;
use crate::figures::Histogram;

/// Requests that the crate queues for its driver. A permit of ours precedes every request, so a send never waits.
const PIPELINE_BUFFER: usize = CALLS_WAITING_MAX + BATCHES_IN_FLIGHT_MAX;
/// Bytes that the driver gathers before it writes to the socket.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Future that drives a connection's socket. It ends when the connection does.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Address and credentials of a Redis server.
#[derive(Clone)]
pub struct LinkConfig {
    place: Place,
    info: ConnectionInfo,
    /// Durations of calls over every connection that is made with this configuration.
    times: Arc<Histogram>,
}

#[derive(Clone)]
enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl LinkConfig {
    /// Parses a URL.
    ///
    /// # Errors
    /// A sentence if the `redis` crate rejects `url`, or if it asks for TLS. It never repeats the URL, which may hold a
    /// password.
    pub fn new(url: &str) -> Result<Self, String> {
        let info = url.into_connection_info().map_err(|error| error.category().to_owned())?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err("TLS is not supported".to_owned()),
        };
        let tcp_settings = info.tcp_settings().clone().set_nodelay(true);
        let redis_settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp_settings).set_redis_settings(redis_settings);
        Ok(Self { place, info, times: Arc::new(Histogram::of_times()) })
    }

    /// Durations of calls, over every connection that this configuration or a clone of it made.
    pub fn times(&self) -> &Arc<Histogram> {
        &self.times
    }

    /// Address and credentials, as the `redis` crate names them.
    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Connects, authenticates and selects the database. The caller must run the driver.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, Driver), RedisError> {
        match &self.place {
            Place::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                self.greet(socket).await
            }
            Place::Unix(path) => self.greet(UnixStream::connect(path).await?).await,
        }
    }

    async fn greet(&self, socket: impl Socket) -> Result<(MultiplexedConnection, Driver), RedisError> {
        let settings = self.info.redis_settings();
        let (redis, driver) = MultiplexedConnection::new_with_config(settings, socket, crate_settings()).await?;
        Ok((redis, Box::pin(driver)))
    }
}

/// A stream that the crate can drive.
pub(super) trait Socket: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> Socket for S {}

/// Settings of the crate for every connection. Each caller has a deadline of its own, so the crate has no timeout. Bounds
/// of ours limit the requests in flight ([`CALLS_WAITING_MAX`], [`BATCHES_IN_FLIGHT_MAX`]) and refuse at once, where the
/// crate's concurrency limit would make callers wait; so it is off.
pub(super) fn crate_settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER)
        .set_write_backpressure_boundary(WRITE_BUFFER_BYTES)
}
