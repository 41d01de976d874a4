//! A Redis of a test's own, for tests that restart or empty it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Redis server as a child process, with its append-only file in a folder of its own. Dropping it kills it.
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl RedisServer {
    /// An empty server on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let folder = std::env::temp_dir().join(format!("couponrush-redis-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let child = spawn(port, &folder);
        let server = Self { port, folder, child };
        server.wait_until_it_answers().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills the process, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// Starts the process again with what its append-only file has.
    pub async fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder);
        self.wait_until_it_answers().await;
    }

    /// Takes its data away; it must not run.
    pub fn empty(&self) {
        std::fs::remove_dir_all(&self.folder).expect("the folder exists");
        std::fs::create_dir_all(&self.folder).expect("the temporary folder can be written");
    }

    async fn wait_until_it_answers(&self) {
        let client = redis::Client::open(self.url()).expect("the URL is good");
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(port: u16, folder: &PathBuf) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
