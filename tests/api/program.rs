//! The program seen by an operator: version, help, errors at the start, and the stop.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{Client, DEADLINE, PASSWORD, SECRET, Stores, eventually, signal};

/// Every setting of `serve`.
const SETTINGS: [&str; 55] = [
    "COUPONRUSH_MERCHANTS",
    "COUPONRUSH_ARCHIVE_AFTER",
    "COUPONRUSH_HTTP_ADDR",
    "COUPONRUSH_HTTP_CERT",
    "COUPONRUSH_HTTP_KEY",
    "COUPONRUSH_OPS_ADDR",
    "COUPONRUSH_REDIS_URL",
    "COUPONRUSH_REDIS_PREFIX",
    "COUPONRUSH_REDIS_CA",
    "COUPONRUSH_REDIS_CERT",
    "COUPONRUSH_REDIS_KEY",
    "COUPONRUSH_MYSQL_URL",
    "COUPONRUSH_MYSQL_CA",
    "COUPONRUSH_MYSQL_CERT",
    "COUPONRUSH_MYSQL_KEY",
    "COUPONRUSH_ETCD_ENDPOINTS",
    "COUPONRUSH_ETCD_PREFIX",
    "COUPONRUSH_ETCD_USER",
    "COUPONRUSH_ETCD_CA",
    "COUPONRUSH_ETCD_CERT",
    "COUPONRUSH_ETCD_KEY",
    "COUPONRUSH_JWT_SECRET",
    "COUPONRUSH_CLAIM_SECRET",
    "COUPONRUSH_SIGN_SECRET",
    "COUPONRUSH_TICKET_SECRET",
    "COUPONRUSH_TOKEN_SECONDS",
    "COUPONRUSH_PASSWORD_MIN",
    "COUPONRUSH_ADMIN_ON",
    "COUPONRUSH_IP_VIEWERS_MAX",
    "COUPONRUSH_BACKLOG_MAX",
    "COUPONRUSH_ANSWER_WHEN",
    "COUPONRUSH_WAITING_MAX",
    "COUPONRUSH_SHARDS",
    "COUPONRUSH_SALER_COUPONS_MAX",
    "COUPONRUSH_AUDIT_DAYS",
    "COUPONRUSH_SALER_UNITS_MAX",
    "COUPONRUSH_SALER_SALES_MAX",
    "COUPONRUSH_COUPONS_MAX",
    "COUPONRUSH_UNITS_MAX",
    "COUPONRUSH_IN_FLIGHT_MAX",
    "COUPONRUSH_VIEWERS_MAX",
    "COUPONRUSH_START_WAIT",
    "COUPONRUSH_DRAIN_SECONDS",
    "COUPONRUSH_WORKERS",
    "COUPONRUSH_PROFILE",
    "COUPONRUSH_RATE_SHARE",
    "COUPONRUSH_USER_PER_SECOND",
    "COUPONRUSH_USER_PER_MINUTE",
    "COUPONRUSH_IP_PER_SECOND",
    "COUPONRUSH_IP_PER_MINUTE",
    "COUPONRUSH_FAILED_LOGINS_PER_MINUTE",
    "COUPONRUSH_IP_FAILED_LOGINS_PER_MINUTE",
    "COUPONRUSH_REGISTRATIONS_PER_MINUTE",
    "COUPONRUSH_TRUSTED_PROXIES",
    "COUPONRUSH_ALLOWED_ORIGINS",
];
/// A secret text. No output may show it.
pub const HIDDEN: &str = "hunter2";

/// The program with only the given settings.
fn couponrush(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couponrush"));
    command.env_clear().args(arguments).envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end. Panics if it does not end within [`DEADLINE`].
pub fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut child = couponrush(arguments, settings).spawn().expect("the program was built");
    // A full pipe would stop the program.
    let stdout = read(child.stdout.take().expect("stdout is piped"));
    let stderr = read(child.stderr.take().expect("stderr is piped"));
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break Some(status);
        }
        if began.elapsed() > DEADLINE {
            child.kill().expect("the program runs");
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("the pipe can be read"));
    let status = status.unwrap_or_else(|| panic!("{arguments:?} did not end: {}", text(&stderr)));
    Output { status, stdout, stderr }
}

/// Reads a pipe to its end in a thread.
fn read(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("the pipe can be read");
        bytes
    })
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

/// Valid settings of unreachable servers.
pub fn settings() -> Vec<(&'static str, &'static str)> {
    vec![
        ("COUPONRUSH_HTTP_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_OPS_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_REDIS_URL", "redis://:hunter2@127.0.0.1:1/"),
        ("COUPONRUSH_MYSQL_URL", "mysql://someone:hunter2@127.0.0.1:1/couponrush"),
        ("COUPONRUSH_JWT_SECRET", "hunter2 is a secret that is long enough"),
        ("COUPONRUSH_START_WAIT", "1"),
    ]
}

/// Asserts that `serve` ends with exit code 1 and a last line with all `parts`.
fn assert_does_not_start(settings: &[(&str, &str)], parts: &[&str]) {
    let output = run(&["serve"], settings);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{settings:?}: {err}");
    let sentence = err.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("couponrush: ") && err.ends_with('\n'), "{settings:?}: {err}");
    assert!(parts.iter().all(|part| sentence.contains(part)), "{parts:?} in {sentence}");
    // Earlier lines may only name the servers waited for.
    for line in err.lines().rev().skip(1) {
        assert!(line.starts_with('[') && line.contains("waiting for"), "{settings:?}: {err}");
    }
    assert!(!err.contains(HIDDEN) && !err.contains("panicked"), "{settings:?}: {err}");
}

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut settings = settings();
    settings.retain(|(other, _)| *other != name);
    settings.push((name, value));
    settings
}

#[test]
fn it_says_its_version() {
    for arguments in [["--version"].as_slice(), &["-V"], &["serve", "--version"]] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(0));
        let version = text(&output.stdout);
        assert!(version.starts_with("couponrush") && version.trim().ends_with(env!("CARGO_PKG_VERSION")), "{version}");
    }
}

#[test]
fn its_help_names_every_command() {
    for argument in ["--help", "-h", "help"] {
        let output = run(&[argument], &[]);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        for command in ["serve", "migrate", "admin", "seed", "import", "audit", "poisoned", "size"] {
            assert!(help.lines().any(|line| line.trim().starts_with(&format!("{command} "))), "{command} in {help}");
        }
    }
}

#[test]
fn the_help_of_serve_documents_every_setting_and_shows_no_secret() {
    let output = run(&["serve", "--help"], &settings());
    assert_eq!(output.status.code(), Some(0));
    // Line breaks depend on the terminal's width.
    let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        let documented = [']', '='].map(|end| help.matches(&format!("[env: {setting}{end}")).count());
        assert_eq!(documented[0] + documented[1], 1, "{setting} in {help}");
    }
    let documented = help.matches("[env: COUPONRUSH_").count();
    assert_eq!(documented, SETTINGS.len(), "a setting is missing in SETTINGS: {help}");
    for part in
        ["60 to 31536000", "[default: 86400]", "1000 to 10000000", "[default: 1000000]", "1 to 256", "[default: 30]"]
    {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert!(!help.contains(HIDDEN), "{help}");
}

#[test]
fn a_missing_setting_is_named() {
    for name in ["COUPONRUSH_JWT_SECRET", "COUPONRUSH_REDIS_URL", "COUPONRUSH_MYSQL_URL"] {
        let mut settings = settings();
        settings.retain(|(other, _)| *other != name);
        assert_does_not_start(&settings, &[name, "required"]);
        assert_does_not_start(&with(name, ""), &[name]);
    }
    let all = ["COUPONRUSH_JWT_SECRET", "COUPONRUSH_REDIS_URL", "COUPONRUSH_MYSQL_URL", "required"];
    assert_does_not_start(&[], &all);
}

#[test]
fn a_short_secret_is_refused_and_not_shown() {
    for (name, value, parts) in [
        ("COUPONRUSH_JWT_SECRET", "hunter2", ["at least 32 bytes", "number 1 has 7"]),
        ("COUPONRUSH_JWT_SECRET", "hunter2 is a secret that is long enough,hunter2", ["32 bytes", "number 2 has 7"]),
        ("COUPONRUSH_JWT_SECRET", "hunter2 is a secret that is long enough,", ["32 bytes", "number 2 has 0"]),
        ("COUPONRUSH_CLAIM_SECRET", "hunter2", ["at least 32 bytes", "number 1 has 7"]),
        ("COUPONRUSH_SIGN_SECRET", "hunter2", ["at least 32 bytes", "number 1 has 7"]),
        ("COUPONRUSH_TICKET_SECRET", "hunter2", ["at least 32 bytes", "number 1 has 7"]),
    ] {
        assert_does_not_start(&with(name, value), &[name, parts[0], parts[1]]);
    }
}

#[test]
fn a_malformed_setting_is_named_and_not_shown() {
    for (name, value, part) in [
        ("COUPONRUSH_REDIS_URL", "hunter2", "redis://"),
        ("COUPONRUSH_REDIS_URL", "http://:hunter2@127.0.0.1", "redis://"),
        ("COUPONRUSH_REDIS_URL", "redis://:hunter2@127.0.0.1:x", "redis://"),
        ("COUPONRUSH_REDIS_URL", "redis://:hunter2@127.0.0.1/x", "redis://"),
        ("COUPONRUSH_MYSQL_URL", "hunter2", "mysql://"),
        ("COUPONRUSH_MYSQL_URL", "postgres://someone:hunter2@127.0.0.1/couponrush", "mysql://"),
        ("COUPONRUSH_MYSQL_URL", "mysql://someone:hunter2@127.0.0.1", "mysql://"),
        ("COUPONRUSH_MYSQL_URL", "mysql://someone:hunter2@127.0.0.1:3306/", "mysql://"),
        ("COUPONRUSH_MYSQL_URL", "mysql://someone:hunter2@127.0.0.1:x/couponrush", "mysql://"),
        ("COUPONRUSH_MYSQL_URL", "mysql://someone:hunter2@/couponrush", "mysql://"),
        ("COUPONRUSH_ETCD_ENDPOINTS", "https://hunter2:2379,http://127.0.0.1:2379", "http://host:port"),
        ("COUPONRUSH_ETCD_ENDPOINTS", "http://127.0.0.1:2379,http://hunter2:x", "http://host:port"),
        ("COUPONRUSH_ETCD_ENDPOINTS", "hunter2:2379", "http://host:port"),
        ("COUPONRUSH_ETCD_PREFIX", "", "empty"),
        ("COUPONRUSH_HTTP_ADDR", "hunter2", "address"),
        ("COUPONRUSH_OPS_ADDR", "127.0.0.1", "address"),
        ("COUPONRUSH_TOKEN_SECONDS", "59", "60..=31536000"),
        ("COUPONRUSH_TOKEN_SECONDS", "a day", "digit"),
        ("COUPONRUSH_PASSWORD_MIN", "0", "1..=64"),
        ("COUPONRUSH_ADMIN_ON", "hunter2", "ops or users"),
        ("COUPONRUSH_PROFILE", "hunter2", "open or public"),
        ("COUPONRUSH_BACKLOG_MAX", "-1", "1000..=10000000"),
        ("COUPONRUSH_ANSWER_WHEN", "later", "granted or stored"),
        ("COUPONRUSH_WAITING_MAX", "0", "1..=100000"),
        ("COUPONRUSH_DRAIN_SECONDS", "301", "0..=300"),
        ("COUPONRUSH_WORKERS", "0", "1..=256"),
        ("COUPONRUSH_WORKERS", "", "empty"),
        ("COUPONRUSH_USER_PER_SECOND", "-1", "0..=1000000"),
        ("COUPONRUSH_IP_PER_MINUTE", "1000001", "0..=1000000"),
        ("COUPONRUSH_FAILED_LOGINS_PER_MINUTE", "many", "digit"),
        ("COUPONRUSH_TRUSTED_PROXIES", "10.0.0.0/8,proxy.example", "10.0.0.0/8"),
        ("COUPONRUSH_TRUSTED_PROXIES", "10.0.0.0/33", "network"),
    ] {
        assert_does_not_start(&with(name, value), &[name, part]);
    }
}

#[test]
fn a_setting_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = couponrush(&["serve"], &settings());
    command
        .env("COUPONRUSH_JWT_SECRET", std::ffi::OsStr::from_bytes(b"hunter2 \xff and so on until it is long enough"));
    let output = command.output().expect("the program was built");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "couponrush: COUPONRUSH_JWT_SECRET: not UTF-8\n");
}

#[test]
fn an_unreachable_mysql_is_waited_for_and_named() {
    let began = Instant::now();
    assert_does_not_start(&settings(), &["MySQL", "COUPONRUSH_MYSQL_URL", "Connection refused"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "the program waited only {:?}", began.elapsed());
    let nobody = "mysql://someone:hunter2@couponrush.invalid/couponrush";
    assert_does_not_start(&with("COUPONRUSH_MYSQL_URL", nobody), &["MySQL", "COUPONRUSH_MYSQL_URL"]);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("the listener is bound").to_string();
    for name in ["COUPONRUSH_HTTP_ADDR", "COUPONRUSH_OPS_ADDR"] {
        let mut settings = settings();
        settings.retain(|(other, _)| *other != name);
        settings.push((name, &address));
        assert_does_not_start(&settings, &[name, &address, "in use"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_redis_is_named() {
    let stores = Stores::create(None).await;
    let mut settings = settings();
    settings.retain(|(name, _)| *name != "COUPONRUSH_MYSQL_URL");
    settings.push(("COUPONRUSH_MYSQL_URL", &stores.mysql_url));
    assert_does_not_start(&settings, &["Redis", "COUPONRUSH_REDIS_URL", "Connection refused"]);
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    assert_eq!(stores.number(tables).await, 0, "the database was not migrated");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_sigterm_or_sigint_and_ends_with_0() {
    let stores = Stores::create(None).await;
    for signal in ["TERM", "INT"] {
        let (program, mut log) = serve(&stores, "0");
        let client = Client::new(address_in(&mut log));
        let user = json!({"username": signal, "password": PASSWORD, "kind": "customer"});
        assert_eq!(client.post("/api/users", "", &user).await.status, 201);

        assert_eq!(program.stop(signal).await.code(), Some(0), "{signal}");
        let mut rest = String::new();
        log.read_to_string(&mut rest).expect("the log is UTF-8");
        assert!(rest.lines().last().is_some_and(|line| line.ends_with("stopped")), "{rest}");
        assert!(!rest.contains("panicked") && !rest.contains(SECRET) && !rest.contains(PASSWORD), "{rest}");
    }
    assert_eq!(stores.texts("SELECT username AS value FROM users ORDER BY id").await, ["TERM", "INT"]);
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_it_waits_at_the_start_ends_it_with_0() {
    let (program, mut log) = Running::serve(&with("COUPONRUSH_START_WAIT", "600"));
    let mut line = String::new();
    log.read_line(&mut line).expect("the log is UTF-8");
    assert!(line.contains("waiting for MySQL"), "{line}");
    assert_eq!(program.stop("TERM").await.code(), Some(0));
}

/// The program as a child process. Dropping the value kills it.
pub struct Running(Mutex<Child>);

impl Running {
    /// Starts `serve` with the settings. Returns the program and its log.
    pub fn serve(settings: &[(&str, &str)]) -> (Self, BufReader<ChildStderr>) {
        Self::serve_with(&[], settings)
    }

    /// Starts `serve` with more arguments.
    pub fn serve_with(arguments: &[&str], settings: &[(&str, &str)]) -> (Self, BufReader<ChildStderr>) {
        let mut child = couponrush(&[&["serve"], arguments].concat(), settings).spawn().expect("the program was built");
        let log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        (Self(Mutex::new(child)), log)
    }

    /// Sends a signal and returns the exit status.
    pub async fn stop(&self, name: &str) -> ExitStatus {
        signal(&self.0.lock().expect("no thread panicked"), name);
        let ended = || self.0.lock().expect("no thread panicked").try_wait().expect("the child can be waited for");
        eventually("the program ends", || async { ended().is_some() }).await;
        ended().expect("the program has ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(child) = self.0.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The settings of an instance on the stores and on free ports, with one worker and this drain time.
pub fn instance_on<'a>(stores: &'a Stores, drain_seconds: &'a str) -> [(&'a str, &'a str); 8] {
    [
        ("COUPONRUSH_HTTP_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_OPS_ADDR", "127.0.0.1:0"),
        ("COUPONRUSH_REDIS_URL", &stores.redis_url),
        ("COUPONRUSH_REDIS_PREFIX", &stores.prefix),
        ("COUPONRUSH_MYSQL_URL", &stores.mysql_url),
        ("COUPONRUSH_JWT_SECRET", SECRET),
        ("COUPONRUSH_WORKERS", "1"),
        ("COUPONRUSH_DRAIN_SECONDS", drain_seconds),
    ]
}

fn serve(stores: &Stores, drain_seconds: &str) -> (Running, BufReader<ChildStderr>) {
    Running::serve(&instance_on(stores, drain_seconds))
}

/// The address for users, from the log.
pub fn address_in(log: &mut impl BufRead) -> std::net::SocketAddr {
    let mut read = String::new();
    while log.read_line(&mut read).expect("the log is UTF-8") > 0 {
        let line = read.lines().last().and_then(|line| line.split_once("serving users on http"));
        if let Some((_, address)) = line.and_then(|(_, rest)| rest.split_once("://")) {
            return address.parse().expect("an address");
        }
    }
    panic!("the program ended: {read}");
}
