//! How long entries have been in the outbox, by the monotonic clock of this process.
//!
//! An entry's id is not a time: after a step of Redis' clock, ids are ahead of the clock or behind it. But ids only grow
//! within a loading. So an entry has been there since this process first saw that entry or a later one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::EntryId;

/// Maximum sightings remembered. When full, every second one of the older half is forgotten, so ages are reported too
/// low by a small part of the age.
const SIGHTINGS_MAX: usize = 128;

/// The last entry of the outbox at several moments. Ids and moments only grow.
#[derive(Debug, Default)]
pub struct Sightings {
    /// The value of `live`. Another loading may have another stream with other ids.
    live: String,
    seen: VecDeque<(EntryId, Instant)>,
}

impl Sightings {
    /// Notes that `last` is the last entry in the loading `live`, `None` for an empty outbox.
    pub fn note(&mut self, live: &str, last: Option<EntryId>, now: Instant) {
        if self.live != live || last.is_none() {
            live.clone_into(&mut self.live);
            self.seen.clear();
        }
        // The last entry may have been deleted since. An earlier one brings nothing new.
        if let Some(last) = last.filter(|last| self.seen.back().is_none_or(|(seen, _)| seen < last)) {
            if self.seen.len() >= SIGHTINGS_MAX {
                self.thin();
            }
            self.seen.push_back((last, now));
        }
    }

    /// The highest entry seen at least `age` before `now` in the loading `live`. Forgets lower entries.
    pub fn seen_for(&mut self, live: &str, age: Duration, now: Instant) -> Option<EntryId> {
        if self.live != live {
            return None;
        }
        let old = self.seen.partition_point(|(_, at)| now.saturating_duration_since(*at) >= age);
        self.seen.drain(..old.saturating_sub(1));
        self.seen.front().filter(|_| old > 0).map(|(id, _)| *id)
    }

    /// The time since the oldest entry of the outbox was first seen. Forgets lower entries.
    pub fn age(&mut self, oldest: EntryId, now: Instant) -> Duration {
        let lower = self.seen.partition_point(|(id, _)| *id < oldest);
        self.seen.drain(..lower);
        self.seen.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }

    fn thin(&mut self) {
        let mut place = 0;
        self.seen.retain(|_| {
            place += 1;
            place % 2 == 1 || place > SIGHTINGS_MAX / 2
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64) -> EntryId {
        EntryId { ms, counter: 0 }
    }

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn an_entry_is_as_old_as_the_first_sight_of_it_or_a_later_one() {
        let (mut seen, began) = (Sightings::default(), Instant::now());
        seen.note("a:1", Some(entry(50)), began);
        seen.note("a:1", Some(entry(70)), after(began, 1));
        // The last entry was deleted.
        seen.note("a:1", Some(entry(60)), after(began, 2));
        seen.note("a:1", Some(entry(80)), after(began, 3));
        let now = after(began, 10);
        let ages = [50, 60, 71, 80, 81].map(|ms| seen.age(entry(ms), now).as_secs());
        assert_eq!(ages, [10, 9, 7, 7, 0]);
    }

    #[test]
    fn an_entry_is_swept_after_two_seconds_whatever_its_id_says() {
        let (mut seen, began, age) = (Sightings::default(), Instant::now(), Duration::from_secs(2));
        assert_eq!(seen.seen_for("a:1", age, began), None);
        for (second, id) in [(0, 1), (1, 4_102_444_800_000), (2, 4_102_444_800_001), (3, 4_102_444_800_002)] {
            seen.note("a:1", Some(entry(id)), after(began, second));
        }
        assert_eq!(seen.seen_for("a:1", age, after(began, 1)), None);
        assert_eq!(seen.seen_for("a:1", age, after(began, 2)), Some(entry(1)));
        assert_eq!(seen.seen_for("a:1", age, after(began, 4)), Some(entry(4_102_444_800_001)));
        assert_eq!(seen.seen_for("b:2", age, after(began, 4)), None, "another loading has other ids");
    }

    #[test]
    fn an_empty_outbox_and_another_loading_forget_all_sightings() {
        let (mut seen, began) = (Sightings::default(), Instant::now());
        seen.note("a:1", Some(entry(50)), began);
        seen.note("a:1", None, after(began, 1));
        seen.note("a:1", Some(entry(40)), after(began, 2));
        assert_eq!(seen.age(entry(40), after(began, 3)).as_secs(), 1);
        seen.note("b:2", Some(entry(30)), after(began, 4));
        assert_eq!(seen.age(entry(30), after(began, 5)).as_secs(), 1);
    }

    #[test]
    fn a_long_backlog_keeps_its_age_in_bounded_memory() {
        let (mut seen, began) = (Sightings::default(), Instant::now());
        for second in 0..10_000 {
            seen.note("a:1", Some(entry(second)), after(began, second));
        }
        assert!(seen.seen.len() <= SIGHTINGS_MAX);
        assert_eq!(seen.age(entry(0), after(began, 10_000)).as_secs(), 10_000);
        assert_eq!(seen.age(entry(9_999), after(began, 10_000)).as_secs(), 1);
    }
}
