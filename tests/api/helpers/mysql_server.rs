//! A MariaDB or MySQL server for a single test, to be made read-only, copied or frozen.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};

use super::data_server::DataServer;
use super::free_address;
use super::sql_program::SqlServer;

const PASSWORD: &str = "of-the-tests";

/// A server that flushes at every commit. Its user has all privileges, so `read_only` alone stops no write.
pub struct MysqlServer {
    pub address: SocketAddr,
    server: DataServer,
}

impl MysqlServer {
    /// Starts an empty server on a free port.
    pub async fn start() -> Self {
        Self::start_with(None, Vec::new()).await
    }

    /// Starts another server with a copy of the data. This server is killed and started again.
    pub async fn copy(&mut self) -> Self {
        self.server.kill();
        let copy = self.server.save();
        self.server.start_again();
        self.wait_until_it_answers().await;
        Self::start_with(Some(copy), Vec::new()).await
    }

    /// Starts a server with a copy of `data`, or an empty one, with further `arguments`.
    pub async fn start_with(data: Option<PathBuf>, arguments: Vec<String>) -> Self {
        let address = free_address();
        let server = DataServer::start("mysql", move |folder| {
            if !folder.join("mysql").exists() {
                match &data {
                    Some(data) => run(Command::new("cp").arg("-aT").arg(data).arg(folder)),
                    None => SqlServer::of_suite().install(folder),
                }
                SqlServer::forget_identity(folder);
            }
            let mut command = SqlServer::of_suite().command(folder);
            command.arg(format!("--socket={}", folder.with_extension("sock").display()));
            command.arg(format!("--init-file={}", init_file(folder).display()));
            command
                .arg(format!("--port={}", address.port()))
                .args(["--skip-log-bin", "--max-connections=200"])
                .args(&arguments);
            command
        });
        let server = Self { address, server };
        server.wait_until_it_answers().await;
        server
    }

    /// The URL of the database `mysql`.
    pub fn url(&self) -> String {
        format!("mysql://tests:{PASSWORD}@{}/mysql", self.address)
    }

    pub async fn execute(&self, sql: &str) {
        let mut connection = AsyncMysqlConnection::establish(&self.url()).await.expect("the server answers");
        connection.batch_execute(sql).await.expect("the server executes the statement");
    }

    async fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while AsyncMysqlConnection::establish(&self.url()).await.is_err() {
            assert!(Instant::now() < deadline, "the SQL server does not answer at {}", self.address);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Deref for MysqlServer {
    type Target = DataServer;

    fn deref(&self) -> &DataServer {
        &self.server
    }
}

impl DerefMut for MysqlServer {
    fn deref_mut(&mut self) -> &mut DataServer {
        &mut self.server
    }
}

/// Statements that the server executes at every start. The file stands beside the data folder.
fn init_file(folder: &Path) -> PathBuf {
    let file = folder.with_extension("sql");
    let statements = format!(
        "CREATE USER IF NOT EXISTS tests@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO tests@'127.0.0.1' WITH GRANT OPTION;\n"
    );
    std::fs::write(&file, statements).expect("the temporary folder can be written");
    file
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
}
