//! Where the primary of a shard is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use super::redis::connect;

/// How long a member of a cluster, or a sentinel, may take to answer.
const VIEW_WAIT: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(20);
/// The name of the primary that the sentinels watch.
pub const NAME: &str = "shop";

/// Finds the primary of a shard, past the program and its proxies.
#[derive(Clone)]
pub enum Whereabouts {
    /// A single Redis, at this port.
    One(Arc<AtomicU16>),
    /// The members of a cluster, and the slot of each shard.
    Cluster(Vec<SocketAddr>, Vec<u16>),
    Sentinels(Vec<SocketAddr>),
}

impl Whereabouts {
    pub fn one(port: u16) -> Self {
        Self::One(Arc::new(AtomicU16::new(port)))
    }

    /// Follows a single Redis to another port.
    pub fn lead_to(&self, port: u16) {
        match self {
            Self::One(at) => at.store(port, Ordering::SeqCst),
            Self::Cluster(..) | Self::Sentinels(_) => panic!("only the address of a single Redis is moved by a fault"),
        }
    }

    /// The address of the primary of a shard. `None` if nobody knows.
    pub async fn primary(&self, shard: usize) -> Option<SocketAddr> {
        match self {
            Self::One(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.load(Ordering::SeqCst)))),
            Self::Cluster(members, slots) => {
                let views = members.iter().map(|member| owner_by(*member, slots[shard]));
                // A cut-off member does not know of later owners, which have a higher epoch.
                join_all(views).await.into_iter().flatten().max().map(|(_, address)| address)
            }
            Self::Sentinels(sentinels) => {
                let named = join_all(sentinels.iter().map(|sentinel| named_by(*sentinel))).await;
                let mut votes = HashMap::new();
                for address in named.into_iter().flatten() {
                    *votes.entry(address).or_insert(0) += 1;
                }
                votes.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address)
            }
        }
    }

    /// A connection to the primary of a shard. `None` if the primary does not answer in time.
    pub async fn connect(&self, shard: usize, wait: Duration) -> Option<MultiplexedConnection> {
        let connecting = async {
            loop {
                if let Some(address) = self.primary(shard).await
                    && let Some(connection) = connect(address, VIEW_WAIT).await
                {
                    return connection;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(wait, connecting).await.ok()
    }
}

/// The owner of a slot as a member knows it, behind the owner's epoch.
async fn owner_by(member: SocketAddr, slot: u16) -> Option<(u64, SocketAddr)> {
    let mut connection = connect(member, VIEW_WAIT).await?;
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg("NODES");
    let text = tokio::time::timeout(VIEW_WAIT, cmd.query_async::<String>(&mut connection)).await.ok()?.ok()?;
    let owner = |line: &str| {
        // `id host:port@bus flags primary ping pong epoch link slots...`
        let words: Vec<&str> = line.split(' ').collect();
        let is_owner = words.get(2)?.contains("master") && words[8..].iter().any(|range| has(range, slot));
        let (address, _) = words[1].split_once('@')?;
        is_owner.then_some((words.get(6)?.parse().ok()?, address.parse().ok()?))
    };
    text.lines().filter_map(owner).max()
}

/// Whether a range (`first-last`, or a single slot) has `slot`.
fn has(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
}

async fn named_by(sentinel: SocketAddr) -> Option<SocketAddr> {
    let mut connection = connect(sentinel, VIEW_WAIT).await?;
    let mut cmd = redis::cmd("SENTINEL");
    cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(NAME);
    let asked = cmd.query_async::<(String, String)>(&mut connection);
    let (ip, port) = tokio::time::timeout(VIEW_WAIT, asked).await.ok()?.ok()?;
    format!("{ip}:{port}").parse().ok()
}
