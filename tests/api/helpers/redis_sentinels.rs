//! Three sentinels of a Redis server with a replica.

use std::process::Command;

use super::data_server::DataServer;
use super::{RedisServer, eventually, free_address};

/// The name of the primary.
const NAME: &str = "shop";

pub struct RedisSentinels {
    pub primary: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<DataServer>,
    ports: Vec<u16>,
    /// `user:password@`, or nothing.
    credentials: &'static str,
}

impl RedisSentinels {
    /// Starts the servers, and waits until the sentinels know each other and the replica.
    pub async fn start() -> Self {
        Self::start_with(RedisServer::start().await, "").await
    }

    /// Starts servers and sentinels with the user `sale`. The servers also serve clients without a user, because the test
    /// has none. The sentinels refuse clients without a user.
    pub async fn start_with_user() -> Self {
        Self::start_with(RedisServer::start().await, "sale:secret@").await
    }

    /// Starts a primary that cannot be made a replica. After a failover this server goes on as a primary.
    pub async fn start_with_lasting_primary() -> Self {
        let renamed = ["REPLICAOF", "SLAVEOF"].map(|name| ["--rename-command", name, ""]);
        let arguments = renamed.concat().into_iter().map(str::to_owned).collect();
        Self::start_with(RedisServer::start_with(None, arguments).await, "").await
    }

    async fn start_with(primary: RedisServer, credentials: &'static str) -> Self {
        let replica = RedisServer::start().await;
        let mut of_sentinels = String::new();
        if !credentials.is_empty() {
            for server in [&primary, &replica] {
                server.command::<()>(&["ACL", "SETUSER", "sale", "on", ">secret", "~*", "&*", "+@all"]).await;
            }
            of_sentinels = "user sale on >secret ~* &* +@all\nuser default off\nsentinel sentinel-user sale\n\
                            sentinel sentinel-pass secret\n"
                .to_owned();
        }
        replica.follow(&primary).await;
        let ports: Vec<u16> = (0..3).map(|_| free_address().port()).collect();
        let settings = |port: u16| {
            format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n\
                 {of_sentinels}",
                primary.address().port()
            )
        };
        let start = |port: &u16| {
            let settings = settings(*port);
            DataServer::start("sentinel", move |folder| {
                let file = folder.join("sentinel.conf");
                std::fs::write(&file, &settings).expect("the temporary folder can be written");
                let mut command = Command::new("redis-server");
                command.arg(file).arg("--sentinel");
                command
            })
        };
        let sentinels = ports.iter().map(start).collect();
        let started = Self { primary, replica, sentinels, ports, credentials };
        eventually("the sentinels know each other and the replica", || async {
            for port in &started.ports {
                let Ok(client) = redis::Client::open(format!("redis://{credentials}127.0.0.1:{port}/")) else {
                    return false;
                };
                let Ok(mut sentinel) = client.get_multiplexed_async_connection().await else { return false };
                let info: redis::RedisResult<String> =
                    redis::cmd("INFO").arg("sentinel").query_async(&mut sentinel).await;
                if !info.is_ok_and(|info| info.contains("slaves=1,sentinels=3")) {
                    return false;
                }
            }
            true
        })
        .await;
        started
    }

    /// Lets the sentinels promote the replica.
    pub async fn fail_over(&self) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.ports[0])).expect("the URL is valid");
        let mut sentinel = client.get_multiplexed_async_connection().await.expect("the sentinel answers");
        let asked = redis::cmd("SENTINEL").arg("FAILOVER").arg(NAME).query_async::<()>(&mut sentinel).await;
        asked.expect("the sentinel fails over");
    }

    /// The URL of two of the sentinels. The third is found.
    pub fn url(&self) -> String {
        format!("redis-sentinel://{}127.0.0.1:{},127.0.0.1:{}/{NAME}", self.credentials, self.ports[0], self.ports[1])
    }
}
