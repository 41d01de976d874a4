//! Logs an outage of a dependency twice, however often the operation fails in between.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Logs a warning or an error when an operation begins to fail, and a line when the operation succeeds again.
pub struct Outage {
    operation: &'static str,
    level: log::Level,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// `operation` is the beginning of both log lines, for example `"settings: reading"`.
    pub const fn new(operation: &'static str) -> Self {
        Self { operation, level: log::Level::Warn, since: Mutex::new(None) }
    }

    /// The same for an operation whose outage is logged as an error.
    pub const fn alarming(operation: &'static str) -> Self {
        Self { operation, level: log::Level::Error, since: Mutex::new(None) }
    }

    /// Notes a result of the operation. Returns the value, or `None` after an error.
    pub fn note<T, E: Error>(&self, result: Result<T, E>) -> Option<T> {
        result.inspect(|_| self.end()).inspect_err(|error| self.begin(error)).ok()
    }

    /// Notes a failure. Only the first failure of an outage is logged.
    pub fn begin(&self, error: &dyn Error) {
        if self.since().is_none() {
            log::log!(self.level, "{} failed, retrying: {}", self.operation, crate::base::error_chain(error));
            *self.since() = Some(Instant::now());
        }
    }

    /// Notes a success. A success that ends an outage is logged.
    pub fn end(&self) {
        if let Some(since) = self.since().take() {
            log::info!("{} works again after {:.1} s", self.operation, since.elapsed().as_secs_f64());
        }
    }

    /// Whether the last call of the operation failed.
    pub fn is_on(&self) -> bool {
        self.since().is_some()
    }

    /// Ignores poisoning, because the value behind the lock is always complete.
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_success() {
        let outage = Outage::new("test: reading");
        assert_eq!(outage.note(Ok::<_, io::Error>(7)), Some(7));
        assert!(!outage.is_on());
        for _ in 0..2 {
            assert_eq!(outage.note(Err::<(), _>(io::Error::other("away"))), None);
            assert!(outage.is_on());
        }
        outage.end();
        assert!(!outage.is_on());
    }
}
