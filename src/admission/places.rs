//! Places that an address holds for long, such as open event streams.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Address, Network};

/// The number of held places of each network. An address counts for at most three networks, so the table has at most three
/// entries for each held place.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Mutex<HashMap<Network, u32>>,
}

/// A place of an address. The drop frees the place.
#[derive(Debug)]
pub struct AddressPlace {
    places: Arc<Places>,
    address: Address,
}

impl Places {
    /// Takes a place if the address holds fewer than `max`. Wider networks may hold a multiple.
    pub(super) fn take(self: &Arc<Self>, address: Address, max: u32) -> Option<AddressPlace> {
        let mut held = self.held();
        let is_free = |(network, times): (Network, u32)| {
            held.get(&network).is_none_or(|count| *count < max.saturating_mul(times))
        };
        if !address.counted_networks().all(is_free) {
            return None;
        }
        for (network, _) in address.counted_networks() {
            *held.entry(network).or_default() += 1;
        }
        Some(AddressPlace { places: Arc::clone(self), address })
    }

    /// A poisoned lock is used anyway: every state of the table is valid.
    fn held(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut held = self.places.held();
        for (network, _) in self.address.counted_networks() {
            if let Entry::Occupied(mut entry) = held.entry(network) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_a_number_of_places_and_gets_them_back() {
        let places = Arc::new(Places::default());
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut taken: Vec<_> = (0..2).map(|_| places.take(one, 2).expect("a place")).collect();
        assert!(places.take(one, 2).is_none());
        assert!(places.take(other, 2).is_some(), "others have places of their own");
        taken.pop();
        assert!(places.take(one, 2).is_some());
        drop(taken);
        assert!(places.held().is_empty(), "nothing is remembered of those who left");
    }

    #[test]
    fn wider_networks_of_ipv6_hold_a_multiple() {
        let places = Arc::new(Places::default());
        // Addresses of different /64 in one /56, which has 16 times the places.
        let taken: Vec<_> = (0..20).filter_map(|n| places.take(address(&format!("2001:db8:0:{n:x}::1")), 1)).collect();
        assert_eq!(taken.len(), 16);
        drop(taken);
        assert!(places.held().is_empty());
    }
}
