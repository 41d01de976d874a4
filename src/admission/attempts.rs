//! Failed logins and registrations of the last minute, by name and by address.
//!
//! This module only counts. [`Admission`](crate::admission::Admission) decides what a high count means.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use super::keyed::Keyed;
use super::pace::Tally;
use crate::domain::{Address, Network};
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

/// An attempt to log in.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    pub name: &'a str,
    pub address: Address,
    pub acquaintance: Acquaintance,
}

/// How well those who log in are known to the name. A later variant is held by fewer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acquaintance {
    Stranger,
    /// The user has logged in on the device. Guesses of others at the name do not keep the device out.
    Device,
    /// The user has logged in from the network. Neither guesses of others at the name nor guesses from the network at other
    /// names keep the network out.
    Network,
}

/// How many times the failures from one address a name may have from all addresses.
const NAME_TIMES: u32 = 10;

pub(super) struct Attempts {
    limits: AttemptLimits,
    share: Arc<LimitShare>,
    /// A name stands in the keys as a hash, because a client may send any text. Two names with equal hashes share a count.
    failed_names: Keyed<u64, Tally>,
    /// Failures of a name from an address. The name alone has a higher limit, so that nobody locks others out of their
    /// account from a single address.
    failed_pairs: Keyed<(u64, Address), Tally>,
    failed_networks: Keyed<Network, Tally>,
    registrations: Keyed<Network, Tally>,
    name_hasher: RandomState,
}

impl Attempts {
    pub(super) fn new(limits: AttemptLimits, share: Arc<LimitShare>) -> Self {
        Self {
            share,
            limits,
            failed_names: Keyed::new(limits.keys_max),
            failed_pairs: Keyed::new(limits.keys_max),
            failed_networks: Keyed::new(limits.keys_max),
            registrations: Keyed::new(limits.keys_max),
            name_hasher: RandomState::new(),
        }
    }

    /// Milliseconds until the next login is allowed, if a count that holds for the attempt has reached its limit: the name from
    /// this address, the name, or the address. An `exempt` address has no limit of its own.
    pub(super) fn log_in_wait(&self, attempt: &LoginAttempt<'_>, exempt: bool, now_ms: u64) -> Option<u64> {
        let LoginAttempt { address, acquaintance, .. } = *attempt;
        let (name, max) = (self.name_key(attempt.name), self.share.of(self.limits.failed_logins_of_name));
        let of_pair = exhausted(&self.failed_pairs, &(name, address), address, max, now_ms);
        let of_name = exhausted(&self.failed_names, &name, address, max.saturating_mul(NAME_TIMES), now_ms);
        let max = if exempt { 0 } else { self.share.of(self.limits.failed_logins_of_address) };
        let networks = address.counted_networks();
        let of_address = networks.map(|(network, times)| {
            exhausted(&self.failed_networks, &network, address, max.saturating_mul(times), now_ms)
        });
        acquaintance.longest(of_pair, of_name, of_address.max().flatten())
    }

    /// Counts a failed login. Above a limit that holds for the attempt, returns the milliseconds until the next attempt is
    /// allowed.
    pub(super) fn log_in_failed(&self, attempt: &LoginAttempt<'_>, exempt: bool, now_ms: u64) -> Option<u64> {
        let LoginAttempt { address, acquaintance, .. } = *attempt;
        let (name, max) = (self.name_key(attempt.name), self.share.of(self.limits.failed_logins_of_name));
        let of_pair = one_more(&self.failed_pairs, (name, address), address, max, now_ms);
        // A refused pair says nothing new about the name.
        let max_of_name = max.saturating_mul(NAME_TIMES);
        let of_name = match of_pair {
            Some(_) => None,
            None => one_more(&self.failed_names, name, address, max_of_name, now_ms),
        };
        let max = if exempt { 0 } else { self.share.of(self.limits.failed_logins_of_address) };
        let of_address = one_more_of_networks(&self.failed_networks, address, max, now_ms);
        acquaintance.longest(of_pair, of_name, of_address)
    }

    /// Counts a registration. Above the limit, returns the milliseconds until the next attempt is allowed.
    pub(super) fn registered(&self, address: Address, now_ms: u64) -> Option<u64> {
        let max = self.share.of(self.limits.registrations_of_address);
        one_more_of_networks(&self.registrations, address, max, now_ms)
    }

    /// Keys in the tables, and attempts counted by crowd because a table was full.
    pub(super) fn counted(&self) -> (usize, u64) {
        let networks = [&self.failed_networks, &self.registrations];
        let keys: usize = networks.iter().map(|tallies| tallies.count()).sum();
        let by_crowd: u64 = networks.iter().map(|tallies| tallies.by_crowd()).sum();
        let (names, pairs) = (&self.failed_names, &self.failed_pairs);
        (keys + names.count() + pairs.count(), by_crowd + names.by_crowd() + pairs.by_crowd())
    }

    fn name_key(&self, name: &str) -> u64 {
        self.name_hasher.hash_one(name)
    }
}

impl Acquaintance {
    /// The longest wait among the counts that hold.
    fn longest(self, of_pair: Option<u64>, of_name: Option<u64>, of_address: Option<u64>) -> Option<u64> {
        match self {
            Self::Stranger => of_pair.max(of_name).max(of_address),
            Self::Device => of_pair.max(of_address),
            Self::Network => of_pair,
        }
    }
}

/// If the count has reached `max`, returns the milliseconds until the count ends.
fn exhausted<K: Eq + Hash>(tallies: &Keyed<K, Tally>, key: &K, address: Address, max: u32, now_ms: u64) -> Option<u64> {
    tallies.look(
        key,
        || address,
        |tally, times| {
            let is_exhausted = max > 0 && tally.count(now_ms) >= max.saturating_mul(times);
            is_exhausted.then(|| tally.ends_in_ms(now_ms))
        },
    )
}

/// Counts an attempt for every network of the address, the smallest first. Above `max`, returns the milliseconds until the
/// count ends, and wider networks are not charged.
fn one_more_of_networks(tallies: &Keyed<Network, Tally>, address: Address, max: u32, now_ms: u64) -> Option<u64> {
    let mut networks = address.counted_networks();
    networks.find_map(|(network, times)| one_more(tallies, network, address, max.saturating_mul(times), now_ms))
}

/// Counts an attempt. Above `max`, returns the milliseconds until the count ends.
fn one_more<K: Eq + Hash>(tallies: &Keyed<K, Tally>, key: K, address: Address, max: u32, now_ms: u64) -> Option<u64> {
    if max == 0 {
        return None;
    }
    tallies.change(
        key,
        || address,
        now_ms,
        |tally, times| {
            let is_over = tally.add(now_ms) > max.saturating_mul(times);
            is_over.then(|| tally.ends_in_ms(now_ms))
        },
    )
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
            keys_max: 1_000_000,
        };
        let wait = Duration::from_secs(1);
        let db_limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, db_limits).expect("it connects to nothing yet");
        Attempts::new(limits, Arc::new(LimitShare::new(db, RateShare::Divided)))
    }

    fn address(last: u8) -> Address {
        Address::new([192, 0, 2, last].into())
    }

    fn stranger(name: &str, last: u8) -> LoginAttempt<'_> {
        LoginAttempt { name, address: address(last), acquaintance: Acquaintance::Stranger }
    }

    #[test]
    fn failed_logins_are_counted_by_pair_and_by_address_until_the_minute_is_over() {
        let attempts = attempts();
        for _ in 0..3 {
            assert_eq!(attempts.log_in_wait(&stranger("ann", 1), false, NOW), None);
            assert_eq!(attempts.log_in_failed(&stranger("ann", 1), false, NOW), None);
        }
        assert_eq!(attempts.log_in_wait(&stranger("ann", 1), false, NOW + 1_500), Some(58_500));
        assert_eq!(
            attempts.log_in_failed(&stranger("ann", 1), false, NOW + 1_500),
            Some(58_500),
            "one that waited in line"
        );
        assert_eq!(attempts.log_in_wait(&stranger("ann", 9), false, NOW + 1_500), None, "her own address");
        assert_eq!(attempts.log_in_failed(&stranger("bob", 1), false, NOW), None);
        assert_eq!(
            attempts.log_in_wait(&stranger("cid", 1), false, NOW),
            Some(60_000),
            "five failures from an address"
        );
        assert_eq!(attempts.log_in_wait(&stranger("cid", 2), false, NOW), None);
        assert_eq!(attempts.log_in_wait(&stranger("cid", 1), true, NOW), None, "an exempt address");
        assert_eq!(attempts.log_in_wait(&stranger("ann", 1), false, NOW + 60_000), None);
    }

    #[test]
    fn guesses_from_many_addresses_end_at_ten_times_the_limit_of_one() {
        let attempts = attempts();
        let answered = (0..=255_u8)
            .flat_map(|last| [last; 3])
            .filter(|last| {
                let wait = attempts.log_in_wait(&stranger("ann", *last), false, NOW);
                wait.is_none() && attempts.log_in_failed(&stranger("ann", *last), false, NOW).is_none()
            })
            .count();
        assert_eq!(answered, 30);
        assert_eq!(attempts.log_in_wait(&stranger("bob", 7), false, NOW), None, "another name");
    }

    #[test]
    fn guesses_of_strangers_keep_out_neither_devices_nor_networks_that_know_the_name() {
        let attempts = attempts();
        let may = |last, acquaintance| {
            let attempt = LoginAttempt { acquaintance, ..stranger("ann", last) };
            attempts.log_in_wait(&attempt, false, NOW).is_none()
        };
        let all =
            |last| [Acquaintance::Stranger, Acquaintance::Device, Acquaintance::Network].map(|how| may(last, how));
        for last in 0..30 {
            attempts.log_in_failed(&stranger("ann", last), false, NOW);
        }
        assert_eq!(all(99), [false, true, true], "30 guesses at the name");
        for name in ["bob", "cid", "dan", "eve"] {
            attempts.log_in_failed(&stranger(name, 1), false, NOW);
        }
        assert_eq!(all(1), [false, false, true], "and five from this network");
        let own = LoginAttempt { acquaintance: Acquaintance::Network, ..stranger("ann", 1) };
        assert_eq!(attempts.log_in_failed(&own, false, NOW), None, "a wrong password is told so");
        assert_eq!(attempts.log_in_failed(&own, false, NOW), None);
        assert_eq!(attempts.log_in_failed(&own, false, NOW), Some(60_000), "three for the name from this network");
        assert_eq!(all(1), [false; 3], "nobody gets more guesses from one network");
    }

    #[test]
    fn registrations_are_counted_by_address() {
        let (attempts, [first, second]) = (attempts(), [1, 2].map(address));
        assert_eq!([0, 1, 2].map(|n| attempts.registered(first, NOW + n)), [None, None, Some(59_998)]);
        assert_eq!((attempts.registered(second, NOW), attempts.registered(first, NOW + 60_000)), (None, None));
    }

    #[test]
    fn whoever_has_many_64s_of_one_48_gets_the_limit_of_256() {
        let attempts = attempts();
        let of_64 = |n: u16| Address::new(std::net::Ipv6Addr::new(0x2001, 0xdb8, 7, n, 0, 0, 0, 1).into());
        let registered = |networks: &mut dyn Iterator<Item = u16>| {
            networks.filter(|n| attempts.registered(of_64(*n), NOW).is_none()).count()
        };
        assert_eq!(registered(&mut (0..100)), 32, "the limit of 2 is 32 for a /56");
        assert_eq!(registered(&mut (256..=u16::MAX)), 480, "and 512 for a /48");
    }
}
