//! The right to use the shard in Redis, and what rounds remember of it.

use std::time::Instant;

use super::watch::Watch;

/// Whether this process may use the shard in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Right {
    Granted,
    /// Not known yet. Nothing may be opened, swept or rebuilt.
    Pending,
    /// Redis is used by another installation or database. The sentence is for people.
    Foreign(String),
}

/// What the rounds remember.
#[derive(Debug, Default)]
pub(super) struct OwnerState {
    pub(super) watch: WatchState,
    /// The address at which this process has found Redis loaded. Instances may reach one Redis at different addresses.
    pub(super) used_at: String,
    /// Since when the prefix was empty, and the `run_id` of the Redis process.
    pub(super) empty_since: Option<(String, Instant)>,
}

/// The watch before the first use of the shard.
#[derive(Debug, Default)]
pub(super) enum WatchState {
    #[default]
    NotBegun,
    Watching(Watch),
    Passed,
}
