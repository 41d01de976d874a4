//! Checks the conditions of an activity, from memory.
//!
//! Memory does not know who holds a claim. So an attempt that fails a condition still goes to the claim script, as an
//! attempt at a disabled activity: the script answers a holder with the claim, and everybody else with a refusal. Such
//! attempts need Redis, so they have a limit for each second.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Activity, ActivityId, CouponId, Network, Refusal, TicketRule, UserId};
use crate::memory::LimitShare;

/// Maximum attempts a second that fail a condition and are sent to Redis nevertheless, for each counter.
const FAILED_PER_SECOND_MAX: u32 = 2_000;
/// Counters of failed attempts. The coupon chooses the counter, so robots at one sale rarely hold up the holders of another.
const FAILED_COUNTERS: usize = 64;
/// Maximum counted pairs of an activity and a network, about 60 bytes each. With a full table, further networks are not
/// counted.
pub const WINNING_NETWORKS_MAX: usize = 1_000_000;

/// The sender of an attempt, as conditions see him. Methods are called only if an activity has the condition.
pub trait Applicant {
    /// The network whose claims are counted, or `None` if its claims are not counted.
    fn network(&self) -> Option<Network>;
    /// Whether the attempt has a valid ticket. `now_ms` is in milliseconds since 1970.
    fn has_ticket(&self, rule: TicketRule, activity: ActivityId, now_ms: u64) -> bool;
}

/// Shared by all shards of the process.
pub struct ConditionChecks {
    share: Arc<LimitShare>,
    winners: Mutex<Winners>,
    /// The current second and the failed attempts in it, in the upper and lower 32 bits.
    failed: [AtomicU64; FAILED_COUNTERS],
    hasher: RandomState,
}

/// A claim that is counted before the script decides. Given back if no claim was granted.
pub struct NetworkPlace<'a> {
    checks: &'a ConditionChecks,
    activity: ActivityId,
    network: Network,
}

/// Claims by activity and network. They are forgotten at a restart, and each instance counts its own.
#[derive(Default)]
struct Winners {
    by_activity: HashMap<ActivityId, WinnersOfActivity>,
    networks: usize,
    /// The second in which a full table was last swept.
    swept: u64,
}

struct WinnersOfActivity {
    /// The end of the activity, in seconds since 1970.
    end: u64,
    claims: HashMap<Network, u32>,
}

impl ConditionChecks {
    pub fn new(share: Arc<LimitShare>) -> Self {
        let failed = std::array::from_fn(|_| AtomicU64::new(0));
        Self { share, winners: Mutex::default(), failed, hasher: RandomState::new() }
    }

    /// Checks the conditions for `user`. Counts a claim of the network in advance, because hundreds of attempts may be in flight.
    ///
    /// # Errors
    /// The condition that the user fails.
    pub fn check(
        &self,
        activity: &Activity,
        user: UserId,
        applicant: &dyn Applicant,
        now_ms: u64,
    ) -> Result<Option<NetworkPlace<'_>>, Refusal> {
        let conditions = &activity.conditions;
        if conditions.registered.is_some_and(|registered| user > registered.last_user) {
            return Err(Refusal::NotEligible);
        }
        if conditions.ticket.is_some_and(|rule| !applicant.has_ticket(rule, activity.id, now_ms)) {
            return Err(Refusal::TicketRequired);
        }
        if conditions.network_winners == 0 {
            return Ok(None);
        }
        let Some(network) = applicant.network() else { return Ok(None) };
        let max = self.share.of(conditions.network_winners.into());
        match self.winners().take(activity, network, max, now_ms / 1_000) {
            Took::Place => Ok(Some(NetworkPlace { checks: self, activity: activity.id, network })),
            Took::NotCounted => Ok(None),
            Took::None => Err(Refusal::NetworkLimit),
        }
    }

    /// Whether one more attempt at `coupon` that fails a condition may go to Redis at `now_ms`, in milliseconds since 1970.
    pub fn may_ask_nevertheless(&self, coupon: CouponId, now_ms: u64) -> bool {
        let counter = usize::try_from(self.hasher.hash_one(coupon) % FAILED_COUNTERS as u64).unwrap_or(0);
        let second = (now_ms / 1_000) << 32;
        let counted = |state: u64| if (state >> 32) << 32 == second { state + 1 } else { second + 1 };
        let before =
            self.failed[counter].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(counted(state)));
        let before = before.unwrap_or_else(|before| before);
        counted(before) - second <= u64::from(FAILED_PER_SECOND_MAX)
    }

    /// Counted pairs of an activity and a network, up to [`WINNING_NETWORKS_MAX`].
    pub fn winning_networks(&self) -> usize {
        self.winners().networks
    }

    fn winners(&self) -> MutexGuard<'_, Winners> {
        self.winners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of counting a claim of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    Place,
    /// The table is full.
    NotCounted,
    /// The network has as many claims as it may have.
    None,
}

impl NetworkPlace<'_> {
    /// No claim was granted.
    pub fn give_back(self) {
        self.checks.winners().give_back(self.activity, self.network);
    }
}

impl Winners {
    /// Counts a claim of the network, unless it has `max`. `now` is in seconds since 1970.
    fn take(&mut self, activity: &Activity, network: Network, max: u32, now: u64) -> Took {
        let known = self.by_activity.get_mut(&activity.id).and_then(|winners| winners.claims.get_mut(&network));
        if let Some(claims) = known {
            if *claims >= max {
                return Took::None;
            }
            *claims += 1;
            return Took::Place;
        }
        if self.networks >= WINNING_NETWORKS_MAX && self.swept < now {
            self.swept = now;
            self.by_activity.retain(|_, winners| winners.end > now);
            self.networks = self.by_activity.values().map(|winners| winners.claims.len()).sum();
        }
        if self.networks >= WINNING_NETWORKS_MAX {
            return Took::NotCounted;
        }
        let new = || WinnersOfActivity { end: 0, claims: HashMap::new() };
        let winners = self.by_activity.entry(activity.id).or_insert_with(new);
        winners.end = activity.terms.window.end();
        winners.claims.insert(network, 1);
        self.networks += 1;
        Took::Place
    }

    fn give_back(&mut self, activity: ActivityId, network: Network) {
        let winners = self.by_activity.get_mut(&activity);
        if let Some(claims) = winners.and_then(|winners| winners.claims.get_mut(&network)) {
            *claims = claims.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityName, Address, Conditions, Rate, RateShare, Status, Terms, Window};
    use crate::mysql::{Db, DbLimits};

    fn activity(id: u32, end: u64) -> Activity {
        let name = ActivityName::parse("noon".to_owned()).expect("a name");
        let window = Window::new(0, end).expect("a window");
        let terms =
            Terms { name, window, total: 0, status: Status::Normal, speed: 0, buy_limit: 1, buy_rate: Rate::ALL };
        let conditions = Conditions { network_winners: 2, ..Conditions::default() };
        Activity { id: ActivityId(id), coupon: CouponId(1), terms, conditions }
    }

    fn network(text: &str) -> Network {
        text.parse::<Address>().expect("an address").claiming_network()
    }

    #[test]
    fn claims_are_counted_by_activity_and_network_until_they_are_given_back() {
        let mut winners = Winners::default();
        let mut take = |id, address| winners.take(&activity(id, 10), network(address), 2, 0);
        let taken = ["192.0.2.1", "192.0.2.200", "192.0.2.77", "2001:db8:0:1::1", "2001:db8:0:ff::1", "2001:db8::9"];
        let taken = taken.map(|address| take(1, address));
        assert_eq!(taken, [Took::Place, Took::Place, Took::None, Took::Place, Took::Place, Took::None]);
        assert_eq!((take(1, "192.0.3.1"), take(2, "192.0.2.1")), (Took::Place, Took::Place));
        winners.give_back(ActivityId(1), network("192.0.2.9"));
        assert_eq!(winners.take(&activity(1, 10), network("192.0.2.3"), 2, 0), Took::Place);
        assert_eq!(winners.networks, 4);
    }

    #[test]
    fn a_full_table_forgets_activities_that_are_over_and_counts_no_new_network() {
        let mut winners = Winners::default();
        let full = |winners: &mut Winners| {
            let claims = (0..WINNING_NETWORKS_MAX).map(filler).collect();
            winners.by_activity.insert(ActivityId(3), WinnersOfActivity { end: 20, claims });
            winners.networks = WINNING_NETWORKS_MAX;
        };
        winners.take(&activity(1, 10), network("192.0.2.1"), 2, 0);
        full(&mut winners);
        assert_eq!(winners.take(&activity(2, 30), network("198.51.100.1"), 2, 15), Took::NotCounted);
        assert_eq!(winners.take(&activity(3, 20), filler(7).0, 2, 15), Took::Place, "the network is counted already");
        assert_eq!(winners.take(&activity(2, 30), network("198.51.100.1"), 2, 25), Took::Place, "the rest is over");
        assert_eq!((winners.networks, winners.by_activity.len()), (1, 1));
    }

    #[test]
    fn so_many_attempts_a_second_that_fail_a_condition_go_to_redis() {
        let wait = std::time::Duration::from_secs(1);
        let limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, limits).expect("it connects to nothing yet");
        let checks = ConditionChecks::new(Arc::new(LimitShare::new(db, RateShare::Whole)));
        let asked = |now_ms| {
            (0..FAILED_PER_SECOND_MAX * 2).filter(|_| checks.may_ask_nevertheless(CouponId(1), now_ms)).count()
        };
        for now_ms in [7_000, 8_999] {
            assert_eq!(u32::try_from(asked(now_ms)), Ok(FAILED_PER_SECOND_MAX));
            assert_eq!(asked(now_ms), 0);
        }
    }

    fn filler(n: usize) -> (Network, u32) {
        let n = u32::try_from(n).expect("a million");
        (Address::new(std::net::Ipv4Addr::from_bits(n << 8).into()).claiming_network(), 1)
    }
}
