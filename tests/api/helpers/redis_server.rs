//! A Redis of a test's own, for tests that restart or empty it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::signal;

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

    /// Its Unix socket, beside its folder.
    pub fn socket(&self) -> PathBuf {
        self.folder.with_extension("sock")
    }

    /// Kills the process, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// Freezes the process: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        signal(&self.child, "STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(&self.child, "CONT");
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

    /// A copy of its data as they are now.
    pub fn save(&self) -> PathBuf {
        let copy = self.folder.with_extension(format!("{:08x}", rand::random::<u32>()));
        copy_folder(&self.folder, &copy);
        copy
    }

    /// Replaces its data by a copy; it must not run.
    pub fn bring_back(&self, copy: &Path) {
        std::fs::remove_dir_all(&self.folder).expect("the folder exists");
        copy_folder(copy, &self.folder);
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
        let _ = std::fs::remove_file(self.socket());
        // Copies have its name and an extension.
        let name = self.folder.file_name().expect("it has one").to_string_lossy().into_owned();
        let siblings = std::fs::read_dir(self.folder.parent().expect("it has one")).into_iter().flatten().flatten();
        for copy in siblings.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)) {
            let _ = std::fs::remove_dir_all(copy.path());
        }
    }
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the temporary folder can be written");
    for entry in std::fs::read_dir(from).expect("the folder exists") {
        let entry = entry.expect("the folder can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("the temporary folder can be written");
        }
    }
}

fn spawn(port: u16, folder: &PathBuf) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .arg("--unixsocket")
        .arg(folder.with_extension("sock"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
