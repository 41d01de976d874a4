//! A Galera cluster of three nodes behind HAProxy, which leads to one writer at a time.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::mariadb::template;
use super::{DATABASE, MariaDb, PASSWORD, Process, copy_folder, until};
use crate::mysql;
use crate::ports::free_address;

const NODES: u8 = 3;
const LIBRARY: &str = "/usr/lib/galera/libgalera_smm.so";
/// The folder with `wsrep_sst_mariabackup`, if the system has none. `scripts/cluster-faults` sets this variable.
const TOOLS: &str = "FAULTS_GALERA_TOOLS";
/// How long a node may take to get all data.
const JOIN_WAIT: Duration = Duration::from_secs(120);

/// The nodes. Instances and the suite reach the writer at the address of the [`MariaDb`] that [`Galera::start`] returns.
pub struct Galera {
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    url: String,
    process: Process,
}

/// The ports of all nodes. Each node has an address of its own.
#[derive(Clone, Copy)]
struct Ports {
    sql: u16,
    replication: u16,
    increments: u16,
    transfer: u16,
}

impl Galera {
    /// Starts the nodes one after the other, and HAProxy.
    pub async fn start(folder: &Path) -> (Self, MariaDb) {
        let port = || free_address().port();
        let ports = Ports { sql: port(), replication: port(), increments: port(), transfer: port() };
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            let mut node = Node::new(folder, number, ports);
            node.process.start(&[]);
            node.wait_until_synced().await;
            nodes.push(node);
        }
        let front = port();
        let haproxy = haproxy(folder, front, ports.sql);
        let front = MariaDb::behind(front, haproxy, folder).await;
        (Self { nodes }, front)
    }

    /// Kills the writer. Returns its number, after another node has become the writer.
    pub async fn kill_writer(&mut self, front: &MariaDb) -> usize {
        let writer = writer(front).await.expect("the writer answers");
        self.nodes[writer].process.kill();
        until("another node is the writer", || async { writer_is_not(front, writer).await }).await;
        writer
    }

    /// Freezes all nodes but the writer for a `time`. Without a majority the writer refuses to write.
    pub async fn leave_writer_alone(&self, front: &MariaDb, time: Duration) {
        let writer = writer(front).await.expect("the writer answers");
        let others: Vec<&Node> =
            self.nodes.iter().enumerate().filter(|(number, _)| *number != writer).map(|(_, node)| node).collect();
        others.iter().for_each(|node| node.process.freeze());
        tokio::time::sleep(time).await;
        others.iter().for_each(|node| node.process.thaw());
        for node in &self.nodes {
            node.wait_until_synced().await;
        }
    }

    /// The addresses of the nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Starts a dead node, which gets the data of another one.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node].process.start(&[]);
        self.nodes[node].wait_until_synced().await;
    }
}

impl Node {
    fn new(folder: &Path, number: u8, ports: Ports) -> Self {
        let home = folder.join(format!("galera-{number}"));
        fs::create_dir_all(&home).expect("the run's folder can be written");
        if number == 1 {
            copy_folder(&template(), &home.join("data"));
            fs::write(home.join("users.sql"), users()).expect("the run's folder can be written");
        } else {
            fs::create_dir_all(home.join("data")).expect("the run's folder can be written");
        }
        fs::write(home.join("my.cnf"), settings(&home, number, ports)).expect("the run's folder can be written");
        let is_new = Arc::new(AtomicBool::new(number == 1));
        let log = home.with_extension("log");
        let process = Process::new(log, move || {
            let mut command = Command::new("env");
            let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:";
            command.env("PATH", path + &*std::env::var(TOOLS).unwrap_or_default());
            command.arg("mariadbd").arg(format!("--defaults-file={}", home.join("my.cnf").display()));
            if is_new.swap(false, Ordering::SeqCst) {
                command.arg("--wsrep-new-cluster").arg(format!("--init-file={}", home.join("users.sql").display()));
            }
            command
        });
        let address = SocketAddr::from((address(number), ports.sql));
        let url = format!("mysql://faults:{PASSWORD}@{address}/{DATABASE}");
        Self { address, url, process }
    }

    async fn wait_until_synced(&self) {
        let synced = "SELECT VARIABLE_VALUE = 'Synced' FROM information_schema.GLOBAL_STATUS \
                      WHERE VARIABLE_NAME = 'wsrep_local_state_comment'";
        let waiting = async {
            loop {
                if let Some(mut connection) = mysql::connect(&self.url).await
                    && mysql::query_number(&mut connection, synced).await == Some(1)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = tokio::time::timeout(JOIN_WAIT, waiting).await;
        waited.unwrap_or_else(|_| panic!("not within {JOIN_WAIT:?}: {} has all data", self.url));
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// The users of the suite, of the service, of HAProxy's checks and of the transfer of data.
fn users() -> String {
    format!(
        "CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
         CREATE USER service@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON {DATABASE}.* TO service@'127.0.0.1';\n\
         CREATE USER faults@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO faults@'127.0.0.1';\n\
         CREATE USER haproxy@'127.0.0.1';\n\
         CREATE USER sst@localhost IDENTIFIED BY '{PASSWORD}';\n\
         GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR ON *.* TO sst@localhost;\n"
    )
}

/// The settings of a node. Ids grow by one, because the suite counts coupons from 1 on. The nodes have one host name and
/// one port, so their identities differ by the `server_id`.
fn settings(home: &Path, number: u8, ports: Ports) -> String {
    let Ports { sql, replication, increments, transfer } = ports;
    let (node, home) = (address(number), home.display());
    let members: Vec<String> = (1..=NODES).map(|other| format!("{}:{replication}", address(other))).collect();
    let members = members.join(",");
    let user = if is_root() { "user=root\n" } else { "" };
    format!(
        "[mysqld]\n{user}datadir={home}/data\nsocket={home}/mysql.sock\npid-file={home}/mysqld.pid\n\
         bind-address={node}\nport={sql}\nserver-id={number}\nskip-name-resolve\nmax-connections=500\ncharacter-set-server=utf8mb4\n\
         innodb-buffer-pool-size=64M\ninnodb-log-file-size=8M\ninnodb-flush-log-at-trx-commit=1\n\
         innodb-autoinc-lock-mode=2\nbinlog-format=ROW\n\
         wsrep-on=ON\nwsrep-provider={LIBRARY}\nwsrep-cluster-name=faults\nwsrep-cluster-address=gcomm://{members}\n\
         wsrep-node-address={node}\nwsrep-node-name=galera-{number}\nwsrep-auto-increment-control=OFF\n\
         wsrep-provider-options=gmcast.listen_addr=tcp://{node}:{replication};ist.recv_addr={node}:{increments};\
         gcache.size=64M\n\
         wsrep-sst-method=mariabackup\nwsrep-sst-auth=sst:{PASSWORD}\nwsrep-sst-receive-address={node}:{transfer}\n"
    )
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// HAProxy, with one writer at a time. A node that comes back does not become the writer again, so that instances never
/// write through two nodes. In a full table, every new connection would take the place of the known writer for a moment.
fn haproxy(folder: &Path, front: u16, sql: u16) -> Process {
    let file: PathBuf = folder.join("haproxy.cfg");
    let servers: Vec<String> =
        (1..=NODES).map(|number| format!("    server galera-{number} {}:{sql}", address(number))).collect();
    let settings = format!(
        "global\n    maxconn 2000\ndefaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1h\n    timeout server 1h\n\
         listen mysql\n    bind 127.0.0.1:{front}\n    option mysql-check user haproxy\n    option redispatch\n\
         \x20   stick-table type integer size 1000\n    stick on int(1)\n\
         \x20   default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions\n{}\n",
        servers.join("\n")
    );
    fs::write(&file, settings).expect("the run's folder can be written");
    Process::new(file.with_extension("log"), move || {
        let mut command = Command::new("env");
        command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
        command.args(["haproxy", "-db", "-f"]).arg(&file);
        command
    })
}

/// The number of the node that HAProxy leads to.
async fn writer(front: &MariaDb) -> Option<usize> {
    let mut connection = mysql::connect(&front.root_url()).await?;
    let sql = "SELECT CONVERT(@@wsrep_node_name USING utf8mb4) AS value";
    let names = mysql::query_texts(&mut connection, sql).await?;
    names.first()?.strip_prefix("galera-")?.parse::<usize>().ok().map(|number| number - 1)
}

async fn writer_is_not(front: &MariaDb, former: usize) -> bool {
    writer(front).await.is_some_and(|writer| writer != former)
}
