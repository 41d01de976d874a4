//! The value of the key `live`: the Redis process that holds a loading of the shard.

use std::sync::Arc;

use crate::domain::Epoch;

/// A loaded shard: the Redis process that holds it and the epoch it was loaded in.
///
/// Every claim is made under one, and `lua/claim.lua` compares it. A restarted, emptied or older Redis holds another.
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

    /// The same text, shared: an attempt on its way to Redis carries it.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}
