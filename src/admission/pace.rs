//! Rate limits: buckets refilled at a steady rate, and counts of the last minute.
//!
//! A bucket is a single number, the time at which it will be full again (generic cell rate algorithm). A rate of n per
//! window allows a burst of n, then one more every n-th part of the window. A full bucket equals no bucket, so a few
//! thousand users are kept in memory instead of a million.
//!
//! Times come from the system clock. If the clock is set back by more than the window of a bucket, the bucket is full. After a
//! smaller step nobody waits longer than a full refill takes.

use super::keyed::Passing;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const MINUTE_MS: u64 = 60_000;

/// Attempts allowed per second and per minute. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub per_second: u32,
    pub per_minute: u32,
}

impl Rates {
    pub(super) fn times(self, times: u32) -> Self {
        Self { per_second: self.per_second.saturating_mul(times), per_minute: self.per_minute.saturating_mul(times) }
    }

    pub(super) fn are_unlimited(self) -> bool {
        self.per_second == 0 && self.per_minute == 0
    }
}

/// Times at which the buckets of a user or an address are full, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    second_full_at: u64,
    minute_full_at: u64,
}

/// A count over the minute that starts with its first event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    since_ms: u64,
    count: u32,
}

impl Pace {
    /// Takes a unit out of both buckets. If either is empty, takes none.
    ///
    /// # Errors
    /// Milliseconds until a unit is available in both.
    pub(super) fn take(&mut self, rates: Rates, now_ms: u64) -> Result<(), u64> {
        let now = now_ms.saturating_mul(1_000);
        let second = full_after_one(&mut self.second_full_at, rates.per_second, SECOND_US, now);
        let minute = full_after_one(&mut self.minute_full_at, rates.per_minute, MINUTE_US, now);
        match (second, minute) {
            (Ok(second), Ok(minute)) => {
                (self.second_full_at, self.minute_full_at) = (second, minute);
                Ok(())
            }
            (second, minute) => Err(second.err().max(minute.err()).unwrap_or(0).div_ceil(1_000)),
        }
    }
}

/// Returns the time at which the bucket is full again after taking a unit. If the bucket is empty, returns the
/// microseconds until a unit is available.
fn full_after_one(full_at: &mut u64, units: u32, window_us: u64, now: u64) -> Result<u64, u64> {
    if units == 0 {
        return Ok(0);
    }
    let interval = window_us / u64::from(units);
    let empty = interval * u64::from(units);
    // No bucket takes longer than its window to fill. So the clock was set back, and the bucket counts as full.
    if *full_at > now.saturating_add(window_us) {
        *full_at = now;
    }
    *full_at = (*full_at).clamp(now, now.saturating_add(empty));
    let after = full_at.saturating_add(interval);
    match after.saturating_sub(now).checked_sub(empty) {
        None | Some(0) => Ok(after),
        Some(wait) => Err(wait),
    }
}

impl Passing for Pace {
    fn is_over(&self, now_ms: u64) -> bool {
        self.second_full_at.max(self.minute_full_at) <= now_ms.saturating_mul(1_000)
    }
}

impl Tally {
    /// Counts an event and returns the new count.
    pub(super) fn add(&mut self, now_ms: u64) -> u32 {
        if self.is_over(now_ms) {
            *self = Self { since_ms: now_ms, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// The current count, 0 after the minute has ended.
    pub(super) fn count(&self, now_ms: u64) -> u32 {
        if self.is_over(now_ms) { 0 } else { self.count }
    }

    /// Milliseconds until the count ends.
    pub(super) fn ends_in_ms(&self, now_ms: u64) -> u64 {
        (self.since_ms + MINUTE_MS).saturating_sub(now_ms).min(MINUTE_MS)
    }
}

impl Passing for Tally {
    /// A start in the future also means over: the clock was set back.
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.checked_sub(self.since_ms).is_none_or(|age| age >= MINUTE_MS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn taken(pace: &mut Pace, rates: Rates, now_ms: u64, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(pace.take(rates, now_ms).is_ok())).sum()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_steady_rate() {
        let rates = Rates { per_second: 20, per_minute: 0 };
        let mut pace = Pace::default();
        assert_eq!(taken(&mut pace, rates, NOW, 100), 20);
        assert_eq!(pace.take(rates, NOW), Err(50));
        assert_eq!(taken(&mut pace, rates, NOW + 49, 100), 0);
        assert_eq!(taken(&mut pace, rates, NOW + 50, 100), 1);
        assert_eq!(taken(&mut pace, rates, NOW + 1_050, 100), 20);
        assert!(!pace.is_over(NOW + 2_049) && pace.is_over(NOW + 2_050));
    }

    #[test]
    fn the_stricter_of_two_rates_decides_and_a_refusal_takes_nothing() {
        let rates = Rates { per_second: 2, per_minute: 3 };
        let mut pace = Pace::default();
        assert_eq!(taken(&mut pace, rates, NOW, 10), 2);
        assert_eq!(taken(&mut pace, rates, NOW + 1_000, 10), 1, "the third of the minute");
        assert_eq!(pace.take(rates, NOW + 2_000), Err(18_000));
        assert_eq!(taken(&mut pace, rates, NOW + 20_000, 10), 1);
        assert_eq!(taken(&mut Pace::default(), Rates { per_second: 0, per_minute: 0 }, NOW, 9_999), 9_999);
    }

    #[test]
    fn a_clock_that_is_set_back_fills_the_bucket_or_costs_no_more_than_a_refill() {
        let rates = Rates { per_second: 0, per_minute: 3 };
        let mut pace = Pace::default();
        assert_eq!(taken(&mut pace, rates, NOW, 10), 3);
        let back = NOW - 3_600_000;
        assert_eq!(taken(&mut pace, rates, back, 10), 3);
        let mut pace = Pace::default();
        assert_eq!(taken(&mut pace, rates, NOW, 1), 1);
        assert_eq!(pace.take(rates, NOW - 30_000), Err(10_000));
        let mut tally = Tally::default();
        assert_eq!((tally.add(NOW), tally.add(NOW), tally.add(back)), (1, 2, 1));
    }

    #[test]
    fn a_tally_begins_anew_a_minute_after_its_first() {
        let mut tally = Tally::default();
        assert_eq!((tally.count(NOW), tally.add(NOW), tally.add(NOW + 59_999)), (0, 1, 2));
        assert_eq!((tally.count(NOW + 59_999), tally.ends_in_ms(NOW + 59_999)), (2, 1));
        assert_eq!((tally.count(NOW + 60_000), tally.add(NOW + 60_000)), (0, 1));
    }

    proptest! {
        #[test]
        fn nobody_is_faster_than_his_burst_and_his_rate(
            units in 1_u32..5_000, pauses in proptest::collection::vec(0_u64..500, 1..300)
        ) {
            let rates = Rates { per_second: units, per_minute: 0 };
            let (mut pace, mut now, mut passed) = (Pace::default(), NOW, 0_u64);
            for pause in pauses {
                now += pause;
                passed += u64::from(taken(&mut pace, rates, now, 100));
                let interval_us = 1_000_000 / u64::from(units);
                prop_assert!(passed <= u64::from(units) + (now - NOW) * 1_000 / interval_us);
            }
        }

        #[test]
        fn whoever_waits_as_long_as_he_is_told_is_let_through(second in 0_u32..2_000, minute in 0_u32..2_000) {
            let rates = Rates { per_second: second, per_minute: minute };
            let (mut pace, mut now) = (Pace::default(), NOW);
            for _ in 0..3_000 {
                if let Err(wait) = pace.take(rates, now) {
                    prop_assert!(wait > 0);
                    now += wait;
                    prop_assert_eq!(pace.take(rates, now), Ok(()));
                }
            }
        }
    }
}
