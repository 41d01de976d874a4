//! The answer of one member: a node of a cluster, or a sentinel.

/// Host and port of a server.
pub(in crate::redis) type HostPort = (String, u16);

/// The server that a majority names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The id of the node in a cluster, or `host:port` as the sentinels spell it.
    pub server: String,
    pub(in crate::redis) address: HostPort,
    /// Whether the server says that the slot of the shard migrates to another one.
    pub is_moving: bool,
}

impl Named {
    /// `host:port`, as the majority spells it.
    pub fn address(&self) -> String {
        format!("{}:{}", self.address.0, self.address.1)
    }
}

/// The answer of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The id of the member. A member is counted once, whatever addresses it has.
    pub(super) member: String,
    /// Whether the member has a vote.
    pub(super) votes: bool,
    /// The number of members with a vote, as far as this member knows.
    pub(super) voters: usize,
    /// The ids of the other members with a vote. Empty if `voters` already counts them.
    pub(super) others: Vec<String>,
    pub(super) named: Option<Named>,
    /// Addresses of all members known to this member.
    pub(super) addresses: Vec<HostPort>,
}
