//! Figures that are counted while the service runs, cheaply enough for every claim: atomic additions, no lock, nothing
//! allocated.
//!
//! Who counts owns his figures; `api` shows them. Deliberately knows nothing of how they are written down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges in microseconds, from a call in memory to one that was given up. 75 and 150 ms are what an attempt's answer
/// is late after, and what it waits for.
const TIMES_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 75_000, 150_000, 1_000_000, 10_000_000];
/// Upper edges of how many there are in a batch.
const SIZES: [u64; 9] = [1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000];

/// How often something came out how large.
pub struct Histogram {
    edges: &'static [u64],
    /// One more than edges: the last is for what lies above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How many of what is counted make one of what is shown.
    per_unit: f64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper edges, and how many were not above each.
    pub up_to: Vec<(f64, u64)>,
    pub count: u64,
    pub sum: f64,
}

impl Histogram {
    /// Of times, shown in seconds.
    pub fn of_times() -> Self {
        Self::new(&TIMES_US, 1_000_000.0)
    }

    /// Of sizes of batches.
    pub fn of_sizes() -> Self {
        Self::new(&SIZES, 1.0)
    }

    fn new(edges: &'static [u64], per_unit: f64) -> Self {
        let counts = (0..=edges.len()).map(|_| AtomicU64::new(0)).collect();
        Self { edges, counts, sum: AtomicU64::new(0), per_unit }
    }

    /// Counts something of that size.
    pub fn note(&self, size: u64) {
        let place = self.edges.iter().position(|edge| size <= *edge).unwrap_or(self.edges.len());
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// Counts something that took so long.
    pub fn note_time(&self, took: Duration) {
        self.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it holds now. While others count, one of them may be in the sum and not yet in the count, or the other way
    /// round.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits of it are enough")]
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(self.edges.len());
        for (place, counted) in self.counts.iter().enumerate() {
            count += counted.load(Ordering::Relaxed);
            if let Some(edge) = self.edges.get(place) {
                up_to.push((*edge as f64 / self.per_unit, count));
            }
        }
        Distribution { up_to, count, sum: self.sum.load(Ordering::Relaxed) as f64 / self.per_unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_up_to_the_first_edge_that_it_does_not_pass_and_to_all_after() {
        let times = Histogram::of_times();
        for micros in [0, 100, 101, 75_000, 75_001, 20_000_000] {
            times.note_time(Duration::from_micros(micros));
        }
        let Distribution { up_to, count, sum } = times.distribution();
        let counts: Vec<u64> = up_to.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5]);
        assert_eq!((up_to[0].0, up_to[8].0, count, sum), (0.0001, 0.075, 6, 20.150_202));
    }
}
