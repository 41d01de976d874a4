//! Failed logins and registrations of the last minute, by name and by address.
//!
//! This module only counts. [`Admission`](crate::admission::Admission) decides what a high count means.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use super::keyed::Keyed;
use super::pace::Tally;
use crate::domain::Address;
use crate::memory::LimitShare;

/// Limits of attempts in a minute, fixed at the start. 0 means no limit.
#[derive(Debug, Clone, Copy)]
pub struct AttemptLimits {
    pub failed_logins_of_name: u32,
    pub failed_logins_of_address: u32,
    pub registrations_of_address: u32,
    /// Maximum keys of each table: names, addresses, users who claim.
    pub keys_max: usize,
}

pub(super) struct Attempts {
    limits: AttemptLimits,
    share: Arc<LimitShare>,
    /// The key is a hash of the name, because a client may send any text. Two names with equal hashes share a count.
    failed_names: Keyed<u64, Tally>,
    failed_addresses: Keyed<Address, Tally>,
    registrations: Keyed<Address, Tally>,
    name_hasher: RandomState,
}

impl Attempts {
    pub(super) fn new(limits: AttemptLimits, share: Arc<LimitShare>) -> Self {
        Self {
            share,
            limits,
            failed_names: Keyed::new(limits.keys_max),
            failed_addresses: Keyed::new(limits.keys_max),
            registrations: Keyed::new(limits.keys_max),
            name_hasher: RandomState::new(),
        }
    }

    /// If the name or the address has reached its limit of failures, returns the milliseconds until the next attempt is
    /// allowed. `None` as the address means not counted.
    pub(super) fn log_in_wait(&self, name: &str, address: Option<Address>, now_ms: u64) -> Option<u64> {
        let max = self.share.of(self.limits.failed_logins_of_name);
        let of_name = exhausted(&self.failed_names, &self.name_key(name), max, now_ms);
        let max = self.share.of(self.limits.failed_logins_of_address);
        let of_address = address.and_then(|address| exhausted(&self.failed_addresses, &address, max, now_ms));
        of_name.max(of_address)
    }

    /// Counts a failed login. Above the limit, returns the milliseconds until the next attempt is allowed.
    pub(super) fn log_in_failed(&self, name: &str, address: Option<Address>, now_ms: u64) -> Option<u64> {
        let max = self.share.of(self.limits.failed_logins_of_name);
        let of_name = one_more(&self.failed_names, self.name_key(name), max, now_ms);
        let max = self.share.of(self.limits.failed_logins_of_address);
        let of_address = address.and_then(|address| one_more(&self.failed_addresses, address, max, now_ms));
        of_name.max(of_address)
    }

    /// Counts a registration. Above the limit, returns the milliseconds until the next attempt is allowed.
    pub(super) fn registered(&self, address: Address, now_ms: u64) -> Option<u64> {
        one_more(&self.registrations, address, self.share.of(self.limits.registrations_of_address), now_ms)
    }

    /// Keys in the tables, and attempts not counted because a table was full.
    pub(super) fn counted(&self) -> (usize, u64) {
        let addresses = [&self.failed_addresses, &self.registrations];
        let keys: usize = addresses.iter().map(|tallies| tallies.count()).sum();
        let uncounted: u64 = addresses.iter().map(|tallies| tallies.uncounted()).sum();
        (self.failed_names.count() + keys, self.failed_names.uncounted() + uncounted)
    }

    fn name_key(&self, name: &str) -> u64 {
        self.name_hasher.hash_one(name)
    }
}

/// If the count has reached `max`, returns the milliseconds until the count ends.
fn exhausted<K: Eq + Hash>(tallies: &Keyed<K, Tally>, key: &K, max: u32, now_ms: u64) -> Option<u64> {
    let (count, ends_in_ms) = tallies.look(key, |tally| (tally.count(now_ms), tally.ends_in_ms(now_ms)))?;
    (max > 0 && count >= max).then_some(ends_in_ms)
}

/// Counts an attempt. Above `max`, returns the milliseconds until the count ends.
fn one_more<K: Eq + Hash>(tallies: &Keyed<K, Tally>, key: K, max: u32, now_ms: u64) -> Option<u64> {
    if max == 0 {
        return None;
    }
    let (count, ends_in_ms) = tallies.change(key, now_ms, |tally| (tally.add(now_ms), tally.ends_in_ms(now_ms)))?;
    (count > max).then_some(ends_in_ms)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::RateShare;
    use crate::mysql::{Db, DbLimits};

    const NOW: u64 = 1_700_000_000_000;

    fn attempts() -> Attempts {
        let limits = AttemptLimits {
            failed_logins_of_name: 3,
            failed_logins_of_address: 5,
            registrations_of_address: 2,
            keys_max: 1_000,
        };
        let wait = Duration::from_secs(1);
        let db_limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, db_limits).expect("it connects to nothing yet");
        Attempts::new(limits, Arc::new(LimitShare::new(db, RateShare::Divided)))
    }

    fn address(last: u8) -> Option<Address> {
        Some(Address::new([192, 0, 2, last].into()))
    }

    #[test]
    fn failed_logins_are_counted_by_name_and_by_address_until_the_minute_is_over() {
        let attempts = attempts();
        for _ in 0..3 {
            assert_eq!(attempts.log_in_wait("ann", address(1), NOW), None);
            assert_eq!(attempts.log_in_failed("ann", address(1), NOW), None);
        }
        assert_eq!(attempts.log_in_failed("ann", address(2), NOW + 1_500), Some(58_500), "one that waited in line");
        assert_eq!(attempts.log_in_wait("ann", address(9), NOW + 1_500), Some(58_500), "from anywhere");
        for _ in 0..2 {
            assert_eq!(attempts.log_in_failed("bob", address(1), NOW), None);
        }
        assert_eq!(attempts.log_in_wait("cid", address(1), NOW), Some(60_000));
        assert_eq!(attempts.log_in_wait("cid", address(2), NOW), None);
        assert_eq!(attempts.log_in_wait("cid", None, NOW), None, "an address that is not counted");
        assert_eq!(attempts.log_in_wait("ann", address(1), NOW + 60_000), None);
    }

    #[test]
    fn registrations_are_counted_by_address() {
        let (attempts, [first, second]) = (attempts(), [1, 2].map(|last| Address::new([192, 0, 2, last].into())));
        assert_eq!([0, 1, 2].map(|n| attempts.registered(first, NOW + n)), [None, None, Some(59_998)]);
        assert_eq!((attempts.registered(second, NOW), attempts.registered(first, NOW + 60_000)), (None, None));
    }
}
