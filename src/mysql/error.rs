//! The errors of MySQL.

use diesel::result::{DatabaseErrorKind, Error as QueryError};

use super::unreadable::UnreadableRow;
use crate::base::TooOld;

/// The begin of the message of error 1213. The driver does not pass on the number.
const DEADLOCK: &str = "Deadlock found when trying to get lock";

/// A failure of MySQL. The variant tells whether the statement may have happened.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection was available. The statement was not sent, so it had no effect.
    #[error("no connection to MySQL")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server refuses writes, as a replica does. The statement was not sent, so it had no effect.
    #[error("MySQL refuses writes ({settings})")]
    ReadOnly {
        /// The names of the server's settings by which it refuses.
        settings: String,
    },
    /// The server is too old. The statement was not sent, so it had no effect.
    #[error(transparent)]
    TooOld(#[from] TooOld),
    /// A unique key exists already. The statement had no effect.
    #[error("{operation}: the row exists already")]
    Duplicate { operation: &'static str },
    /// MySQL has rolled the transaction back: after a deadlock, or because a node of its cluster had an earlier commit of
    /// the same rows. The transaction, or the statement without one, had no effect.
    #[error("{operation}: MySQL has rolled back, because another transaction changed the same rows")]
    RolledBack { operation: &'static str },
    /// The statement was sent and an error returned. The statement may have taken effect.
    #[error("{operation} failed")]
    Failed { operation: &'static str, source: QueryError },
    /// The statement was sent and not answered in time. The statement may have taken effect.
    #[error("{operation}: MySQL did not answer in time")]
    TimedOut { operation: &'static str },
    /// A statement failed before the commit of the transaction. The transaction had no effect.
    #[error(transparent)]
    Uncommitted(Box<DbError>),
    /// A row cannot have been written by this program.
    #[error("{operation}: unreadable row ({what})")]
    Unreadable { operation: &'static str, what: String },
    /// A row of a coupon or an activity cannot be read. Only a read fails in this way, so nothing has changed.
    #[error(transparent)]
    UnreadableRow(#[from] UnreadableRow),
}

impl DbError {
    pub(crate) fn from_diesel(operation: &'static str, source: QueryError) -> Self {
        match source {
            QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Self::Duplicate { operation },
            QueryError::DatabaseError(_, said) if said.message().starts_with(DEADLOCK) => {
                Self::RolledBack { operation }
            }
            source => Self::Failed { operation, source },
        }
    }

    /// Whether the statement certainly had no effect.
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::ReadOnly { .. }
            | Self::TooOld(_)
            | Self::Duplicate { .. }
            | Self::RolledBack { .. }
            | Self::Uncommitted(_)
            | Self::UnreadableRow(_) => true,
            Self::Failed { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether a row of a coupon or an activity cannot be read. A retry fails until the row is corrected.
    pub fn is_unreadable_row(&self) -> bool {
        match self {
            Self::UnreadableRow(_) => true,
            Self::Uncommitted(error) => error.is_unreadable_row(),
            Self::Unreachable(_)
            | Self::ReadOnly { .. }
            | Self::TooOld(_)
            | Self::Duplicate { .. }
            | Self::RolledBack { .. }
            | Self::Failed { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    /// Marks an error from before `COMMIT` was sent. The transaction had no effect.
    pub(crate) fn before_commit(self) -> Self {
        if self.nothing_happened() { self } else { Self::Uncommitted(Box::new(self)) }
    }
}
