//! Redis, an SQL server and the program as child processes, to be killed, frozen and started again.
//!
//! A process has its data and its log in the run's folder. Dropping a process kills it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::ports::free_address;
use crate::sql_program::{SqlServer, suite};

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

/// A Redis with `appendfsync always`: it syncs its file before every answer.
pub struct Redis {
    pub port: u16,
    data: PathBuf,
    pub process: Process,
}

/// A MariaDB, or a MySQL, that syncs every commit before its answer. It logs changes for replicas.
pub struct MariaDb {
    pub port: u16,
    data: PathBuf,
    pub process: Process,
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

impl Redis {
    /// Starts an empty Redis with data and log in `folder`, under `name`, by the machine's clock or by `clock`.
    pub async fn start(folder: &Path, name: &str, clock: Option<&Clock>) -> Self {
        let (port, data) = (free_address().port(), folder.join(name));
        fs::create_dir_all(&data).expect("the run's folder can be written");
        let (folder, clock) = (data.clone(), clock.cloned());
        let process = Process::new(data.with_extension("log"), move || {
            // Redis then gets an error beyond a limit of file sizes, as on a full disk. Otherwise a signal would end it.
            let mut command = Command::new("sh");
            command.args(["-c", "trap '' XFSZ; exec redis-server \"$@\"", "sh"]);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(&folder);
            command.args(["--appendonly", "yes", "--appendfsync", "always", "--stream-node-max-entries", "20"]);
            if let Some(clock) = &clock {
                clock.govern(&mut command);
            }
            command
        });
        let mut redis = Self { port, data, process };
        redis.restart().await;
        redis
    }

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
        let client = redis::Client::open(self.url(self.port)).expect("the URL is good");
        // The crate's default timeout is half a second. A busy machine can stall for longer.
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(START_WAIT));
        let connecting = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.map(|_| connection)
        };
        tokio::time::timeout(wait, connecting).await.ok()?.ok()
    }

    /// The reply to a command. Redis must be available.
    pub async fn call<T: redis::FromRedisValue>(&self, cmd: &redis::Cmd) -> T {
        let mut connection = self.connect(START_WAIT).await.expect("Redis answers");
        cmd.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes this server a replica of `primary`, and waits until it has all data.
    pub async fn follow(&self, primary: &Self) {
        self.call::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(primary.port)).await;
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

impl MariaDb {
    /// Starts a server with an empty database, with data and log in `folder`, under `name`.
    pub async fn start(folder: &Path, name: &str) -> Self {
        let (port, data) = (free_address().port(), folder.join(name));
        let init = data.with_extension("sql");
        // Every server makes its own users, so a replica need not repeat these statements.
        let users = format!(
            "SET SESSION sql_log_bin = 0;\n\
             CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
             CREATE USER IF NOT EXISTS service@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON {DATABASE}.* TO service@'127.0.0.1';\n\
             CREATE USER IF NOT EXISTS faults@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO faults@'127.0.0.1';\n"
        );
        fs::write(&init, users).expect("the run's folder can be written");
        let template = template();
        copy_folder(&template, &data);
        let folder = data.clone();
        let process = Process::new(data.with_extension("log"), move || {
            let server = SqlServer::of_suite();
            let mut command = server.command(&folder);
            command.arg("--socket=mysql.sock").arg("--max-connections=500");
            command.arg(format!("--init-file={}", init.display())).arg(format!("--port={port}"));
            command.args(["--log-bin=binlog", "--sync-binlog=1"]).arg(format!("--server-id={port}"));
            command.args(match server {
                SqlServer::MariaDb => ["--binlog-format=ROW", "--log-slave-updates", "--skip-slave-start"],
                SqlServer::MySql => ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--skip-replica-start"],
            });
            command
        });
        let mut mariadb = Self { port, data, process };
        mariadb.restart().await;
        mariadb
    }

    /// The URL for the service, with the port of the server or of a proxy.
    pub fn url(&self, port: u16) -> String {
        format!("mysql://service:{PASSWORD}@127.0.0.1:{port}/{DATABASE}")
    }

    /// The URL with all privileges, past the proxies. Only this user may write while the server is read-only.
    pub fn root_url(&self) -> String {
        Self::root_url_at(self.port)
    }

    pub fn root_url_at(port: u16) -> String {
        format!("mysql://faults:{PASSWORD}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Makes this server a read-only replica of `primary`. The data here must be a part of the primary's.
    pub async fn follow(&self, primary: &Self) {
        let port = primary.port;
        let sql = match SqlServer::of_suite() {
            SqlServer::MariaDb => format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'faults', \
                 MASTER_PASSWORD = '{PASSWORD}', MASTER_USE_GTID = current_pos; START SLAVE"
            ),
            SqlServer::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'faults', \
                 SOURCE_PASSWORD = '{PASSWORD}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA"
            ),
        };
        crate::mysql::execute(&self.root_url(), &format!("SET GLOBAL read_only = 1; {sql}")).await;
        self.wait_for_all_of(primary).await;
    }

    /// Waits until this replica has everything that `primary` has now.
    pub async fn wait_for_all_of(&self, primary: &Self) {
        let number = |position: &str| position.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
        let server = SqlServer::of_suite();
        let position = match server {
            SqlServer::MariaDb => primary.text("CONCAT(@@GLOBAL.gtid_binlog_pos)").await,
            SqlServer::MySql => primary.text("@@GLOBAL.gtid_executed").await,
        };
        let has_all = format!("CONCAT(GTID_SUBSET('{position}', @@GLOBAL.gtid_executed))");
        until("the replica has all data", || async {
            match server {
                SqlServer::MariaDb => number(&self.text("CONCAT(@@GLOBAL.gtid_slave_pos)").await) >= number(&position),
                SqlServer::MySql => self.text(&has_all).await == "1",
            }
        })
        .await;
    }

    /// Makes this replica a primary.
    pub async fn promote(&self) {
        let stop = match SqlServer::of_suite() {
            SqlServer::MariaDb => "STOP SLAVE; RESET SLAVE ALL",
            SqlServer::MySql => "STOP REPLICA; RESET REPLICA ALL",
        };
        crate::mysql::execute(&self.root_url(), &format!("{stop}; SET GLOBAL read_only = 0")).await;
    }

    /// The value of an expression.
    async fn text(&self, expression: &str) -> String {
        let mut connection = crate::mysql::connect(&self.root_url()).await.expect("the SQL server answers");
        let sql = format!("SELECT {expression} AS value");
        let values = crate::mysql::query_texts(&mut connection, &sql).await.expect("the SQL server answers");
        values.into_iter().next().expect("an expression has a value")
    }

    /// Copies the data folder. The server must be stopped.
    pub fn copy(&self) -> PathBuf {
        let copy = self.data.with_extension("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&self.data, &copy);
        copy
    }

    /// Replaces the data with a copy. The server must be stopped.
    pub fn replace_data(&self, copy: &Path) {
        fs::remove_dir_all(&self.data).expect("the server has a data folder");
        copy_folder(copy, &self.data);
    }

    pub async fn restart(&mut self) {
        self.process.start(&[]);
        until("the SQL server answers", || async { crate::mysql::connect(&self.root_url()).await.is_some() }).await;
    }
}

/// The data of an empty SQL server of the suite. The first caller makes it.
fn template() -> PathBuf {
    static LOCK: Mutex<()> = Mutex::new(());
    let _guard = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let template = runs_folder().join(format!("sql-template{}", suite()));
    if !template.exists() {
        // Made in a temporary folder and renamed when complete: an interrupted installation must not be taken for a database.
        let new = runs_folder().join(format!("sql-template-{}", std::process::id()));
        let _ = fs::remove_dir_all(&new);
        SqlServer::of_suite().install(&new);
        if fs::rename(&new, &template).is_err() {
            let _ = fs::remove_dir_all(&new);
        }
    }
    template
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
