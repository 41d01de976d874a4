//! Figures that are counted while the service runs, cheaply enough for every claim: atomic additions, no lock, nothing
//! allocated.
//!
//! Who counts owns his figures; `api` shows them. Deliberately knows nothing of how they are written down.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Upper edges in microseconds, from a call in memory to one that was given up. 75 and 150 ms are what an attempt's answer
/// is late after, and what it waits for.
const TIMES_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 75_000, 150_000, 1_000_000, 10_000_000];
/// Upper edges of how many there are in a batch.
const SIZES: [u64; 9] = [1, 10, 50, 100, 250, 500, 1_000, 2_000, 4_000];

/// Threads that count apart; there are rarely more workers. Others share a copy with somebody, which costs time alone.
const COPIES: usize = 8;

/// Counters of which each thread has a copy of its own: between two cores that count in the same one its memory goes to and
/// fro, and takes a quarter of a microsecond each time where they are far from each other.
pub struct Apart<T>([Padded<T>; COPIES]);

/// Alone on a line of memory and on the one that is fetched with it.
#[repr(align(128))]
struct Padded<T>(T);

impl<T> Apart<T> {
    /// Copies of what `make` makes.
    pub fn new(make: impl Fn() -> T) -> Self {
        Self(std::array::from_fn(|_| Padded(make())))
    }

    /// The copy that this thread counts in.
    pub fn mine(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! { static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % COPIES; }
        &self.0[PLACE.with(|place| *place)].0
    }

    /// The sum over all copies of one of their counters.
    pub fn sum(&self, counter: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.0.iter().map(|copy| counter(&copy.0).load(Ordering::Relaxed)).sum()
    }
}

/// How often something came out how large.
pub struct Histogram {
    edges: &'static [u64],
    copies: Apart<Sizes>,
    /// How many of what is counted make one of what is shown.
    per_unit: f64,
}

#[derive(Default)]
struct Sizes {
    /// One more than edges: the last that is used is for what lies above all of them.
    counts: [AtomicU64; TIMES_US.len() + 1],
    sum: AtomicU64,
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
        Self { edges, copies: Apart::new(Sizes::default), per_unit }
    }

    /// Counts something of that size.
    pub fn note(&self, size: u64) {
        let place = self.edges.iter().position(|edge| size <= *edge).unwrap_or(self.edges.len());
        let mine = self.copies.mine();
        mine.counts[place].fetch_add(1, Ordering::Relaxed);
        mine.sum.fetch_add(size, Ordering::Relaxed);
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
