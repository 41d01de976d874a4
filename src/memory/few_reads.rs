//! Reads from MySQL on behalf of requests, a few at a time.
//!
//! A crowd that misses a cache cannot take the whole pool of connections. The queue and the wait are bounded, so a slow
//! MySQL costs a request little time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::base::Outage;
use crate::mysql::DbError;

pub struct FewReads {
    turns: Semaphore,
    /// Places of callers that wait for a turn or read.
    places: Semaphore,
    wait: Duration,
    outage: Outage,
    done: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// Bounds of reads of one kind.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Reads at the same time.
    pub turns: usize,
    /// Callers that wait for a turn or read. Further callers are refused at once.
    pub places: usize,
    /// Timeout for turn and query together.
    pub wait: Duration,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("too many callers wait for MySQL")]
    Full,
    #[error("MySQL did not answer in time")]
    TimedOut,
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Reads so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCounts {
    pub done: u64,
    /// Reads that ended with an error or with the timeout.
    pub failed: u64,
    /// Callers that found no place.
    pub refused: u64,
}

impl FewReads {
    /// `operation` begins the log lines about an outage, for example `"activities: reading"`.
    pub const fn new(operation: &'static str, limits: ReadLimits) -> Self {
        Self {
            turns: Semaphore::const_new(limits.turns),
            places: Semaphore::const_new(limits.places),
            wait: limits.wait,
            outage: Outage::new(operation),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Waits for a turn, then runs `query`.
    ///
    /// # Errors
    /// [`ReadError`]. A failure is logged once per outage.
    pub async fn read<T>(&self, query: impl Future<Output = Result<T, DbError>>) -> Result<T, ReadError> {
        let Ok(_place) = self.places.try_acquire() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ReadError::Full);
        };
        let in_turn = async {
            let _turn = self.turns.acquire().await.expect("this semaphore is never closed");
            query.await.map_err(ReadError::Db)
        };
        let result = tokio::time::timeout(self.wait, in_turn).await.unwrap_or(Err(ReadError::TimedOut));
        match &result {
            Ok(_) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                self.outage.end();
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.outage.begin(error);
            }
        }
        result
    }

    pub fn counts(&self) -> ReadCounts {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReadCounts { done: value(&self.done), failed: value(&self.failed), refused: value(&self.refused) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn turns_places_and_the_wait_are_bounded() {
        let limits = ReadLimits { turns: 1, places: 2, wait: Duration::from_millis(50) };
        let reads = FewReads::new("test: reading", limits);
        assert_eq!(reads.read(async { Ok(7) }).await.expect("a turn is free"), 7);
        let (hangs, waits, refused) = tokio::join!(
            reads.read(pending::<Result<(), _>>()),
            reads.read(async { Ok(()) }),
            reads.read(async { Ok(()) })
        );
        assert!(matches!(hangs, Err(ReadError::TimedOut)), "{hangs:?}");
        assert!(matches!(waits, Err(ReadError::TimedOut)), "the only turn was taken: {waits:?}");
        assert!(matches!(refused, Err(ReadError::Full)), "{refused:?}");
        assert_eq!(reads.counts(), ReadCounts { done: 1, failed: 2, refused: 1 });
        assert!(reads.read(async { Ok(()) }).await.is_ok(), "turns and places come back");
    }
}
