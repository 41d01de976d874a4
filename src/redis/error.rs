//! Errors of calls to Redis, classified by their effect.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::base::TooOld;

/// A call to Redis without a usable reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KvError {
    /// No connection exists. Nothing was sent.
    #[error("no connection to Redis")]
    NotConnected,
    /// Connecting failed. Nothing was sent.
    #[error("no connection: {0}")]
    Unreachable(#[source] RedisError),
    /// No majority names the primary of the shard. Nothing was sent.
    #[error("no majority of the cluster or of the sentinels names the primary")]
    NoMajority,
    /// The maximum number of calls is waiting. Nothing was sent.
    #[error("too many calls wait for Redis")]
    Full,
    /// Redis refused the command. Nothing has changed.
    #[error("Redis refused: {0}")]
    Refused(#[source] RedisError),
    /// No reply in time. The command may have run.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The connection ended before the reply. The command may have run.
    #[error("the connection to Redis was lost")]
    Lost,
    /// An error with an uncertain effect. The command may have run.
    #[error("Redis failed: {0}")]
    Unknown(#[source] RedisError),
    /// A reply in an unknown form. The command may have run.
    #[error("Redis replied in an unknown form")]
    Unreadable,
    /// The server is a replica. Nothing was sent but questions.
    #[error("the server is a replica and takes no writes")]
    Replica,
    /// The server is too old. Nothing was sent but questions.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

/// Why a Redis server that answers refuses writes. The names in brackets are the server's error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRefusal {
    /// The server is a replica (`READONLY`).
    ReadOnly,
    /// The limit `maxmemory` is reached (`OOM`).
    OutOfMemory,
    /// A file cannot be written, usually because the disk is full (`MISCONF`).
    NotPersisting,
    /// Fewer replicas follow than `min-replicas-to-write` (`NOREPLICAS`).
    NoReplicas,
    /// The Redis user lacks a right (`NOPERM`).
    NoPermission,
    /// The server belongs to a cluster, and another member has the keys (`MOVED`) or nobody has them (`CLUSTERDOWN`).
    Elsewhere,
    /// The slot of the shard moves to another member of the cluster, key by key (`ASK`, `TRYAGAIN`).
    Moving,
}

impl WriteRefusal {
    /// The reason in one word, for `/readyz`, metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::OutOfMemory => "out-of-memory",
            Self::NotPersisting => "not-persisting",
            Self::NoReplicas => "no-replicas",
            Self::NoPermission => "no-permission",
            Self::Elsewhere => "elsewhere",
            Self::Moving => "moving",
        }
    }
}

impl KvError {
    /// Whether the command has certainly changed nothing.
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::NotConnected
            | Self::Unreachable(_)
            | Self::NoMajority
            | Self::Full
            | Self::Refused(_)
            | Self::Replica
            | Self::TooOld(_) => true,
            Self::TimedOut | Self::Lost | Self::Unknown(_) | Self::Unreadable => false,
        }
    }

    /// Why the server refuses writes, or `None` for any other error.
    pub fn write_refusal(&self) -> Option<WriteRefusal> {
        let error = match self {
            Self::Replica => return Some(WriteRefusal::ReadOnly),
            Self::Refused(error) => error,
            _ => return None,
        };
        match error.code()? {
            "READONLY" => Some(WriteRefusal::ReadOnly),
            "OOM" => Some(WriteRefusal::OutOfMemory),
            "MISCONF" => Some(WriteRefusal::NotPersisting),
            "NOREPLICAS" => Some(WriteRefusal::NoReplicas),
            "NOPERM" => Some(WriteRefusal::NoPermission),
            "MOVED" | "CLUSTERDOWN" => Some(WriteRefusal::Elsewhere),
            "ASK" | "TRYAGAIN" => Some(WriteRefusal::Moving),
            _ => None,
        }
    }

    pub(super) fn is_no_script(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }
}

/// The crate reports an unsent request and a lost reply by the same error, so both are [`KvError::Lost`].
impl From<RedisError> for KvError {
    fn from(error: RedisError) -> Self {
        if was_refused(&error) {
            Self::Refused(error)
        } else if error.is_io_error() {
            Self::Lost
        } else {
            Self::Unknown(error)
        }
    }
}

/// Whether Redis refused the command before running anything. A script's run-time error does not count, because earlier
/// writes of the script stay.
fn was_refused(error: &RedisError) -> bool {
    let ErrorKind::Server(kind) = error.kind() else {
        return matches!(error.code(), Some("OOM" | "BUSY" | "MISCONF" | "NOREPLICAS" | "NOAUTH" | "WRONGPASS"));
    };
    matches!(
        kind,
        ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoPerm
    )
}
