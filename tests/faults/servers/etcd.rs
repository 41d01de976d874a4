//! Three members of etcd.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Process, until};
use crate::ports::free_address;

const MEMBERS: usize = 3;
const WAIT: Duration = Duration::from_secs(1);

pub struct Etcd {
    members: Vec<(SocketAddr, Process)>,
    http: reqwest::Client,
}

impl Etcd {
    /// Starts the members with data and logs in `folder`. The members listen to clients at `ip`.
    pub async fn start(folder: &Path, ip: Ipv4Addr) -> Self {
        let clients: Vec<SocketAddr> = (0..MEMBERS).map(|_| (ip, free_address().port()).into()).collect();
        let peers: Vec<String> = (0..MEMBERS).map(|_| format!("http://{}", free_address())).collect();
        let cluster: Vec<String> = peers.iter().enumerate().map(|(number, peer)| format!("e{number}={peer}")).collect();
        let cluster = cluster.join(",");
        let start = |(number, client): (usize, &SocketAddr)| {
            let (data, client, peer) = (folder.join(format!("etcd-{number}")), *client, peers[number].clone());
            let cluster = cluster.clone();
            let mut process = Process::new(data.with_extension("log"), move || {
                let mut command = Command::new("etcd");
                command.env("ETCD_UNSUPPORTED_ARCH", "arm64").args([
                    "--logger",
                    "zap",
                    "--name",
                    &format!("e{number}"),
                ]);
                command.arg("--data-dir").arg(&data).args(["--initial-cluster", &cluster]);
                let client = format!("http://{client}");
                command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
                command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
                command
            });
            process.start(&[]);
            (client, process)
        };
        let members = clients.iter().enumerate().map(start).collect();
        let http = reqwest::Client::builder().no_proxy().timeout(WAIT).build().expect("an HTTP client can be built");
        let etcd = Self { members, http };
        until("etcd has a leader", || async { etcd.leader().await.is_some() }).await;
        etcd
    }

    /// The value of `COUPONRUSH_ETCD_ENDPOINTS`.
    pub fn endpoints(&self) -> String {
        let all: Vec<String> = self.members.iter().map(|(client, _)| format!("http://{client}")).collect();
        all.join(",")
    }

    /// The number of the member that says that it is the leader.
    async fn leader(&self) -> Option<usize> {
        for (number, (client, _)) in self.members.iter().enumerate() {
            let request = self.http.post(format!("http://{client}/v3/maintenance/status")).body("{}");
            let Ok(answer) = request.send().await else { continue };
            let Ok(status) = answer.json::<Value>().await else { continue };
            let own = &status["header"]["member_id"];
            if own.is_string() && *own == status["leader"] {
                return Some(number);
            }
        }
        None
    }

    /// Kills the leader. Returns its number, after another member has become the leader.
    pub async fn kill_leader(&mut self) -> usize {
        let leader = self.leader().await.expect("etcd has a leader");
        self.members[leader].1.kill();
        until("etcd has another leader", || async { self.leader().await.is_some_and(|other| other != leader) }).await;
        leader
    }

    /// Freezes the leader and another member for a `time`. The third member has no majority, like a member that is cut off.
    pub async fn leave_one_alone(&self, time: Duration) {
        let leader = self.leader().await.expect("etcd has a leader");
        let frozen = [leader, (leader + 1) % MEMBERS].map(|member| &self.members[member].1);
        frozen.iter().for_each(|process| process.freeze());
        tokio::time::sleep(time).await;
        frozen.iter().for_each(|process| process.thaw());
        until("etcd has a leader", || async { self.leader().await.is_some() }).await;
    }

    pub fn restart(&mut self, member: usize) {
        self.members[member].1.start(&[]);
    }
}
