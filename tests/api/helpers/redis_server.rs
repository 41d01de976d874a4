//! A Redis server for a single test, to be restarted or emptied.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::data_server::DataServer;
use super::{Clock, free_address};

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
        let port = free_address().port();
        let server = DataServer::start("redis", move |folder| {
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
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

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
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
