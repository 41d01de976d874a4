//! The watch before a process first uses a shard: whether another process of the same installation works with another
//! database. A copied database has the id of the original, so the key `owner` does not tell them apart.
//!
//! A process numbers beats in MySQL, and each beat in Redis carries the number of the last beat in MySQL. A copy of the
//! database lacks later numbers. [`Watch::compare`] must get beats that were read from Redis before the numbers were
//! read from MySQL. `tests/model/owner` shows why each rule is needed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::redis::beats::Beat;

/// A living process beats several times within a watch.
const WATCHED_FOR: Duration = Duration::from_secs(3);
/// The longest watch, while MySQL lacks the number of a process whose number stands still.
const WATCHED_MAX: Duration = Duration::from_secs(10);

/// The result of a watch so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WatchVerdict {
    /// The watch must go on.
    Pending,
    /// No other process works with another database, as far as a watch can show.
    Passed,
    /// This process works with another database.
    OtherDatabase(String),
}

#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    /// Whether Redis may lack the beat of a living process, so that a missing beat proves nothing.
    is_full: bool,
    seen: HashMap<String, Sighting>,
}

#[derive(Debug, Default)]
struct Sighting {
    last: Option<u64>,
    /// The number has advanced, and this MySQL had the number.
    is_ours: bool,
    /// This MySQL lacked the last number.
    is_lacking: bool,
    /// The number in Redis when this MySQL lacked a number.
    after_lacking: Option<u64>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, is_full: false, seen: HashMap::new() }
    }

    /// Compares the `beats` of other processes of this installation with the `numbers` that MySQL has. `may_lack_beats`
    /// is set if Redis may have lost beats a moment ago.
    pub(super) fn compare(
        &mut self,
        beats: &HashMap<String, Beat>,
        numbers: &HashMap<String, u64>,
        may_lack_beats: bool,
        now: Instant,
    ) -> WatchVerdict {
        self.is_full |= may_lack_beats;
        for (process, beat) in beats {
            let has = numbers.get(process).copied().unwrap_or(0);
            if self.seen.entry(process.clone()).or_default().is_of_another(beat.number, has) {
                return WatchVerdict::OtherDatabase(process.clone());
            }
        }
        let watched_for = now.saturating_duration_since(self.began);
        let beating =
            || beats.iter().filter(|(_, beat)| beat.age < WATCHED_FOR).map(|(process, _)| &self.seen[process]);
        let is_short = !self.is_full && beating().all(|seen| seen.is_ours);
        let is_long = watched_for >= WATCHED_FOR && !beating().any(|seen| seen.is_lacking);
        if is_short || is_long || watched_for >= WATCHED_MAX { WatchVerdict::Passed } else { WatchVerdict::Pending }
    }
}

impl Sighting {
    /// Notes the `number` in Redis and the number that MySQL `has`. Returns whether the process works with another
    /// database: MySQL lacked a number, the process has advanced the number since, and MySQL lacks the later number as well. A
    /// number without an advance proves nothing, because a stopped process has no row.
    fn is_of_another(&mut self, number: u64, has: u64) -> bool {
        let has_advanced = self.last.is_some_and(|last| number > last);
        self.last = Some(number);
        if has >= number {
            self.is_ours |= has_advanced;
            (self.is_lacking, self.after_lacking) = (false, None);
            return false;
        }
        if self.after_lacking.is_some_and(|before| number > before) {
            return true;
        }
        if self.is_lacking {
            self.after_lacking.get_or_insert(number);
        }
        self.is_lacking = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Looks {
        watch: Watch,
        began: Instant,
    }

    impl Looks {
        fn begin() -> Self {
            let began = Instant::now();
            Self { watch: Watch::new(began), began }
        }

        /// A look after `ms` at a process with `number` in Redis, `age_ms` old, while MySQL has the number `has`.
        fn look(&mut self, ms: u64, number: u64, age_ms: u64, has: u64) -> WatchVerdict {
            let beat = Beat { installation: "i".to_owned(), number, age: Duration::from_millis(age_ms) };
            let (beats, numbers) = ([("p".to_owned(), beat)].into(), [("p".to_owned(), has)].into());
            self.watch.compare(&beats, &numbers, false, self.began + Duration::from_millis(ms))
        }
    }

    #[test]
    fn nobody_else_needs_no_watch_unless_redis_may_lack_beats() {
        let (began, none) = (Instant::now(), HashMap::new());
        let pass = |may_lack, ms| {
            let now = began + Duration::from_millis(ms);
            Watch::new(began).compare(&HashMap::new(), &none, may_lack, now)
        };
        assert_eq!(pass(false, 0), WatchVerdict::Passed);
        assert_eq!(pass(true, 2_999), WatchVerdict::Pending);
        assert_eq!(pass(true, 3_000), WatchVerdict::Passed);
    }

    #[test]
    fn a_process_is_of_this_database_once_its_number_advances_here() {
        let mut looks = Looks::begin();
        assert_eq!(looks.look(0, 7, 100, 7), WatchVerdict::Pending, "a copy of this moment would look alike");
        assert_eq!(looks.look(900, 8, 0, 8), WatchVerdict::Passed);
    }

    #[test]
    fn a_process_whose_numbers_this_database_lacks_is_of_another_one() {
        let mut looks = Looks::begin();
        assert_eq!(looks.look(0, 7, 0, 5), WatchVerdict::Pending);
        assert_eq!(looks.look(300, 7, 300, 5), WatchVerdict::Pending);
        assert_eq!(looks.look(1_000, 8, 0, 5), WatchVerdict::OtherDatabase("p".to_owned()));
        let mut looks = Looks::begin();
        assert_eq!(looks.look(0, 7, 0, 7), WatchVerdict::Pending, "the copy is fresh");
        assert_eq!(looks.look(1_000, 8, 0, 7), WatchVerdict::Pending);
        assert_eq!(looks.look(1_300, 8, 300, 7), WatchVerdict::Pending);
        assert_eq!(looks.look(2_000, 9, 0, 7), WatchVerdict::OtherDatabase("p".to_owned()));
    }

    #[test]
    fn a_number_that_stands_still_proves_nothing() {
        let mut looks = Looks::begin();
        assert_eq!(looks.look(0, 7, 0, 7), WatchVerdict::Pending);
        assert_eq!(looks.look(900, 8, 0, 0), WatchVerdict::Pending, "it has advanced, and then left");
        assert_eq!(looks.look(2_000, 8, 1_000, 0), WatchVerdict::Pending);
        assert_eq!(looks.look(3_900, 8, 2_900, 0), WatchVerdict::Pending, "it may beat again");
        assert_eq!(looks.look(4_000, 8, 3_000, 0), WatchVerdict::Passed);
        assert_eq!(Looks::begin().look(0, 8, 3_000, 0), WatchVerdict::Passed, "Redis has watched it");
    }
}
