//! An etcd server for a single test, to be restarted, emptied, compacted or restored.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use couponrush::config::EtcdArgs;
use couponrush::etcd::{Etcd, EtcdConfig};
use etcd_client::{Client, ConnectOptions};

use super::data_server::DataServer;
use super::{DEADLINE, etcd_args, free_address};

/// An etcd server with a single member.
pub struct EtcdServer {
    ports: [u16; 2],
    server: DataServer,
}

impl EtcdServer {
    /// The prefix of all keys.
    pub const PREFIX: &str = "/couponrush/";

    /// Starts an empty server on free ports.
    pub async fn start() -> Self {
        let ports = [free_address().port(), free_address().port()];
        let server = DataServer::start("etcd", move |folder| command(ports, folder));
        let server = Self { ports, server };
        server.wait_until_it_answers().await;
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The settings of an instance that follows this server.
    pub fn args(&self) -> EtcdArgs {
        etcd_args(self.url())
    }

    /// A client like the service's.
    pub async fn etcd(&self) -> Etcd {
        Etcd::new(self.config()).await.expect("the URL is valid")
    }

    /// The address of the server, with small bounds. The wait is long: on a busy disk etcd answers after seconds.
    pub fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: vec![self.url()],
            user: None,
            tls: None,
            prefix: Self::PREFIX.to_owned(),
            wait: DEADLINE,
            keys_max: 1_000,
            value_bytes_max: 1_000,
        }
    }

    /// Puts a key, as an operator does. `key` has no prefix. Returns the revision.
    pub async fn put(&self, key: &str, value: &str) -> u64 {
        let response = self.client().await.put(format!("{}{key}", Self::PREFIX), value, None).await;
        revision(response.expect("etcd answers").header())
    }

    /// Deletes a key, as an operator does. `key` has no prefix. Returns the revision.
    pub async fn delete(&self, key: &str) -> u64 {
        let response = self.client().await.delete(format!("{}{key}", Self::PREFIX), None).await;
        revision(response.expect("etcd answers").header())
    }

    /// The value of a key and the revision of its last change. `key` has no prefix.
    pub async fn get(&self, key: &str) -> Option<(String, u64)> {
        let response = self.client().await.get(format!("{}{key}", Self::PREFIX), None).await.expect("etcd answers");
        let kv = response.kvs().first()?;
        let put_at = u64::try_from(kv.mod_revision()).expect("revisions are positive");
        Some((kv.value_str().expect("tests put text").to_owned(), put_at))
    }

    /// The version of the server.
    pub async fn version(&self) -> String {
        let status = self.client().await.maintenance_client().status().await;
        status.expect("etcd answers").version().to_owned()
    }

    /// Compacts the history before the present revision.
    pub async fn compact(&self) {
        let mut client = self.client().await;
        let response = client.get("nothing", None).await.expect("etcd answers");
        let revision = response.header().expect("an answer has a header").revision();
        client.compact(revision, None).await.expect("etcd answers");
    }

    /// Starts the process again with its stored data.
    pub async fn restart(&mut self) {
        self.start_again();
        self.wait_until_it_answers().await;
    }

    async fn client(&self) -> Client {
        let options = ConnectOptions::new().with_timeout(DEADLINE);
        Client::connect([self.url()], Some(options)).await.expect("the URL is valid")
    }

    async fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + DEADLINE;
        while self.client().await.get("nothing", None).await.is_err() {
            assert!(Instant::now() < deadline, "etcd does not answer on {}", self.url());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Deref for EtcdServer {
    type Target = DataServer;

    fn deref(&self) -> &DataServer {
        &self.server
    }
}

impl DerefMut for EtcdServer {
    fn deref_mut(&mut self) -> &mut DataServer {
        &mut self.server
    }
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> u64 {
    u64::try_from(header.expect("an answer has a header").revision()).expect("revisions are positive")
}

/// The command of a single member with short elections. Frequent snapshots make it behave like a busy server.
fn command([port, peer_port]: [u16; 2], folder: &Path) -> Command {
    let (url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new("etcd");
    command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
    command.args(["--name", "test", "--logger", "zap", "--snapshot-count", "100"]);
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("test={peer_url}")]);
    command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
    command.arg("--data-dir").arg(folder);
    command
}
