//! Counters and histograms, cheap enough for every claim: atomic additions, no lock, no allocation.
//!
//! Each module owns its metrics, and `http` publishes them. The output format is not known to this module.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Bucket bounds of durations in microseconds, from a call in memory to an abandoned call. 75 ms is the target latency
/// of an attempt, and 150 ms the timeout.
const TIMES_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 75_000, 150_000, 1_000_000, 10_000_000];
/// Bucket bounds of batch sizes.
const SIZES: [u64; 9] = [1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000];

/// Copies of a counter. Workers rarely outnumber the copies. More threads share a copy, at a cost in time only.
const COPIES: usize = 8;

/// Counters with a copy for each thread. Two cores pass a cache line back and forth if both update a shared counter.
/// Between distant cores every pass takes a quarter of a microsecond.
pub struct Apart<T>([Padded<T>; COPIES]);

/// Occupies a separate cache line, and the adjacent line prefetched by the CPU.
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Apart<T> {
    pub fn new(make: impl Fn() -> T) -> Self {
        Self(std::array::from_fn(|_| Padded(make())))
    }

    /// The copy of the current thread.
    pub fn mine(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! { static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % COPIES; }
        &self.0[PLACE.with(|place| *place)].0
    }

    pub fn sum(&self, counter: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.0.iter().map(|copy| counter(&copy.0).load(Ordering::Relaxed)).sum()
    }
}

pub struct Histogram {
    edges: &'static [u64],
    copies: Apart<Sizes>,
    /// Counted units in a published unit, for example microseconds in a second.
    per_unit: f64,
}

#[derive(Default)]
struct Sizes {
    /// A count for every bucket, and a last count for values above all bounds.
    counts: [AtomicU64; TIMES_US.len() + 1],
    sum: AtomicU64,
}

/// A snapshot of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Bucket bounds with the number of values up to the bound.
    pub up_to: Vec<(f64, u64)>,
    pub count: u64,
    pub sum: f64,
}

impl Histogram {
    /// A histogram of durations, published in seconds.
    pub fn of_times() -> Self {
        Self::new(&TIMES_US, 1_000_000.0)
    }

    pub fn of_sizes() -> Self {
        Self::new(&SIZES, 1.0)
    }

    fn new(edges: &'static [u64], per_unit: f64) -> Self {
        Self { edges, copies: Apart::new(Sizes::default), per_unit }
    }

    pub fn note(&self, size: u64) {
        let place = self.edges.iter().position(|edge| size <= *edge).unwrap_or(self.edges.len());
        let mine = self.copies.mine();
        mine.counts[place].fetch_add(1, Ordering::Relaxed);
        mine.sum.fetch_add(size, Ordering::Relaxed);
    }

    pub fn note_time(&self, took: Duration) {
        self.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// The current values. A value added at the same time may be missing from the sum or from the count.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a published figure")]
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(self.edges.len());
        for place in 0..=self.edges.len() {
            count += self.copies.sum(|copy| &copy.counts[place]);
            if let Some(edge) = self.edges.get(place) {
                up_to.push((*edge as f64 / self.per_unit, count));
            }
        }
        Distribution { up_to, count, sum: self.copies.sum(|copy| &copy.sum) as f64 / self.per_unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_apart_is_one_sum() {
        let counter = Apart::new(AtomicU64::default);
        std::thread::scope(|threads| {
            for _ in 0..2 * COPIES {
                threads.spawn(|| counter.mine().fetch_add(3, Ordering::Relaxed));
            }
        });
        assert_eq!(counter.sum(|count| count), 6 * COPIES as u64);
        let used = counter.0.iter().filter(|copy| copy.0.load(Ordering::Relaxed) > 0).count();
        assert!(used > 1, "all threads have counted in one copy");
    }

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
