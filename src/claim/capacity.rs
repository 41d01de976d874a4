//! Adaptive concurrency limit: how many attempts may wait for Redis at once.
//!
//! An attempt past its deadline has cost Redis work and leaves the user with an unknown outcome. Under overload, useful
//! answers would fall to zero. The limit follows measured latency as TCP's congestion window does: answers in time
//! raise it, late answers lower it. When Redis answers no attempt at all, the limit falls to 1. The remaining attempt
//! is the probe that raises the limit again, as in a circuit breaker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Latency above which an answer is late. Half of the time an attempt may wait for Redis.
const LATE: Duration = Duration::from_millis(75);
/// How long answers are counted before the limit may shrink. Answers then show the effect of the last change.
const COUNTED_FOR: Duration = Duration::from_millis(100);
/// The limit shrinks if at least 1 of `ONE_IN` answers is late. A worker that loses the processor for a moment makes a
/// few answers late. An overloaded server makes nearly all late.
const ONE_IN: usize = 4;
/// Below this value the limit doubles with every round of answers. Above, a round adds a sixteenth.
const SLOW_ABOVE: usize = 64;

/// A concurrency limit between 1 and a maximum.
pub struct Capacity {
    max: usize,
    limit: AtomicUsize,
    /// Answers in time since the limit last grew.
    in_time: AtomicUsize,
    /// All answers since `counted_from`, and the late ones. `counted_from` is in microseconds after `origin`.
    answers: AtomicUsize,
    late: AtomicUsize,
    counted_from: AtomicU64,
    origin: Instant,
}

impl Capacity {
    /// Starts at `max`, the upper bound of the limit.
    pub fn new(max: usize) -> Self {
        let count = || AtomicUsize::new(0);
        let (limit, counted_from, origin) = (AtomicUsize::new(max), AtomicU64::new(0), Instant::now());
        Self { max, limit, in_time: count(), answers: count(), late: count(), counted_from, origin }
    }

    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Records an answer, or a timeout, after `waited`, while `in_flight` attempts were waiting.
    pub fn note(&self, waited: Duration, in_flight: usize) {
        let now = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.note_at(now, waited, in_flight);
    }

    fn note_at(&self, now_us: u64, waited: Duration, in_flight: usize) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if waited > LATE {
            self.late.fetch_add(1, Ordering::Relaxed);
        } else {
            self.grow();
        }
        let counted_from = self.counted_from.load(Ordering::Relaxed);
        let until = counted_from.saturating_add(u64::try_from(COUNTED_FOR.as_micros()).expect("100 ms fit"));
        let is_mine = now_us >= until
            && self.counted_from.compare_exchange(counted_from, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            let (answers, late) = (self.answers.swap(0, Ordering::Relaxed), self.late.swap(0, Ordering::Relaxed));
            if late * ONE_IN >= answers.max(1) {
                self.shrink(in_flight);
            }
        }
    }

    fn grow(&self) {
        let limit = self.limit();
        if limit >= self.max {
            return;
        }
        let (round, step) = if limit < SLOW_ABOVE { (1, 1) } else { (limit, limit / 16) };
        if self.in_time.fetch_add(1, Ordering::Relaxed) + 1 >= round {
            self.in_time.store(0, Ordering::Relaxed);
            // Fails if another thread changed the limit meanwhile. The next answer tries again.
            let grown = (limit + step).min(self.max);
            let _ = self.limit.compare_exchange(limit, grown, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn shrink(&self, in_flight: usize) {
        // Based on the attempts actually waiting, because a limit above that number was not tested.
        let from = self.limit().min(in_flight.max(1));
        self.limit.store((from * 3 / 4).max(1), Ordering::Relaxed);
        self.in_time.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Offers attempts in steps of 1 ms for `seconds` to a server that answers `per_ms` attempts each millisecond, in
    /// order. Returns the number answered within 150 ms in the second half of the run, and their longest wait.
    fn offered(
        capacity: &Capacity,
        per_ms: impl Fn(u64) -> usize,
        attempts_per_ms: usize,
        seconds: u64,
    ) -> (usize, u64) {
        let (mut queue, mut waiting) = (VecDeque::new(), 0);
        let (mut good, mut longest) = (0, 0);
        for now_ms in 1_000..1_000 + seconds * 1_000 {
            for _ in 0..attempts_per_ms {
                if waiting < capacity.limit() {
                    queue.push_back((now_ms, false));
                    waiting += 1;
                }
            }
            // The callers' deadline: callers leave, but their commands stay in the server's queue.
            for (sent_ms, gone) in &mut queue {
                if !*gone && now_ms - *sent_ms >= 150 {
                    *gone = true;
                    capacity.note_at(now_ms * 1_000, Duration::from_millis(150), waiting);
                    waiting -= 1;
                }
            }
            for _ in 0..per_ms(now_ms) {
                let Some((sent_ms, gone)) = queue.pop_front() else { break };
                if !gone {
                    let waited = now_ms - sent_ms;
                    capacity.note_at(now_ms * 1_000, Duration::from_millis(waited), waiting);
                    waiting -= 1;
                    if now_ms >= 1_000 + seconds * 500 {
                        good += 1;
                        longest = longest.max(waited);
                    }
                }
            }
        }
        (good, longest)
    }

    #[test]
    fn ten_times_more_than_can_be_answered_costs_less_than_a_fifth_of_the_answers() {
        let capacity = Capacity::new(20_000);
        let (good, longest) = offered(&capacity, |_| 1, 10, 10);
        assert!(good >= 4_000, "{good} of 5,000");
        assert!(longest < 150, "{longest} ms");
    }

    #[test]
    fn a_server_that_stops_now_and_then_for_a_moment_loses_little() {
        let capacity = Capacity::new(20_000);
        let hiccup = |now_ms: u64| if now_ms % 1_000 < 120 { 0 } else { 60 };
        let (good, _) = offered(&capacity, hiccup, 20, 4);
        assert!(good >= 36_000, "{good} of 40,000");
    }

    #[test]
    fn what_can_be_answered_is_let_in() {
        let capacity = Capacity::new(20_000);
        let (good, _) = offered(&capacity, |_| 50, 50, 4);
        assert_eq!((good, capacity.limit()), (100_000, 20_000));
    }

    #[test]
    fn a_few_late_answers_are_forgiven_and_a_quarter_of_them_is_not() {
        for (late, limit) in [(24, 1_000), (25, 750)] {
            let capacity = Capacity::new(1_000);
            for answer in 0..100 {
                let waited = if answer < late { LATE * 2 } else { LATE };
                let now_us = if answer < 99 { 1 } else { u64::try_from(COUNTED_FOR.as_micros()).expect("it is short") };
                capacity.note_at(now_us, waited, 1_000);
            }
            assert_eq!(capacity.limit(), limit, "{late} of 100 were late");
        }
    }

    #[test]
    fn a_server_that_is_frozen_is_probed_by_one_at_a_time_and_open_again_soon_after() {
        let capacity = Capacity::new(20_000);
        offered(&capacity, |_| 0, 10, 5);
        assert_eq!(capacity.limit(), 1);
        let (good, _) = offered(&capacity, |_| 50, 10, 2);
        assert!(good >= 9_000, "{good} of 10,000");
    }
}
