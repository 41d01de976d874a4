//! A Redis server for a single test, to be restarted or emptied.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, FromRedisValue};

use super::data_server::DataServer;
use super::{Clock, DEADLINE, eventually, free_address};

/// A Redis server whose append-only file is synced before every answer.
pub struct RedisServer {
    port: u16,
    server: DataServer,
}

impl RedisServer {
    /// Starts an empty server on a free port.
    pub async fn start() -> Self {
        Self::start_by(None).await
    }

    /// Starts an empty server that runs by `clock`.
    pub async fn start_by(clock: Option<Clock>) -> Self {
        Self::start_with(clock, Vec::new()).await
    }

    /// Starts an empty server that runs by `clock`, with further `arguments`.
    pub async fn start_with(clock: Option<Clock>, arguments: Vec<String>) -> Self {
        let port = free_address().port();
        let server = DataServer::start("redis", move |folder| {
            // Without this trap a signal would end Redis at a limit of file sizes.
            let mut command = Command::new("sh");
            command.args(["-c", "trap '' XFSZ; exec redis-server \"$@\"", "sh"]);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always"]).args(&arguments);
            command.arg("--dir").arg(folder).arg("--unixsocket").arg(folder.with_extension("sock"));
            if let Some(clock) = &clock {
                clock.govern(&mut command);
            }
            command
        });
        let server = Self { port, server };
        server.wait_until_it_answers().await;
        server
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The reply to a command over a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.expect("Redis answers");
        let mut command = redis::Cmd::new();
        command.arg(parts).query_async(&mut connection).await.unwrap_or_else(|error| panic!("{parts:?}: {error}"))
    }

    /// Whether the server takes a write.
    pub async fn takes_writes(&self) -> bool {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
        redis::cmd("SET").arg("of a test").arg(1).query_async::<()>(&mut connection).await.is_ok()
    }

    /// Makes this server a replica of `primary` and waits until it has all data.
    pub async fn follow(&self, primary: &Self) {
        self.command::<()>(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).await;
        eventually("the replica has all data", || async {
            let replicas: String = primary.command(&["INFO", "replication"]).await;
            replicas.contains(&format!("port={},state=online", self.port))
        })
        .await;
    }

    /// The path of the Unix socket, beside the data folder.
    pub fn socket(&self) -> PathBuf {
        self.folder().with_extension("sock")
    }

    /// Starts the process again with its append-only file.
    pub async fn restart(&mut self) {
        self.start_again();
        self.wait_until_it_answers().await;
    }

    async fn wait_until_it_answers(&self) {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return;
            }
            assert!(Instant::now() < deadline, "Redis does not answer on port {}", self.port);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Deref for RedisServer {
    type Target = DataServer;

    fn deref(&self) -> &DataServer {
        &self.server
    }
}

impl DerefMut for RedisServer {
    fn deref_mut(&mut self) -> &mut DataServer {
        &mut self.server
    }
}
