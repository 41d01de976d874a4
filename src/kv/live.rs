//! The value of the key `live`: which Redis process holds which loading of the shard.

use crate::domain::Epoch;

/// A loaded shard: the Redis process that holds it and the epoch it was loaded in.
///
/// Every claim is made under one, and `lua/claim.lua` compares: a restarted, emptied or older Redis is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub run_id: String,
    pub epoch: Epoch,
    text: String,
}

impl Live {
    pub fn new(run_id: &str, epoch: Epoch) -> Self {
        Self { run_id: run_id.to_owned(), epoch, text: format!("{run_id}:{epoch}") }
    }

    /// `run_id:epoch`, as the key holds it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
