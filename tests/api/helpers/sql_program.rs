//! The programs of the SQL server that tests start: MariaDB's, or MySQL's in the suite `mysql-valkey`.

use std::path::Path;
use std::process::Command;

/// The kind of the SQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlServer {
    MariaDb,
    MySql,
}

impl SqlServer {
    /// The server of the suite whose programs come first in PATH. `scripts/stack --suite` sets the variable.
    pub fn of_suite() -> Self {
        if suite().starts_with("mysql-") { Self::MySql } else { Self::MariaDb }
    }

    /// The command that starts the server with data of [`SqlServer::install`]. The server needs little memory and
    /// flushes at every commit.
    pub fn command(self, folder: &Path) -> Command {
        let mut command = match self {
            Self::MariaDb => program("mariadbd"),
            Self::MySql => program("mysqld"),
        };
        match self {
            Self::MariaDb => command.arg("--innodb-log-file-size=8M"),
            Self::MySql => command.args(["--innodb-redo-log-capacity=16M", "--secure-file-priv=", "--mysqlx=OFF"]),
        };
        command.arg(format!("--datadir={}", folder.display()));
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--character-set-server=utf8mb4"]);
        command.args(["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=1"]);
        command
    }

    /// Makes the data of an empty server.
    pub fn install(self, folder: &Path) {
        let mut command = match self {
            Self::MariaDb => {
                let mut command = program("mariadb-install-db");
                command.args(["--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=socket"]);
                command.arg("--innodb-log-file-size=8M");
                command
            }
            Self::MySql => {
                let mut command = program("mysqld");
                command.args(["--initialize-insecure", "--secure-file-priv="]);
                command
            }
        };
        command.arg(format!("--datadir={}", folder.display()));
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&printed));
        Self::forget_identity(folder);
    }

    /// Lets a server with copied data choose an identity of its own (`server_uuid`) at its next start. MySQL keeps the
    /// identity in this file, MariaDB has none.
    pub fn forget_identity(folder: &Path) {
        let _ = std::fs::remove_file(folder.join("auto.cnf"));
    }
}

/// The suite of stores, empty for the system's.
pub fn suite() -> String {
    std::env::var("COUPONRUSH_TEST_SUITE").unwrap_or_default()
}

/// `mariadbd` is in sbin, often missing from an ordinary user's PATH. As root, it starts only with `--user=root`.
fn program(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new("env");
    command.env("PATH", path).args([name, "--no-defaults"]);
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if is_root {
        command.arg("--user=root");
    }
    command
}
