//! The program as a process of its own: to be killed, and for its commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Client, SECRET, Stores, eventually, free_address};

/// `couponrush serve` as a child process. Dropping it kills it.
pub struct Serving {
    pub client: Client,
    pub ops: Client,
    child: Child,
    log: PathBuf,
}

impl Serving {
    /// Starts it on free ports.
    pub async fn start(stores: &Stores) -> Self {
        Self::start_at(stores, [free_address(), free_address()]).await
    }

    /// Starts it where it is told: for users, and for operators.
    pub async fn start_at(stores: &Stores, [http, ops]: [SocketAddr; 2]) -> Self {
        let mut command = command(stores);
        command.arg("serve").args(["--http-addr", &http.to_string(), "--ops-addr", &ops.to_string()]);
        command.args(["--workers", "2", "--jwt-secret", SECRET, "--start-wait", "10"]);
        let log = std::env::temp_dir().join(format!("couponrush-log-{:016x}", rand::random::<u64>()));
        let file = std::fs::File::create(&log).expect("the temporary folder can be written");
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the program is built");
        let serving = Self { client: Client::new(http), ops: Client::new(ops), child, log };
        eventually("the program is ready", || serving.ops.is_ready()).await;
        serving
    }

    /// SIGTERM; whether it exited with 0, and its log.
    pub async fn terminate(mut self) -> (bool, String) {
        signal(&self.child, "TERM");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let log = std::fs::read_to_string(&self.log).expect("it was made at the start");
                return (status.success(), log);
            }
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// `couponrush audit`: whether it exited with 0, and what it said.
pub async fn audit(stores: &Stores, arguments: &[&str]) -> (bool, String) {
    let mut command = command(stores);
    command.arg("audit").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it does not panic").expect("the program is built");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn command(stores: &Stores) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couponrush"));
    command.env("COUPONRUSH_REDIS_URL", &stores.redis_url).env("COUPONRUSH_REDIS_PREFIX", &stores.prefix);
    // Not the etcd that all tests share: it would have the activities of all of them.
    command.env("COUPONRUSH_MYSQL_URL", &stores.mysql_url).env("COUPONRUSH_ETCD_ENDPOINTS", "");
    command
}

/// Sends a signal to a child. Every shell has `kill` built in; the program of that name is not installed everywhere.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status().expect("every system has a shell");
    assert!(sent.success(), "{kill}");
}
