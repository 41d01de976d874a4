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
/// After it has shrunk it stays for as long as it takes until answers can show that.
const SHRINKS_EVERY: Duration = Duration::from_millis(100);
/// Below this it doubles with each round of answers, above it grows by a sixteenth.
const SLOW_ABOVE: usize = 64;

/// A limit that adapts, between 1 and a maximum.
pub struct Capacity {
    max: usize,
    limit: AtomicUsize,
    /// Answers in time since it has grown.
    in_time: AtomicUsize,
    origin: Instant,
    /// Microseconds from `origin`.
    shrunk_at: AtomicU64,
}

impl Capacity {
    /// Begins at `max`, which is never passed.
    pub fn new(max: usize) -> Self {
        let (limit, in_time, shrunk_at) = (AtomicUsize::new(max), AtomicUsize::new(0), AtomicU64::new(0));
        Self { max, limit, in_time, origin: Instant::now(), shrunk_at }
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
        if waited > LATE { self.shrink(now_us, in_flight) } else { self.grow() }
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

    fn shrink(&self, now_us: u64, in_flight: usize) {
        let shrunk_at = self.shrunk_at.load(Ordering::Relaxed);
        let pause = u64::try_from(SHRINKS_EVERY.as_micros()).expect("it is short");
        let is_mine = now_us >= shrunk_at.saturating_add(pause)
            && self.shrunk_at.compare_exchange(shrunk_at, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            // From what really waits: a limit that nobody has reached says nothing.
            let from = self.limit().min(in_flight.max(1));
            self.limit.store((from * 3 / 4).max(1), Ordering::Relaxed);
            self.in_time.store(0, Ordering::Relaxed);
        }
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
    fn what_can_be_answered_is_let_in() {
        let capacity = Capacity::new(20_000);
        let (good, _) = offered(&capacity, |_| 50, 50, 4);
        assert_eq!((good, capacity.limit()), (100_000, 20_000));
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
