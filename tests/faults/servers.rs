//! Redis, an SQL server and the program as child processes, to be killed, frozen and started again.
//!
//! A process has its data and its log in the run's folder. Dropping a process kills it.

mod etcd;
mod galera;
mod mariadb;
mod redis;
mod redis_group;
mod whereabouts;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use etcd::Etcd;
pub use galera::Galera;
pub use mariadb::MariaDb;
pub use redis::Redis;
pub use redis_group::{RedisGroup, RedisServers};
pub use whereabouts::Whereabouts;

/// How long a server may take to start or to stop.
pub const START_WAIT: Duration = Duration::from_secs(60);
/// The secret for signing tokens.
pub const SECRET: &str = "a secret of the fault suite that is long enough to be one";
pub const DATABASE: &str = "couponrush";
const PASSWORD: &str = "of-the-fault-suite";

/// A child process with restarts.
pub struct Process {
    command: Box<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub fn new(log: PathBuf, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self { command: Box::new(command), log, child: None }
    }

    /// Starts the process with additional environment variables. Its log file is continued.
    pub fn start(&mut self, variables: &[(&str, &str)]) {
        let log =
            OpenOptions::new().create(true).append(true).open(&self.log).expect("the run's folder can be written");
        let mut command = (self.command)();
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().expect("a killed child ends");
        }
    }

    /// Stops the process in order (SIGTERM), and waits for its end.
    pub async fn terminate(&mut self) {
        self.signal("TERM");
        self.wait_for_end().await;
    }

    /// Freezes the process (SIGSTOP). Connections stay open and get no answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal with the shell's builtin `kill`. A program named `kill` is not installed everywhere.
    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("the process was started");
        let kill = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success(), "{kill}");
    }

    fn prlimit(&self, limit: &str) {
        let child = self.child.as_ref().expect("the process was started");
        let limited = Command::new("prlimit").args(["--pid", &child.id().to_string(), limit]).status();
        assert!(limited.expect("prlimit of util-linux is installed").success(), "{limit}");
    }

    /// Whether the process is stopped, as after [`Process::freeze`].
    pub fn is_frozen(&self) -> bool {
        let child = self.child.as_ref().expect("the process was started");
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("the child can be waited for").is_none())
    }

    /// Waits until the process has ended by itself.
    pub async fn wait_for_end(&mut self) {
        let deadline = Instant::now() + START_WAIT;
        while self.is_running() {
            assert!(Instant::now() < deadline, "the process has not ended within {START_WAIT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder for histories, logs and data of runs.
pub fn runs_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
    fs::create_dir_all(&folder).expect("target can be written");
    folder
}

/// Waits until `state` holds. Panics after [`START_WAIT`], naming the state.
pub async fn until<F: Future<Output = bool>>(what: &str, state: impl Fn() -> F) {
    let deadline = Instant::now() + START_WAIT;
    while !state().await {
        assert!(Instant::now() < deadline, "not within {START_WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} can be copied", from.display());
}
