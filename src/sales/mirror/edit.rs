//! An edit of an operator in etcd, and the reasons why it cannot be taken over.

use super::value::ValueError;
use crate::etcd::{EtcdError, Value};
use crate::mysql::DbError;
use crate::sales::EditError;

/// A write by an operator to the key of an activity. Without a value, a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub revision: u64,
    pub value: Option<Value>,
}

/// Why a step failed. The step is retried unless the edit was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum MirrorError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("etcd is full with {0} keys, so no more activities are put")]
    Full(usize),
    #[error("MySQL did not store an edit in time")]
    TimedOut,
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Edit(#[from] EditError),
}

impl MirrorError {
    /// Whether the edit itself is invalid, so that a retry cannot succeed.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Value(_) => true,
            Self::Edit(error) => error.is_refusal(),
            Self::Db(_) | Self::Etcd(_) | Self::Full(_) | Self::TimedOut => false,
        }
    }
}
