//! The address of Redis, and the making of connections.

use std::path::PathBuf;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::batcher::BATCHES_IN_FLIGHT_MAX;
use super::beats::BeatWriter;
use super::calls::CALLS_WAITING_MAX;
use crate::base::Histogram;

/// Requests that the crate queues for the driver. Calls and batches have limits of our own, so a send never waits.
const PIPELINE_BUFFER: usize = CALLS_WAITING_MAX + BATCHES_IN_FLIGHT_MAX;
/// Bytes that the driver gathers before writing to the socket.
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Future that drives the socket until the connection ends.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A socket to a Redis server that has answered.
pub(super) struct Socket {
    pub(super) redis: MultiplexedConnection,
    pub(super) driver: Driver,
    /// The address of the server: IP and port, or the path of a Unix socket.
    pub(super) peer: String,
}

/// Address and credentials of a Redis server.
#[derive(Clone)]
pub struct LinkConfig {
    place: ServerAddress,
    info: ConnectionInfo,
    times: Arc<Histogram>,
    /// Sent with every probe.
    beat: Option<BeatWriter>,
}

#[derive(Clone)]
enum ServerAddress {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl LinkConfig {
    /// Parses a URL.
    ///
    /// # Errors
    /// A sentence if the `redis` crate rejects `url`, or if `url` asks for TLS. The sentence never repeats the URL,
    /// because URLs may hold passwords.
    pub fn new(url: &str) -> Result<Self, String> {
        let info = url.into_connection_info().map_err(|error| error.category().to_owned())?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => ServerAddress::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => ServerAddress::Unix(path.clone()),
            _ => return Err("TLS is not supported".to_owned()),
        };
        let tcp_settings = info.tcp_settings().clone().set_nodelay(true);
        // Replies are read in the forms of RESP2, whatever protocol the URL names.
        let redis_settings =
            info.redis_settings().clone().set_skip_set_lib_name().set_protocol(redis::ProtocolVersion::RESP2);
        let info = info.set_tcp_settings(tcp_settings).set_redis_settings(redis_settings);
        Ok(Self { place, info, times: Arc::new(Histogram::of_times()), beat: None })
    }

    /// Connections write `beat` with every probe.
    #[must_use]
    pub fn with_beat(self, beat: BeatWriter) -> Self {
        Self { beat: Some(beat), ..self }
    }

    /// Durations of calls over all connections of this configuration and of clones.
    pub fn times(&self) -> &Arc<Histogram> {
        &self.times
    }

    pub(super) fn beat(&self) -> Option<&BeatWriter> {
        self.beat.as_ref()
    }

    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Connects, authenticates and selects the database. The caller must run the driver. A host name is resolved for
    /// each connection.
    pub(super) async fn connect(&self) -> Result<Socket, RedisError> {
        match &self.place {
            ServerAddress::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                let peer = socket.peer_addr()?.to_string();
                self.greet(socket, peer).await
            }
            ServerAddress::Unix(path) => self.greet(UnixStream::connect(path).await?, path.display().to_string()).await,
        }
    }

    async fn greet(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: String,
    ) -> Result<Socket, RedisError> {
        let settings = self.info.redis_settings();
        let (redis, driver) = MultiplexedConnection::new_with_config(settings, socket, crate_settings()).await?;
        Ok(Socket { redis, driver: Box::pin(driver), peer })
    }
}

/// Settings of the crate for every connection. Callers have deadlines, so the crate has no timeout. The crate's
/// concurrency limit is off, because the limit makes callers wait. Instead, [`CALLS_WAITING_MAX`] refuses the next call
/// at once, and [`BATCHES_IN_FLIGHT_MAX`] leaves attempts in the batcher's channel.
pub(super) fn crate_settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER)
        .set_write_backpressure_boundary(WRITE_BUFFER_BYTES)
}
