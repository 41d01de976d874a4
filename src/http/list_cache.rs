//! Caches lists while lists are switched off. A list is at most a second old, and read once for all callers.
//!
//! Access rules are unknown to the cache. The caller checks them first.

use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;

use super::error::ApiError;
use crate::domain::{Page, UserId};

/// Memory cost of an entry in addition to its body.
const ENTRY_BYTES: usize = 128;

pub struct ListCache {
    bodies: Cache<(UserId, Page), Bytes>,
}

impl ListCache {
    /// Caches up to `bytes_max` bytes of bodies, each for `age`.
    pub fn new(bytes_max: u64, age: Duration) -> Self {
        let weight = |_: &(UserId, Page), body: &Bytes| u32::try_from(body.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        Self { bodies: Cache::builder().max_capacity(bytes_max).weigher(weight).time_to_live(age).build() }
    }

    /// Approximate size of the cache in bytes.
    pub fn bytes(&self) -> u64 {
        self.bodies.weighted_size()
    }

    /// Returns the cached list, or reads it with `read`. Simultaneous callers wait for a single read.
    ///
    /// # Errors
    /// The error of `read`. Callers that waited for another caller's read get `unavailable`.
    pub async fn get(
        &self,
        owner: UserId,
        page: Page,
        read: impl Future<Output = Result<Bytes, ApiError>>,
    ) -> Result<Bytes, ApiError> {
        // Boxed, to keep the caller's future small. The error was logged where it occurred.
        Box::pin(self.bodies.try_get_with((owner, page), read)).await.map_err(|_| ApiError::unavailable())
    }
}
