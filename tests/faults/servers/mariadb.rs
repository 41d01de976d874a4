//! A single SQL server.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{DATABASE, PASSWORD, Process, copy_folder, runs_folder, until};
use crate::ports::free_address;
use crate::sql_program::{SqlServer, suite};

/// A MariaDB, or a MySQL, that syncs every commit before its answer. It logs changes for replicas.
pub struct MariaDb {
    pub port: u16,
    data: PathBuf,
    pub process: Process,
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

    /// The address of several servers behind a load balancer, which is `process` and listens on `port`.
    pub(super) async fn behind(port: u16, process: Process, folder: &Path) -> Self {
        let mut front = Self { port, data: folder.to_owned(), process };
        front.restart().await;
        front
    }

    /// The URL for the service, with the port of the server or of a proxy.
    pub fn url(&self, port: u16) -> String {
        self.url_at(Ipv4Addr::LOCALHOST, port)
    }

    /// The same for instances that reach the proxy at `ip`.
    pub fn url_at(&self, ip: Ipv4Addr, port: u16) -> String {
        format!("mysql://service:{PASSWORD}@{ip}:{port}/{DATABASE}")
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
pub(super) fn template() -> PathBuf {
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
