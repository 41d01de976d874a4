//! Places for viewers of live units. The sales of one saler have at most half of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct ViewerPlaces {
    max: usize,
    taken: Mutex<TakenPlaces>,
}

#[derive(Default)]
struct TakenPlaces {
    all: usize,
    /// By the name of the saler. Each entry counts a viewer at least, so there are as many as viewers at most.
    of_saler: HashMap<String, usize>,
}

/// A place of a viewer, freed on drop.
pub(super) struct ViewerPlace {
    places: Arc<ViewerPlaces>,
    /// The saler whose share has the place. `None` until [`ViewerPlace::count_for`].
    saler: Option<String>,
}

impl ViewerPlaces {
    /// `max` places. One saler may have the half, rounded up.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// Takes a place, or returns `None` if all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<ViewerPlace> {
        let mut taken = self.taken();
        if taken.all >= self.max {
            return None;
        }
        taken.all += 1;
        Some(ViewerPlace { places: Arc::clone(self), saler: None })
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// The places taken, and those of the saler who has most.
    pub(super) fn counts(&self) -> (usize, usize) {
        let taken = self.taken();
        (taken.all, taken.of_saler.values().copied().max().unwrap_or(0))
    }

    /// A poisoned lock is used anyway: every single change leaves the counts consistent.
    fn taken(&self) -> MutexGuard<'_, TakenPlaces> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ViewerPlace {
    /// Counts the place for a saler. Returns `false` if the saler's share is taken.
    pub(super) fn count_for(&mut self, saler: &str) -> bool {
        let mut taken = self.places.taken();
        let count = taken.of_saler.get(saler).copied().unwrap_or(0);
        if count >= self.places.max.div_ceil(2) {
            return false;
        }
        taken.of_saler.insert(saler.to_owned(), count + 1);
        self.saler = Some(saler.to_owned());
        true
    }
}

impl Drop for ViewerPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let Some(saler) = &self.saler else { return };
        if let Some(count) = taken.of_saler.get_mut(saler) {
            *count -= 1;
            if *count == 0 {
                taken.of_saler.remove(saler);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saler_has_half_of_the_places_and_others_have_the_rest() {
        let places = ViewerPlaces::new(5);
        let mut seated = Vec::new();
        let mut seats = |saler: &str| {
            let place = places.take().and_then(|mut place| place.count_for(saler).then_some(place));
            let has_one = place.is_some();
            seated.extend(place);
            has_one
        };
        assert_eq!(["a", "a", "a", "a"].map(&mut seats), [true, true, true, false]);
        assert_eq!(places.counts(), (3, 3), "who is refused has no place");
        assert_eq!(["b", "b", "c"].map(&mut seats), [true, true, false]);
        assert!(places.take().is_none(), "all places are taken");
    }

    #[test]
    fn who_leaves_frees_the_place_in_both_counts() {
        let places = ViewerPlaces::new(1);
        for _ in 0..3 {
            let mut place = places.take().expect("a place");
            assert!(place.count_for("a"));
            assert_eq!(places.counts(), (1, 1));
            drop(place);
            assert_eq!((places.counts(), places.taken().of_saler.len()), ((0, 0), 0));
        }
    }
}
