//! Admission on one page: what is decided before anything is done, from memory alone, without waiting.
//!
//! For a claim: is that part switched on, is the user or his address kept out, does he or his address go too fast. For a
//! login and a registration: the same, with a count of what failed or was made in the last minute. Whoever goes on after
//! being refused for his rate, far too often, is blocked for a while by himself.
//!
//! Each instance counts what it sees itself. Deliberately knows nothing of coupons, and nothing of how anybody proves who
//! he is.
//!
//! Invariant: what is remembered is bounded. Who finds no place goes uncounted.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attempts::{AttemptLimits, Attempts};
use super::keyed::Keyed;
use super::pace::{Pace, Rates, Tally};
use super::{Blacklist, Limits, Settings, Switches};
use crate::domain::{Address, Kind, Subject, UserId};

/// Why somebody was not let in. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// That part is switched off.
    Off,
    /// The user or his address is on the blacklist.
    Blocked,
    /// Too fast; in so many seconds, at least 1, he may be let in.
    TooFast { wait_seconds: u64 },
}

/// Who is let in. Shared by all workers of a process.
pub struct Admission {
    pub settings: Arc<Settings>,
    pub blacklist: Arc<Blacklist>,
    users: Keyed<UserId, Pace>,
    addresses: Keyed<Address, Pace>,
    /// How often somebody was too fast, apart from his pace: most never are, and their paces stay in the processor's cache.
    offences: Keyed<Subject, Tally>,
    attempts: Attempts,
    off: AtomicU64,
    blocked: AtomicU64,
    too_fast: AtomicU64,
}

/// What has been decided since the start, and what is remembered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionFigures {
    pub refused_off: u64,
    pub refused_blocked: u64,
    pub refused_too_fast: u64,
    /// Offenders blocked by this instance.
    pub offenders: u64,
    /// Blocks that found no place.
    pub blocks_refused: u64,
    /// Attempts that found no place to be counted in.
    pub uncounted: u64,
    pub blocks: u64,
    /// Users, addresses and names that are counted; those who were too fast in the last minute once more.
    pub keys: u64,
}

impl Admission {
    pub fn new(settings: Arc<Settings>, blacklist: Arc<Blacklist>, limits: AttemptLimits) -> Self {
        Self {
            settings,
            blacklist,
            users: Keyed::new(limits.keys_max),
            addresses: Keyed::new(limits.keys_max),
            offences: Keyed::new(limits.keys_max),
            attempts: Attempts::new(limits),
            off: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            too_fast: AtomicU64::new(0),
        }
    }

    /// Whether `user` may try to claim now. `address` is asked for only where addresses matter.
    ///
    /// # Errors
    /// [`TurnedAway`], in this order: the switch, the blacklist, the rates.
    pub fn claim(&self, user: UserId, address: impl FnOnce() -> Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.part(|switches| switches.claim)?;
        let limits = self.settings.limits();
        let matters = limits.count_addresses() || self.blacklist.has_addresses();
        let address = matters.then(address);
        self.not_blocked(Some(user), address, now_ms)?;

        let rates = Rates { per_second: limits.user_per_second, per_minute: limits.user_per_minute };
        pace(&self.users, user, rates, now_ms)
            .map_err(|wait_ms| self.offence(Subject::User(user), wait_ms, &limits, now_ms))?;
        // Second, so that an address pays only for what its users may.
        let Some(address) = address.filter(|address| limits.counts(*address)) else { return Ok(()) };
        let rates = Rates { per_second: limits.ip_per_second, per_minute: limits.ip_per_minute };
        pace(&self.addresses, address, rates, now_ms)
            .map_err(|wait_ms| self.offence(Subject::Address(address), wait_ms, &limits, now_ms))
    }

    /// Whether a part of the service is switched on.
    ///
    /// # Errors
    /// [`TurnedAway::Off`].
    pub fn part(&self, is_on: impl FnOnce(&Switches) -> bool) -> Result<(), TurnedAway> {
        if is_on(&self.settings.switches()) { Ok(()) } else { Err(self.turned(TurnedAway::Off)) }
    }

    /// Whether somebody may register now; the attempt is counted.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub fn register(&self, kind: Kind, address: Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.part(|switches| kind != Kind::Saler || switches.register_saler)?;
        self.not_blocked(None, Some(address), now_ms)?;
        let counted = self.counted(address);
        self.wait(counted.and_then(|address| self.attempts.registered(address, now_ms)))
    }

    /// Whether somebody may try to log in as `name` now. Asked before the password is looked at, and again after it, so that
    /// guesses which wait side by side tell no more than guesses one after the other.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub fn log_in(&self, name: &str, address: Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.not_blocked(None, Some(address), now_ms)?;
        self.wait(self.attempts.log_in_wait(name, self.counted(address), now_ms))
    }

    /// Counts a login that failed.
    ///
    /// # Errors
    /// [`TurnedAway`] where it is one too many: nobody must be told that it failed.
    pub fn log_in_failed(&self, name: &str, address: Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.wait(self.attempts.log_in_failed(name, self.counted(address), now_ms))
    }

    /// Whether neither the user nor the address is kept out.
    ///
    /// # Errors
    /// [`TurnedAway::Blocked`].
    pub fn not_blocked(&self, user: Option<UserId>, address: Option<Address>, now_ms: u64) -> Result<(), TurnedAway> {
        let now_seconds = now_ms / 1_000;
        let blocked = user.is_some_and(|user| self.blacklist.blocks_user(user, now_seconds))
            || address.is_some_and(|address| self.blacklist.blocks_address(address, now_seconds));
        if blocked { Err(self.turned(TurnedAway::Blocked)) } else { Ok(()) }
    }

    pub fn figures(&self) -> AdmissionFigures {
        let (offenders, blocks_refused) = self.blacklist.counted();
        let (attempts, attempts_uncounted) = self.attempts.counted();
        AdmissionFigures {
            refused_off: self.off.load(Ordering::Relaxed),
            refused_blocked: self.blocked.load(Ordering::Relaxed),
            refused_too_fast: self.too_fast.load(Ordering::Relaxed),
            offenders,
            blocks_refused,
            uncounted: self.users.uncounted()
                + self.addresses.uncounted()
                + self.offences.uncounted()
                + attempts_uncounted,
            blocks: self.blacklist.count() as u64,
            keys: (self.users.count() + self.addresses.count() + self.offences.count() + attempts) as u64,
        }
    }

    /// What becomes of whoever goes too fast.
    fn offence(&self, subject: Subject, wait_ms: u64, limits: &Limits, now_ms: u64) -> TurnedAway {
        let is_on = limits.offences_per_minute > 0 && limits.offender_seconds > 0;
        if is_on && self.offences.change(subject, now_ms, |tally| tally.add(now_ms)) > Some(limits.offences_per_minute)
        {
            self.blacklist.block_offender(subject, now_ms / 1_000, limits.offender_seconds);
        }
        self.turned(too_fast(wait_ms))
    }

    fn turned(&self, turned: TurnedAway) -> TurnedAway {
        let counter = match turned {
            TurnedAway::Off => &self.off,
            TurnedAway::Blocked => &self.blocked,
            TurnedAway::TooFast { .. } => &self.too_fast,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        turned
    }

    /// The address, where it is one that is counted.
    fn counted(&self, address: Address) -> Option<Address> {
        Some(address).filter(|address| self.settings.limits().counts(*address))
    }

    fn wait(&self, wait_ms: Option<u64>) -> Result<(), TurnedAway> {
        wait_ms.map_or(Ok(()), |wait_ms| Err(self.turned(too_fast(wait_ms))))
    }
}

fn too_fast(wait_ms: u64) -> TurnedAway {
    TurnedAway::TooFast { wait_seconds: wait_ms.div_ceil(1_000).max(1) }
}

/// Lets one more of `key` through, or says how many milliseconds he has to wait.
fn pace<K: Eq + Hash>(paces: &Keyed<K, Pace>, key: K, rates: Rates, now_ms: u64) -> Result<(), u64> {
    if rates.is_off() {
        return Ok(());
    }
    paces.change(key, now_ms, |pace| pace.take(rates, now_ms)).unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::db::{self, Db};
    use crate::gate::{BlacklistLimits, Setting};

    const NOW: u64 = 1_700_000_000_000;
    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    /// Of stores that are never asked.
    fn admission(limits: &serde_json::Value) -> Admission {
        let wait = Duration::from_secs(1);
        let db_limits = db::Limits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", db_limits).expect("it connects to nothing yet");
        let settings = Settings::new(db.clone(), Limits::default());
        let limits = Limits::parse(limits.as_object().expect("an object"), &Limits::default()).expect("they are good");
        settings.anticipate(&Setting::Limits(limits));
        let blacklist = Blacklist::new(db, BlacklistLimits { blocks_max: 10, offenders_waiting_max: 2 });
        let attempts = AttemptLimits {
            failed_logins_of_name: 3,
            failed_logins_of_address: 5,
            registrations_of_address: 2,
            keys_max: 1_000,
        };
        Admission::new(Arc::new(settings), Arc::new(blacklist), attempts)
    }

    fn address(last: u8) -> Address {
        Address::new([192, 0, 2, last].into())
    }

    fn too_fast(wait_seconds: u64) -> Result<(), TurnedAway> {
        Err(TurnedAway::TooFast { wait_seconds })
    }

    #[test]
    fn an_address_is_asked_for_only_where_addresses_matter() {
        let never = || panic!("nobody needs it");
        let open = admission(&json!({}));
        assert_eq!(open.claim(ANN, never, NOW), Ok(()));
        open.blacklist.block_offender(Subject::User(BOB), NOW / 1_000, 60);
        assert_eq!(open.claim(ANN, never, NOW), Ok(()));
        assert_eq!(open.claim(BOB, never, NOW), Err(TurnedAway::Blocked));
        open.blacklist.block_offender(Subject::Address(address(1)), NOW / 1_000, 60);
        assert_eq!(open.claim(ANN, || address(1), NOW), Err(TurnedAway::Blocked));
        assert_eq!(open.claim(ANN, || address(1), NOW + 60_000), Ok(()), "it has ended by itself");
    }

    #[test]
    fn a_switch_comes_before_the_blacklist_and_that_before_the_rates() {
        let admission = admission(&json!({"user_per_minute": 1}));
        let claim = || admission.claim(ANN, || address(1), NOW);
        assert_eq!((claim(), claim()), (Ok(()), too_fast(60)));
        admission.blacklist.block_offender(Subject::User(ANN), NOW / 1_000, 60);
        assert_eq!(claim(), Err(TurnedAway::Blocked));
        admission.settings.anticipate(&Setting::Switches(Switches { claim: false, ..Switches::default() }));
        assert_eq!(claim(), Err(TurnedAway::Off));
        let figures = admission.figures();
        assert_eq!((figures.refused_off, figures.refused_blocked, figures.refused_too_fast), (1, 1, 1));
    }

    #[test]
    fn a_user_who_goes_too_fast_costs_his_address_nothing() {
        let admission = admission(&json!({"user_per_second": 0, "user_per_minute": 2, "ip_per_minute": 4}));
        let passed = |user, tries| (0..tries).filter(|_| admission.claim(user, || address(1), NOW).is_ok()).count();
        assert_eq!(passed(ANN, 100), 2);
        assert_eq!(passed(BOB, 100), 2);
        assert_eq!(passed(UserId(3), 100), 0, "the address is used up");
    }

    #[test]
    fn more_refusals_in_a_minute_than_may_be_make_an_offender_whom_an_end_frees() {
        let admission = admission(&json!({"user_per_minute": 1, "offences_per_minute": 3, "offender_seconds": 90}));
        let claim = |now_ms| admission.claim(ANN, || address(1), now_ms);
        assert_eq!(claim(NOW), Ok(()));
        for _ in 0..3 {
            assert!(matches!(claim(NOW), Err(TurnedAway::TooFast { .. })));
        }
        assert!(!admission.blacklist.blocks_user(ANN, NOW / 1_000), "three are no offence yet");
        assert!(matches!(claim(NOW), Err(TurnedAway::TooFast { .. })));
        assert_eq!(claim(NOW), Err(TurnedAway::Blocked));
        assert_eq!(claim(NOW + 89_999), Err(TurnedAway::Blocked));
        assert_eq!(claim(NOW + 90_000), Ok(()));
        assert_eq!(admission.figures().offenders, 1);
    }

    #[test]
    fn addresses_that_are_allowed_are_neither_counted_nor_blocked_by_themselves() {
        let limits = json!({"user_per_second": 0, "user_per_minute": 0, "ip_per_minute": 1,
            "offences_per_minute": 1, "allow_ips": ["192.0.2.0/28"]});
        let admission = admission(&limits);
        for _ in 0..100 {
            assert_eq!(admission.claim(ANN, || address(15), NOW), Ok(()));
        }
        let claim = || admission.claim(ANN, || address(16), NOW);
        assert_eq!(
            [claim(), claim(), claim(), claim()],
            [Ok(()), too_fast(60), too_fast(60), Err(TurnedAway::Blocked)]
        );
    }

    #[test]
    fn offenders_are_bounded() {
        let admission = admission(&json!({}));
        for user in 0..5 {
            admission.blacklist.block_offender(Subject::User(UserId(user)), NOW / 1_000, 60);
        }
        let figures = admission.figures();
        assert_eq!((figures.blocks, figures.offenders, figures.blocks_refused), (2, 2, 3));
    }
}
