//! Errors of calls to Redis, classified by their effect.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A call to Redis that brought no reply.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// There is no connection: nothing was sent.
    #[error("no connection to Redis")]
    NotConnected,
    /// No connection could be made: nothing was sent.
    #[error("no connection: {0}")]
    Unreachable(#[source] RedisError),
    /// The limit of waiting calls is reached: nothing was sent.
    #[error("too many calls wait for Redis")]
    Full,
    /// Redis answered that it did not do it.
    #[error("Redis refused: {0}")]
    Refused(#[source] RedisError),
    /// No answer in time: it may have been done.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The connection was lost before the reply: it may have been done.
    #[error("the connection to Redis was lost")]
    Lost,
    /// An answer that says nothing certain about the effect.
    #[error("Redis failed: {0}")]
    Unknown(#[source] RedisError),
    /// A reply that no script of this program gives.
    #[error("a reply of an unknown form")]
    Unreadable,
}

impl KvError {
    /// Whether it is certain that the call has changed nothing.
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::NotConnected | Self::Unreachable(_) | Self::Full | Self::Refused(_) => true,
            Self::TimedOut | Self::Lost | Self::Unknown(_) | Self::Unreadable => false,
        }
    }

    /// Whether the script was not known to the server.
    pub(super) fn is_no_script(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }
}

/// The crate reports a request that was never sent and one whose reply was lost by the same error, so both are
/// [`KvError::Lost`].
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

/// Whether Redis refused the command before anything ran. A script's own run-time error is not among these: its earlier
/// writes stay.
fn was_refused(error: &RedisError) -> bool {
    let ErrorKind::Server(kind) = error.kind() else {
        return matches!(error.code(), Some("OOM" | "BUSY" | "MISCONF" | "NOAUTH" | "WRONGPASS"));
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
