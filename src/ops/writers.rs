//! The MySQL servers through which instances write.
//!
//! In a cluster of MySQL every node takes writes. Instances that use several nodes at once lose nothing. But transactions
//! of several nodes change the same rows, so many transactions fail.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long several writers are normal. Instances find a new writer one after the other.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The time of the first reading with several servers in a row.
    since: Option<Instant>,
    warning: Option<String>,
}

impl Writers {
    /// Notes the servers of one reading.
    pub(super) fn note(&self, servers: &[String], now: Instant) {
        let mut seen = self.seen();
        if servers.len() < 2 {
            *seen = Seen::default();
            return;
        }
        let since = *seen.since.get_or_insert(now);
        if seen.warning.is_none() && now.saturating_duration_since(since) >= PATIENCE {
            let warning = format!(
                "Instances write through several MySQL servers at once ({}). Let the proxy choose one writer, or their \
                 transactions fail",
                servers.join(", ")
            );
            log::warn!("UNSAFE: {warning}");
            seen.warning = Some(warning);
        }
    }

    /// A sentence for operators, or `None` with a single writer.
    pub(super) fn warning(&self) -> Option<String> {
        self.seen().warning.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_writers_are_unsafe_after_a_while() {
        let (writers, began) = (Writers::default(), Instant::now());
        let [a, b] = ["a", "b"].map(str::to_owned);
        let note = |servers: &[String], second| {
            writers.note(servers, began + Duration::from_secs(second));
            writers.warning().is_some()
        };
        let (one, both) = ([a.clone()], [a, b]);
        assert!(!note(&one, 0) && !note(&both, 1) && !note(&both, 10), "a failover");
        assert!(!note(&one, 11) && !note(&both, 12) && !note(&both, 21), "the time begins again");
        assert!(note(&both, 22) && note(&both, 23));
        assert!(!note(&one, 24));
        assert!(!note(&[], 25));
    }
}
