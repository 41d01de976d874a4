//! A Redis Cluster of three primaries with a replica each.

use std::net::SocketAddr;

use super::{RedisServer, eventually, free_address};

const PRIMARIES: usize = 3;
/// The last slot of each primary.
const LAST_SLOTS: [u16; PRIMARIES] = [5_460, 10_922, 16_383];
/// The slot of the tag `s0`.
pub const SLOT: &str = "11097";

/// The servers. The first three begin as the primaries, and the others as their replicas, in the same order.
pub struct RedisCluster {
    pub servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the servers, and waits until every slot has an owner with a replica.
    pub async fn start() -> Self {
        Self::start_with(Vec::new).await
    }

    /// Starts the servers with further `arguments`, which may differ.
    pub async fn start_with(arguments: impl Fn() -> Vec<String>) -> Self {
        let members = (0..2 * PRIMARIES).map(|_| start_member(arguments()));
        let servers = futures_util::future::join_all(members).await;
        let bus_of =
            |server: &(RedisServer, SocketAddr)| [server.0.address().port(), server.1.port()].map(|p| p.to_string());
        let [port, bus] = bus_of(&servers[0]);
        for (at, (server, _)) in servers.iter().enumerate() {
            server.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
            server.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        }
        let mut first = 0;
        for (at, last) in LAST_SLOTS.into_iter().enumerate() {
            let range = [first, last].map(|slot| slot.to_string());
            servers[at].0.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            first = last + 1;
        }
        let cluster = Self { servers: servers.into_iter().map(|(server, _)| server).collect() };
        for at in 0..PRIMARIES {
            let (id, replica) = (cluster.id(at).await, &cluster.servers[PRIMARIES + at]);
            eventually("the replica knows its primary", || async {
                replica.command::<String>(&["CLUSTER", "NODES"]).await.contains(&id)
            })
            .await;
            replica.command::<()>(&["CLUSTER", "REPLICATE", &id]).await;
        }
        eventually("every server knows the cluster", || async {
            for server in &cluster.servers {
                let info: String = server.command(&["CLUSTER", "INFO"]).await;
                let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
                let replicas = nodes.lines().filter(|node| node.contains("slave ") && node.contains(" connected"));
                if !info.contains("cluster_state:ok") || replicas.count() != PRIMARIES {
                    return false;
                }
            }
            true
        })
        .await;
        for primary in &cluster.servers[..PRIMARIES] {
            eventually("the replica has all data", || async {
                primary.command::<String>(&["INFO", "replication"]).await.contains("state=online")
            })
            .await;
        }
        cluster
    }

    /// The URL of two of the primaries. The others are found.
    pub fn url(&self) -> String {
        format!("redis-cluster://{},{}", self.servers[0].address(), self.servers[1].address())
    }

    /// The id of a server.
    pub async fn id(&self, server: usize) -> String {
        self.servers[server].command(&["CLUSTER", "MYID"]).await
    }
}

async fn start_member(further: Vec<String>) -> (RedisServer, SocketAddr) {
    let bus = free_address();
    let bus_port = bus.port().to_string();
    let settings = [
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus_port],
        ["--cluster-node-timeout", "2000"],
        ["--cluster-require-full-coverage", "no"],
        ["--cluster-allow-replica-migration", "no"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    let arguments = settings.concat().into_iter().map(str::to_owned).chain(further).collect();
    (RedisServer::start_with(None, arguments).await, bus)
}
