//! The clock of Redis, which dates claims and decides windows and deadlines. A fault may set it.

use super::SLACK_MS;

/// Until instances know that the clock of Redis has stepped: a second, and the time of an answer.
const KNOWN_MS: u64 = 1_300;

/// The times between which the clock may have been ahead of the machine's clock by some ms.
struct Ahead {
    by_ms: i64,
    from_ms: u64,
    until_ms: u64,
}

pub struct RedisClock {
    /// By begin. Two neighbours overlap while the clock steps. The last has no end.
    all: Vec<Ahead>,
}

impl Default for RedisClock {
    fn default() -> Self {
        Self { all: vec![Ahead { by_ms: 0, from_ms: 0, until_ms: u64::MAX }] }
    }
}

impl RedisClock {
    pub fn begin_step(&mut self, ahead_ms: i64, now_ms: u64) {
        if self.all.last().is_some_and(|last| last.by_ms != ahead_ms) {
            self.all.push(Ahead { by_ms: ahead_ms, from_ms: now_ms, until_ms: u64::MAX });
        }
    }

    pub fn end_step(&mut self, now_ms: u64) {
        let steps = self.all.len() - 1;
        for earlier in self.all[..steps].iter_mut().filter(|earlier| earlier.until_ms == u64::MAX) {
            earlier.until_ms = now_ms;
        }
    }

    /// When the clock may have shown a time, by the machine's clock, ascending. Empty if never.
    pub fn moments(&self, shown_ms: u64) -> Vec<u64> {
        let moment = |ahead: &Ahead| {
            let at = shown_ms.checked_add_signed(-ahead.by_ms)?;
            (ahead.from_ms <= at + SLACK_MS && at <= ahead.until_ms.saturating_add(SLACK_MS)).then_some(at)
        };
        let mut moments: Vec<u64> = self.all.iter().filter_map(moment).collect();
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// By how many ms the clock may be ahead between two moments, as far as an instance knows.
    pub fn known_between(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = i64> + '_ {
        let possible = move |ahead: &&Ahead| {
            ahead.from_ms <= to_ms + SLACK_MS && from_ms <= ahead.until_ms.saturating_add(KNOWN_MS)
        };
        self.all.iter().filter(possible).map(|ahead| ahead.by_ms)
    }

    /// By how many ms the clock was set back between two moments, or shortly before, unknown to instances.
    pub fn set_back_between(&self, from_ms: u64, to_ms: u64) -> u64 {
        let steps = self.all.windows(2).filter_map(|pair| {
            let [before, after] = pair else { return None };
            let meanwhile = after.from_ms <= to_ms && from_ms <= before.until_ms.saturating_add(KNOWN_MS);
            meanwhile.then(|| u64::try_from(before.by_ms - after.by_ms).unwrap_or(0))
        });
        steps.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_the_clock_shows_twice_has_two_moments() {
        let mut clock = RedisClock::default();
        assert_eq!(clock.moments(100_000), [100_000]);
        clock.begin_step(10_000, 100_000);
        clock.end_step(100_010);
        clock.begin_step(0, 105_000);
        clock.end_step(105_010);
        assert_eq!(clock.moments(99_000), [99_000]);
        assert_eq!(clock.moments(112_000), [102_000, 112_000]);
        assert_eq!(clock.moments(117_000), [117_000]);
        assert_eq!(clock.moments(102_000), [0; 0], "never shown");
        let known = |from, to| clock.known_between(from, to).collect::<Vec<_>>();
        assert_eq!((known(100_500, 100_600), known(102_000, 102_100)), (vec![0, 10_000], vec![10_000]));
        assert_eq!(known(104_900, 105_100), [10_000, 0]);
        assert_eq!(clock.set_back_between(103_000, 104_000), 0);
        assert_eq!(clock.set_back_between(104_500, 105_500), 10_000);
        assert_eq!(clock.set_back_between(106_000, 107_000), 10_000, "the step is not known yet");
        assert_eq!(clock.set_back_between(107_000, 108_000), 0);
    }
}
