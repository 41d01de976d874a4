//! The value of the key `live`: the Redis process that holds a loading of the shard.

use std::sync::Arc;

use crate::domain::Epoch;

/// The Redis process that was loaded, and the epoch of the loading.
/// Every claim names both, and `lua/claim.lua` compares the key `live`. A restarted, emptied or older Redis has a
/// different value.
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

    /// The epoch in a value of the key, 0 for a value without an epoch.
    pub fn epoch_of(value: &str) -> u32 {
        value.rsplit_once(':').and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(0)
    }

    /// `run_id:epoch`, the value of the key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `run_id:epoch`, shared with attempts in flight.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}
