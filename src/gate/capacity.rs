//! How many attempts may wait for Redis at once: as many as it answers in good time.
//!
//! Whatever waits longer than its deadline has cost Redis its work and its user an unknown outcome, so under overload the
//! useful answers would fall to none. The limit follows what is measured, as TCP's window does: it grows while answers
//! come in time and shrinks when one is late. Where nothing is answered at all it shrinks to one attempt, which is the
//! probe that opens it again: a breaker with nothing added.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// An answer that took longer is late: half of what an attempt waits for.
const LATE: Duration = Duration::from_millis(75);
/// How long answers are counted before the limit may shrink: as long as it takes until they can show the last change.
const COUNTED_FOR: Duration = Duration::from_millis(100);
/// It shrinks where one answer in so many is late, or more. A worker that was not run for a moment makes a few late; a
/// server that is asked too much makes nearly all.
const ONE_IN: usize = 4;
/// Below this it doubles with each round of answers, above it grows by a sixteenth.
const SLOW_ABOVE: usize = 64;

/// A limit that adapts, between 1 and a maximum.
pub struct Capacity {
    max: usize,
    limit: AtomicUsize,
    /// Answers in time since it has grown.
    in_time: AtomicUsize,
    /// All answers and the late ones among them, since `counted_from`, in microseconds from `origin`.
    answers: AtomicUsize,
    late: AtomicUsize,
    counted_from: AtomicU64,
    origin: Instant,
}

impl Capacity {
    /// Begins at `max`, which is never passed.
    pub fn new(max: usize) -> Self {
        let count = || AtomicUsize::new(0);
        let (limit, counted_from, origin) = (AtomicUsize::new(max), AtomicU64::new(0), Instant::now());
        Self { max, limit, in_time: count(), answers: count(), late: count(), counted_from, origin }
    }

    /// How many may wait at once now.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Notes an answer, or its absence, after `waited`, while `in_flight` attempts wait.
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
        let until = counted_from.saturating_add(u64::try_from(COUNTED_FOR.as_micros()).expect("it is short"));
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
            // Lost where somebody else has changed it meanwhile: the next answer comes soon.
            let grown = (limit + step).min(self.max);
            let _ = self.limit.compare_exchange(limit, grown, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn shrink(&self, in_flight: usize) {
        // From what really waits: a limit that nobody has reached says nothing.
        let from = self.limit().min(in_flight.max(1));
        self.limit.store((from * 3 / 4).max(1), Ordering::Relaxed);
        self.in_time.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Attempts in steps of 1 ms against a server that answers `per_ms` of them in turn, `seconds` long; gives back how many
    /// were answered within 150 ms in the last half of it, and the longest wait among these.
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
            // The callers' deadline: they go away, their commands stay with the server.
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
