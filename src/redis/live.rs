//! The value of the key `live`: the Redis process that holds a loading of the shard.

use std::sync::Arc;

use crate::domain::Epoch;

/// A loaded shard: the Redis process that holds it and the epoch it was loaded in.
///
/// Every claim names a loading, and `lua/claim.lua` compares. A restarted, emptied or older Redis holds another loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub run_id: String,
    pub epoch: Epoch,
    text: Arc<str>,
}

impl Live {
    pub fn new(run_id: &str, epoch: Epoch) -> Self {
        Self { run_id: run_id.to_owned(), epoch, text: format!("{run_id}:{epoch}").into() }
    }

    /// `run_id:epoch`, as the key holds it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `run_id:epoch`, shared with attempts on the way to Redis.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}
