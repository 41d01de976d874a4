//! Admission control: limits, blacklist and switches, decided from memory before any work is done.
//!
//! Every route has a [`Class`], which names the limits of a user and of an address. A claim is checked against the claim
//! switch, the blacklist, and the rates of claims. A login or a registration is also checked against the attempts of the last
//! minute. A user or an address that keeps sending after too many 429s is blocked for a while.
//!
//! Every instance counts only the requests it receives, and admits its part of every limit. Coupons and authentication are
//! unknown to this module. Memory is bounded: a key without room is counted together with the crowd around its address.

mod asker;
mod attempts;
mod class;
mod figures;
mod keyed;
mod pace;
mod paced;
mod places;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{Address, KeyId, Kind, Network, Subject, UserId};
use crate::memory::{Blacklist, LimitShare, Limits, Settings, Switches};
use attempts::Attempts;
use keyed::Keyed;
use pace::{Pace, Rates, Tally};
use paced::{NetworkRefusal, pace, pace_networks};
use places::Places;

pub use asker::{Asker, RateOwner};
pub use attempts::{Acquaintance, AttemptLimits, LoginAttempt};
pub use class::Class;
pub use figures::AdmissionFigures;
pub use places::AddressPlace;

/// Why a request was refused admission. No state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// This part of the service is switched off.
    Off,
    /// The user or the address is on the blacklist.
    Blocked,
    /// The rate is exceeded. A retry may succeed after `wait_seconds`, at least 1.
    TooFast { wait_seconds: u64 },
}

/// Seconds after which an address without a free place for an event stream should ask again.
const VIEW_AGAIN_SECONDS: u64 = 30;

/// Decides admission. One instance is shared by all workers of the process.
pub struct Admission {
    pub settings: Arc<Settings>,
    pub blacklist: Arc<Blacklist>,
    pub share: Arc<LimitShare>,
    /// Paces of claims, apart from those of other requests, so that few tables are touched by a claim.
    users: Keyed<UserId, Pace>,
    networks: Keyed<Network, Pace>,
    /// Paces of other requests.
    class_users: Keyed<(Class, UserId), Pace>,
    class_keys: Keyed<(Class, KeyId), Pace>,
    /// By class, whether the request had a valid token, and network.
    class_networks: Keyed<(Class, bool, Network), Pace>,
    /// Rate refusals of the last minute, apart from the paces. Few users have any, so pace tables fit the CPU cache.
    offences: Keyed<Subject, Tally>,
    attempts: Attempts,
    /// Event streams of an address at the same time, 0 for no limit, and those that are open.
    viewers_of_address_max: u32,
    viewers: Arc<Places>,
    off: AtomicU64,
    blocked: AtomicU64,
    too_fast: AtomicU64,
}

impl Admission {
    pub fn new(
        settings: Arc<Settings>,
        blacklist: Arc<Blacklist>,
        share: Arc<LimitShare>,
        limits: AttemptLimits,
        viewers_of_address_max: u32,
    ) -> Self {
        Self {
            settings,
            blacklist,
            users: Keyed::new(limits.keys_max),
            networks: Keyed::new(limits.keys_max),
            class_users: Keyed::new(limits.keys_max),
            class_keys: Keyed::new(limits.keys_max),
            class_networks: Keyed::new(limits.keys_max),
            offences: Keyed::new(limits.keys_max),
            attempts: Attempts::new(limits, Arc::clone(&share)),
            share,
            viewers_of_address_max,
            viewers: Arc::default(),
            off: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            too_fast: AtomicU64::new(0),
        }
    }

    /// Decides whether `user` may try to claim at `now_ms` (milliseconds since 1970). `address` is called only if
    /// addresses are limited or blocked, or if a table is full.
    ///
    /// # Errors
    /// [`TurnedAway`], checked in this order: switch, blacklist, rate of the user, rate of the address.
    pub fn claim(&self, user: UserId, address: impl Fn() -> Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.part(|switches| switches.claim)?;
        let limits = self.settings.limits();
        let known = (limits.count_addresses() || self.blacklist.has_addresses()).then(&address);
        self.not_blocked(Some(user), known, now_ms)?;

        let rates = self.rates(limits.user_per_second, limits.user_per_minute);
        pace(&self.users, user, &address, rates, now_ms)
            .map_err(|wait_ms| self.offence(Subject::User(user), &address, wait_ms, &limits, now_ms))?;
        // After the user's rate, so that a refused user takes nothing from the address's rate.
        let Some(address) = known.filter(|address| limits.counts(*address)) else { return Ok(()) };
        let rates = self.rates(limits.ip_per_second, limits.ip_per_minute);
        pace_networks(&self.networks, |network| network, address, rates, now_ms).map_err(|refused| match refused {
            NetworkRefusal::Own { wait_ms } => {
                self.offence(Subject::Address(address), || address, wait_ms, &limits, now_ms)
            }
            NetworkRefusal::Wider { wait_ms } => self.turned(too_fast(wait_ms)),
        })
    }

    /// Gives an address a place for an event stream. `None` if the address is not limited.
    ///
    /// # Errors
    /// [`TurnedAway::TooFast`] if the address has as many open streams as it may have.
    pub fn view(&self, address: Address) -> Result<Option<AddressPlace>, TurnedAway> {
        if self.viewers_of_address_max == 0 || self.is_exempt(address) {
            return Ok(None);
        }
        let place = self.viewers.take(address, self.share.of(self.viewers_of_address_max));
        place.map(Some).ok_or_else(|| self.turned(TurnedAway::TooFast { wait_seconds: VIEW_AGAIN_SECONDS }))
    }

    /// Checks that a part of the service is switched on.
    ///
    /// # Errors
    /// [`TurnedAway::Off`].
    pub fn part(&self, is_on: impl FnOnce(&Switches) -> bool) -> Result<(), TurnedAway> {
        if is_on(&self.settings.switches()) { Ok(()) } else { Err(self.turned(TurnedAway::Off)) }
    }

    /// Decides whether a client at `address` may register a user of `kind`, and counts the attempt.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub fn register(&self, kind: Kind, address: Address, now_ms: u64) -> Result<(), TurnedAway> {
        self.part(|switches| kind != Kind::Saler || switches.register_saler)?;
        self.not_blocked(None, Some(address), now_ms)?;
        let is_exempt = self.is_exempt(address);
        self.wait(if is_exempt { None } else { self.attempts.registered(address, now_ms) })
    }

    /// Decides whether a client may log in. Called before the password check and again after it: parallel guesses reveal no
    /// more than guesses in sequence.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub fn log_in(&self, attempt: &LoginAttempt<'_>, now_ms: u64) -> Result<(), TurnedAway> {
        self.not_blocked(None, Some(attempt.address), now_ms)?;
        self.wait(self.attempts.log_in_wait(attempt, self.is_exempt(attempt.address), now_ms))
    }

    /// Counts a failed login.
    ///
    /// # Errors
    /// [`TurnedAway`] above the limit. The caller must then answer with the refusal, not with "wrong password".
    pub fn log_in_failed(&self, attempt: &LoginAttempt<'_>, now_ms: u64) -> Result<(), TurnedAway> {
        self.wait(self.attempts.log_in_failed(attempt, self.is_exempt(attempt.address), now_ms))
    }

    /// Checks that neither the user nor the address is on the blacklist.
    ///
    /// # Errors
    /// [`TurnedAway::Blocked`].
    pub fn not_blocked(&self, user: Option<UserId>, address: Option<Address>, now_ms: u64) -> Result<(), TurnedAway> {
        if self.is_blocked(user, address, now_ms) { Err(self.turned(TurnedAway::Blocked)) } else { Ok(()) }
    }

    /// Whether the user or the address is on the blacklist.
    pub fn is_blocked(&self, user: Option<UserId>, address: Option<Address>, now_ms: u64) -> bool {
        let now_seconds = now_ms / 1_000;
        user.is_some_and(|user| self.blacklist.blocks_user(user, now_seconds))
            || address.is_some_and(|address| self.blacklist.blocks_address(address, now_seconds))
    }

    /// Whether [`Admission::log_in`] would let a client in now. Counts no refusal.
    pub fn may_log_in(&self, attempt: &LoginAttempt<'_>, now_ms: u64) -> bool {
        !self.is_blocked(None, Some(attempt.address), now_ms)
            && self.attempts.log_in_wait(attempt, self.is_exempt(attempt.address), now_ms).is_none()
    }

    /// The part of a limit that this instance admits.
    fn rates(&self, per_second: u32, per_minute: u32) -> Rates {
        Rates { per_second: self.share.of(per_second), per_minute: self.share.of(per_minute) }
    }

    /// Counts a rate refusal of `subject`, and blocks the subject after too many in a minute. In a full table nobody is blocked.
    fn offence(
        &self,
        subject: Subject,
        address: impl FnOnce() -> Address,
        wait_ms: u64,
        limits: &Limits,
        now_ms: u64,
    ) -> TurnedAway {
        let is_on = limits.offences_per_minute > 0 && limits.offender_seconds > 0;
        let max = self.share.of(limits.offences_per_minute);
        let is_offender = |tally: &mut Tally, times| tally.add(now_ms) > max && times == 1;
        if is_on && self.offences.change(subject, address, now_ms, is_offender) {
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

    /// Whether operators have exempted the address from limits.
    fn is_exempt(&self, address: Address) -> bool {
        !self.settings.limits().counts(address)
    }

    fn wait(&self, wait_ms: Option<u64>) -> Result<(), TurnedAway> {
        wait_ms.map_or(Ok(()), |wait_ms| Err(self.turned(too_fast(wait_ms))))
    }
}

fn too_fast(wait_ms: u64) -> TurnedAway {
    TurnedAway::TooFast { wait_seconds: wait_ms.div_ceil(1_000).max(1) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::domain::RateShare;
    use crate::memory::{BlacklistLimits, Setting};
    use crate::mysql as db;
    use crate::mysql::Db;

    const NOW: u64 = 1_700_000_000_000;
    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    /// The database behind it is never asked.
    fn admission(limits: &serde_json::Value) -> Admission {
        let wait = Duration::from_secs(1);
        let db_limits = db::DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, db_limits).expect("it connects to nothing yet");
        let settings = Settings::new(db.clone(), Limits::default());
        let limits = Limits::parse(limits.as_object().expect("an object"), &Limits::default()).expect("they are good");
        settings.anticipate(&Setting::Limits(limits));
        let share = LimitShare::new(db.clone(), RateShare::Divided);
        let blacklist = Blacklist::new(db, BlacklistLimits { blocks_max: 10, offenders_waiting_max: 2 });
        let attempts = AttemptLimits {
            failed_logins_of_name: 3,
            failed_logins_of_address: 5,
            registrations_of_address: 2,
            keys_max: 1_000,
        };
        Admission::new(Arc::new(settings), Arc::new(blacklist), Arc::new(share), attempts, 0)
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
    fn a_wider_network_that_is_used_up_makes_no_offender_of_its_addresses() {
        let limits = json!({"user_per_second": 0, "user_per_minute": 0, "ip_per_minute": 2,
            "offences_per_minute": 1, "offender_seconds": 60});
        let admission = admission(&limits);
        let of_64 = |n: u16| Address::new(std::net::Ipv6Addr::new(0x2001, 0xdb8, 7, n, 0, 0, 0, 1).into());
        let passed = (0..100).filter(|n| admission.claim(ANN, || of_64(*n), NOW).is_ok()).count();
        assert_eq!(passed, 32, "16 times the limit of an address, for a /56");
        for _ in 0..9 {
            assert_eq!(admission.claim(ANN, || of_64(99), NOW), too_fast(2), "of the /56");
        }
        assert_eq!(admission.figures().offenders, 0);
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
