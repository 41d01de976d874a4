//! What lists answer while they are switched off: at most a second old, read from Redis once for all who ask.
//!
//! Deliberately knows nothing of who may see what: a list is asked for only on behalf of somebody who may.

use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;

use super::error::ApiError;
use crate::domain::{Page, UserId};

/// What an entry costs beside its body.
const ENTRY_BYTES: usize = 128;

/// Bodies of answers, by whose list it is and which page.
pub struct ListCache {
    bodies: Cache<(UserId, Page), Bytes>,
}

impl ListCache {
    /// Remembers up to `bytes_max` of bodies, each for `age`.
    pub fn new(bytes_max: u64, age: Duration) -> Self {
        let weight = |_: &(UserId, Page), body: &Bytes| u32::try_from(body.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        Self { bodies: Cache::builder().max_capacity(bytes_max).weigher(weight).time_to_live(age).build() }
    }

    /// What is remembered, about.
    pub fn bytes(&self) -> u64 {
        self.bodies.weighted_size()
    }

    /// The list as it was a moment ago, or as `read` finds it. Many who ask at once wait for one of them to read.
    ///
    /// # Errors
    /// As `read`; those who waited for another's are told that nothing has happened.
    pub async fn get(
        &self,
        owner: UserId,
        page: Page,
        read: impl Future<Output = Result<Bytes, ApiError>>,
    ) -> Result<Bytes, ApiError> {
        // Boxed, so that a list that is read has no room for it. Why it failed has been logged where it did.
        Box::pin(self.bodies.try_get_with((owner, page), read)).await.map_err(|_| ApiError::unavailable())
    }
}
