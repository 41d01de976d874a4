//! An outage of a dependency is logged twice, however often the operation fails meanwhile.

use std::error::Error;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

/// Logs a warning when an operation begins to fail, and one line when it works again.
///
/// Failures in between are not logged, so that a dependency that is away for an hour costs two lines.
pub struct Outage {
    operation: &'static str,
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// `operation` begins both log lines, for example `"settings: reading"`.
    pub const fn new(operation: &'static str) -> Self {
        Self { operation, since: Mutex::new(None) }
    }

    /// Notes one result of the operation and returns its value, or `None` after an error.
    pub fn note<T, E: Error>(&self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.end();
                Some(value)
            }
            Err(error) => {
                self.begin(&error);
                None
            }
        }
    }

    /// Notes a failure. Only the first one of an outage is logged.
    pub fn begin(&self, error: &dyn Error) {
        if self.since().is_none() {
            log::warn!("{} fails, and is repeated: {}", self.operation, crate::base::error_chain(error));
            *self.since() = Some(Instant::now());
        }
    }

    /// Notes a success. It is logged if it ends an outage.
    pub fn end(&self) {
        if let Some(since) = self.since().take() {
            log::info!("{} works again, after {:.1} s", self.operation, since.elapsed().as_secs_f64());
        }
    }

    /// Whether the operation failed the last time.
    pub fn is_on(&self) -> bool {
        self.since().is_some()
    }

    /// A poisoned lock is used all the same: the value behind it is always complete.
    fn since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
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
