//! An instance of the program under test, and its reports about itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::history::Backlog;
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::servers::{MariaDb, Process, RedisServers, SECRET};
use crate::setup::Setup;

/// Timeout of a report.
const REPORT_WAIT: Duration = Duration::from_secs(1);

/// An instance of the program, with proxies to a single Redis and to MySQL.
pub struct Instance {
    pub http: SocketAddr,
    pub ops: SocketAddr,
    pub redis: Proxy,
    pub mysql: Proxy,
    pub process: Process,
    is_previous: Arc<AtomicBool>,
}

impl Instance {
    /// Starts instance `number` of a run with this setup. Of several Redis servers, the instance finds the primaries itself.
    pub async fn start(
        folder: &Path,
        number: usize,
        (redis, mariadb): (&RedisServers, &MariaDb),
        setup: &Setup,
    ) -> Self {
        let clock = setup.clocks.as_ref().map(|clocks| clocks.instances[number].clone());
        let one_address = setup.one_address.clone();
        let is_previous = Arc::new(AtomicBool::new(setup.is_previous));
        let starts_previous = Arc::clone(&is_previous);
        let (machine, host) = (setup.network.of_instance(number), setup.network.of_suite_itself().ip);
        let [http, ops] = [(); 2].map(|()| SocketAddr::from((machine.front, free_address().port())));
        let redis_port = if let RedisServers::One(redis) = redis { redis.port } else { 0 };
        let (redis_proxy, mysql_proxy) = (Proxy::start(host, redis_port).await, Proxy::start(host, mariadb.port).await);
        let (redis_url, mysql_url) = (redis.url_over(redis_proxy.port), mariadb.url_at(host, mysql_proxy.port));
        let (shards, etcd) = (setup.layout.shards().to_string(), setup.etcd.clone().unwrap_or_default());
        let mut process = Process::new(folder.join(format!("instance-{number}.log")), move || {
            let previous = starts_previous.load(Ordering::SeqCst);
            let binary = std::env::var_os("COUPONRUSH_FAULTS_PREVIOUS").filter(|_| previous).map(PathBuf::from);
            let imitates = previous && binary.is_none();
            let mut command = machine.command(binary.unwrap_or_else(program));
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COUPONRUSH_")) {
                command.env_remove(name);
            }
            let told = one_address.as_ref().map(|address| address.govern(&mut command, http.port()).to_owned());
            command.arg("serve").args(["--http-addr", &told.unwrap_or_else(|| http.to_string())]);
            command.args(["--ops-addr", &ops.to_string()]);
            command.args(["--redis-url", &redis_url, "--mysql-url", &mysql_url, "--jwt-secret", SECRET]);
            command.env("COUPONRUSH_SHARDS", &shards).env("COUPONRUSH_ETCD_ENDPOINTS", &etcd);
            command.args(["--workers", "2", "--start-wait", "60", "--backlog-max", "20000"]);
            if imitates {
                command.args(["--format", "previous"]);
            }
            if let Some(clock) = &clock {
                clock.govern(&mut command);
            }
            command
        });
        process.start(&[]);
        Self { http, ops, redis: redis_proxy, mysql: mysql_proxy, process, is_previous }
    }

    /// Whether the next start is of the previous release. That is the program `COUPONRUSH_FAULTS_PREVIOUS`, or otherwise
    /// the current program with `--format previous`.
    pub fn set_previous(&self, is_previous: bool) {
        self.is_previous.store(is_previous, Ordering::SeqCst);
    }
}

/// The program under test.
pub fn program() -> PathBuf {
    let program = std::env::var_os("COUPONRUSH_FAULTS_PROGRAM").map(PathBuf::from);
    program.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_couponrush")))
}

/// Whether the instance can sell the coupons of all shards.
pub async fn is_ready(http: &reqwest::Client, ops: SocketAddr) -> bool {
    let Some(report) = readiness(http, ops).await else { return false };
    // The previous release has one shard, and reports only its gate.
    report["ready"] == true && report["redis"]["state"] == "up" && report["gate"]["state"] == "open"
}

/// The report of `/readyz`. `None` without an answer in time.
pub async fn readiness(http: &reqwest::Client, ops: SocketAddr) -> Option<Value> {
    let request = http.get(format!("http://{ops}/readyz")).timeout(REPORT_WAIT);
    request.send().await.ok()?.json().await.ok()
}

/// The claims in the ledger's channel.
pub async fn backlog(http: &reqwest::Client, ops: SocketAddr) -> Option<Backlog> {
    let report = readiness(http, ops).await?;
    Some(Backlog { waiting: report["ledger"]["backlog"].as_u64()?, max: report["ledger"]["backlog_max"].as_u64()? })
}
