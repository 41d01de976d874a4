//! The program as a child process: `serve`, which tests can kill, and other commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Client, Clock, SECRET, Stores, eventually, free_address};

/// How long a start may run that must be refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// `couponrush serve` as a child process. Dropping the value kills it.
pub struct Serving {
    pub client: Client,
    pub ops: Client,
    child: Child,
    log: PathBuf,
}

impl Serving {
    /// Starts the program on free ports.
    pub async fn start(stores: &Stores) -> Self {
        Self::start_at(stores, [free_address(), free_address()]).await
    }

    /// Starts the program on these addresses, for users and for operators.
    pub async fn start_at(stores: &Stores, addresses: [SocketAddr; 2]) -> Self {
        Self::run(command(stores), addresses).await
    }

    /// Starts the program on free ports, by `clock`.
    pub async fn start_by(stores: &Stores, clock: &Clock) -> Self {
        let mut command = command(stores);
        clock.govern(&mut command);
        Self::run(command, [free_address(), free_address()]).await
    }

    async fn run(mut command: Command, [http, ops]: [SocketAddr; 2]) -> Self {
        command.arg("serve").args(["--http-addr", &http.to_string(), "--ops-addr", &ops.to_string()]);
        command.args(["--workers", "2", "--jwt-secret", SECRET, "--start-wait", "10", "--drain-seconds", "0"]);
        let log = std::env::temp_dir().join(format!("couponrush-log-{:016x}", rand::random::<u64>()));
        let file = std::fs::File::create(&log).expect("the temporary folder can be written");
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the program is built");
        let serving = Self { client: Client::new(http), ops: Client::new(ops), child, log };
        eventually("the program is ready", || serving.ops.is_ready()).await;
        serving
    }

    /// Sends SIGTERM. Returns whether the exit code was 0, and the log.
    pub async fn terminate(mut self) -> (bool, String) {
        signal(&self.child, "TERM");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                let log = std::fs::read_to_string(&self.log).expect("the log file exists");
                return (status.success(), log);
            }
            assert!(Instant::now() < deadline, "the program does not stop within 60 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops the process where it is (SIGSTOP), or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        signal(&self.child, if is_frozen { "STOP" } else { "CONT" });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the program runs");
        self.child.wait().expect("a killed program ends");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Runs `couponrush audit`. Returns whether the exit code was 0, and the output.
pub async fn audit(stores: &Stores, arguments: &[&str]) -> (bool, String) {
    run(stores, "audit", arguments).await
}

/// Runs `couponrush poisoned`. Returns whether the exit code was 0, and the output.
pub async fn poisoned(stores: &Stores, arguments: &[&str]) -> (bool, String) {
    run(stores, "poisoned", arguments).await
}

/// Runs `couponrush unread`. Returns whether the exit code was 0, and the output.
pub async fn unread(stores: &Stores, arguments: &[&str]) -> (bool, String) {
    run(stores, "unread", arguments).await
}

/// Runs `couponrush raise-format`. Returns whether the exit code was 0, and the output.
pub async fn raise_format(stores: &Stores) -> (bool, String) {
    run(stores, "raise-format", &[]).await
}

/// Runs `couponrush serve` on free ports until it ends, for a start that is refused. Returns the exit code and the output.
pub async fn refused_start(stores: &Stores) -> (Option<i32>, String) {
    let mut command = command(stores);
    command.args(["serve", "--http-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--jwt-secret", SECRET]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program is built");
    let deadline = Instant::now() + REFUSED_WITHIN;
    while child.try_wait().expect("the child can be waited for").is_none() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("a killed child ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a command of the program. Returns whether the exit code was 0, and the output.
pub async fn run(stores: &Stores, name: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = command(stores);
    command.arg(name).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("the task does not panic").expect("the program is built");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), printed)
}

fn command(stores: &Stores) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couponrush"));
    command.env("COUPONRUSH_REDIS_URL", &stores.redis_url).env("COUPONRUSH_REDIS_PREFIX", &stores.prefix);
    // Without etcd: the server shared by all tests would bring the activities of other tests.
    command.env("COUPONRUSH_MYSQL_URL", &stores.mysql_url).env("COUPONRUSH_ETCD_ENDPOINTS", "");
    command
}

/// Sends a signal to a child with the shell's builtin `kill`. A program named `kill` is not installed everywhere.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status().expect("the system has a shell");
    assert!(sent.success(), "{kill}");
}
