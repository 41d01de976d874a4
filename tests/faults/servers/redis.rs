//! A single Redis server.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Process, START_WAIT, copy_folder, until};
use crate::clock::Clock;
use crate::network::Machine;
use crate::ports::free_address;

/// A Redis with `appendfsync always`: it syncs its file before every answer.
pub struct Redis {
    ip: Ipv4Addr,
    pub port: u16,
    data: PathBuf,
    pub process: Process,
}

impl Redis {
    /// Starts an empty Redis with data and log in `folder`, under `name`, by the machine's clock or by `clock`.
    pub async fn start(folder: &Path, name: &str, clock: Option<&Clock>) -> Self {
        let mut redis = Self::new(folder, name, clock, (&Machine::here(), Vec::new()));
        redis.restart().await;
        redis
    }

    /// An empty Redis that is not started yet, on a machine of its own, with further arguments.
    pub fn new(
        folder: &Path,
        name: &str,
        clock: Option<&Clock>,
        (machine, arguments): (&Machine, Vec<String>),
    ) -> Self {
        let (port, data) = (free_address().port(), folder.join(name));
        fs::create_dir_all(&data).expect("the run's folder can be written");
        let (folder, clock, machine) = (data.clone(), clock.cloned(), machine.clone());
        let ip = machine.ip;
        let process = Process::new(data.with_extension("log"), move || {
            // Redis then gets an error beyond a limit of file sizes, as on a full disk. Otherwise a signal would end it.
            let mut command = machine.command("sh");
            command.args(["-c", "trap '' XFSZ; exec redis-server \"$@\"", "sh"]);
            command.args(["--port", &port.to_string(), "--bind", &ip.to_string(), "--save", "", "--dir"]).arg(&folder);
            command.args(["--appendonly", "yes", "--appendfsync", "always", "--stream-node-max-entries", "20"]);
            command.args(["--protected-mode", "no"]).args(&arguments);
            if let Some(clock) = &clock {
                clock.govern(&mut command);
            }
            command
        });
        Self { ip, port, data, process }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.ip, self.port))
    }

    /// The URL at another port, as of a proxy.
    pub fn url(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}/")
    }

    /// Starts Redis with its data and waits until it answers.
    pub async fn restart(&mut self) {
        self.process.start(&[]);
        until("Redis answers", || async { self.connect(Duration::from_secs(1)).await.is_some() }).await;
    }

    /// A direct connection past the proxies. `None` if Redis does not answer in time.
    pub async fn connect(&self, wait: Duration) -> Option<redis::aio::MultiplexedConnection> {
        connect(self.address(), wait).await
    }

    /// The reply to a command. Redis must be available.
    pub async fn call<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> T {
        let mut connection = self.connect(START_WAIT).await.expect("Redis answers");
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes this server a replica of `primary`, and waits until it has all data.
    pub async fn follow(&self, primary: &Self) {
        self.call::<()>(redis::cmd("REPLICAOF").arg(primary.ip.to_string()).arg(primary.port)).await;
        until("the replica has all data", || async {
            primary.info("replication").await.contains(&format!("port={},state=online", self.port))
        })
        .await;
    }

    pub async fn is_primary(&self) -> bool {
        self.info("replication").await.contains("role:master")
    }

    pub async fn info(&self, section: &str) -> String {
        self.call(redis::cmd("INFO").arg(section)).await
    }

    /// Limits the size of files that the process writes, in bytes. `None` removes the limit.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        self.process.prlimit(&format!("--fsize={limit}:unlimited"));
    }

    /// Copies the data folder, as a backup does.
    pub fn copy(&self) -> PathBuf {
        let copy = self.data.with_extension("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&self.data, &copy);
        copy
    }

    /// Replaces the data with a copy, or only deletes the data. Redis must be stopped.
    pub fn replace_data(&self, copy: Option<&Path>) {
        fs::remove_dir_all(&self.data).expect("Redis has a data folder");
        match copy {
            Some(copy) => copy_folder(copy, &self.data),
            None => fs::create_dir_all(&self.data).expect("the run's folder can be written"),
        }
    }

    /// Cuts the last bytes off the append-only file. Redis must be stopped.
    pub fn truncate(&self, bytes: u64) {
        for entry in fs::read_dir(self.data.join("appendonlydir")).expect("Redis has an append-only file") {
            let path = entry.expect("the folder can be read").path();
            if path.to_string_lossy().ends_with(".incr.aof") {
                let file = OpenOptions::new().write(true).open(&path).expect("the file is ours");
                let length = file.metadata().expect("the file exists").len();
                file.set_len(length.saturating_sub(bytes)).expect("the file is ours");
            }
        }
    }
}

/// A connection to a Redis server. `None` if the server does not answer in time.
pub(super) async fn connect(address: SocketAddr, wait: Duration) -> Option<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{address}/")).expect("the URL is good");
    // The crate's default timeout is half a second. A busy machine can stall for longer.
    let config =
        redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(START_WAIT));
    let connecting = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("PING").query_async::<String>(&mut connection).await.map(|_| connection)
    };
    tokio::time::timeout(wait, connecting).await.ok()?.ok()
}
