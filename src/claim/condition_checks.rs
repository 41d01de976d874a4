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
/// Maximum counted winners of all activities, about 60 bytes each. With a full table, further winners are not counted.
pub const WINNERS_MAX: usize = 1_000_000;

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

/// The place of a winner, taken before the script decides. Given back if no claim was granted.
pub struct NetworkPlace<'a> {
    checks: &'a ConditionChecks,
    activity: ActivityId,
    network: Network,
    user: UserId,
}

/// Winners by activity and network. They are forgotten at a restart, and each instance counts its own.
///
/// A user has one place, however often the user asks. So who hangs up again and again takes no places from the network.
/// The place is given back with the last attempt without a claim: of two attempts in flight, the second may be granted.
#[derive(Default)]
struct Winners {
    by_activity: HashMap<ActivityId, WinnersOfActivity>,
    count: usize,
    /// The second in which a full table was last swept.
    swept: u64,
}

struct WinnersOfActivity {
    /// The end of the activity, in seconds since 1970.
    end: u64,
    users: HashMap<Network, Vec<Winner>>,
}

struct Winner {
    user: UserId,
    /// Attempts that were granted, are in flight, or ended without being given back.
    attempts: u32,
}

impl ConditionChecks {
    pub fn new(share: Arc<LimitShare>) -> Self {
        let failed = std::array::from_fn(|_| AtomicU64::new(0));
        Self { share, winners: Mutex::default(), failed, hasher: RandomState::new() }
    }

    /// Checks the conditions for `user`. Takes a place of the network in advance, because hundreds of attempts may be in flight.
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
        match self.winners().take(activity, network, user, max, now_ms / 1_000) {
            Took::Place => Ok(Some(NetworkPlace { checks: self, activity: activity.id, network, user })),
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

    /// Counted winners, up to [`WINNERS_MAX`].
    pub fn counted_winners(&self) -> usize {
        self.winners().count
    }

    fn winners(&self) -> MutexGuard<'_, Winners> {
        self.winners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of taking a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    Place,
    /// The table is full.
    NotCounted,
    /// The network has as many winners as it may have.
    None,
}

impl NetworkPlace<'_> {
    /// No claim was granted.
    pub fn give_back(self) {
        self.checks.winners().give_back(self.activity, self.network, self.user);
    }
}

impl Winners {
    /// Takes a place for `user`, unless the network has `max` winners. `now` is in seconds since 1970.
    fn take(&mut self, activity: &Activity, network: Network, user: UserId, max: u32, now: u64) -> Took {
        let known = self.by_activity.get_mut(&activity.id).and_then(|winners| winners.users.get_mut(&network));
        if let Some(users) = known {
            if let Some(winner) = users.iter_mut().find(|winner| winner.user == user) {
                winner.attempts = winner.attempts.saturating_add(1);
                return Took::Place;
            }
            if users.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
                return Took::None;
            }
        }
        if self.count >= WINNERS_MAX && self.swept < now {
            self.swept = now;
            self.by_activity.retain(|_, winners| winners.end > now);
            self.count = self.by_activity.values().flat_map(|winners| winners.users.values()).map(Vec::len).sum();
        }
        if self.count >= WINNERS_MAX {
            return Took::NotCounted;
        }
        let new = || WinnersOfActivity { end: 0, users: HashMap::new() };
        let winners = self.by_activity.entry(activity.id).or_insert_with(new);
        winners.end = activity.terms.window.end();
        winners.users.entry(network).or_default().push(Winner { user, attempts: 1 });
        self.count += 1;
        Took::Place
    }

    fn give_back(&mut self, activity: ActivityId, network: Network, user: UserId) {
        let Some(winners) = self.by_activity.get_mut(&activity) else { return };
        let Some(users) = winners.users.get_mut(&network) else { return };
        let Some(place) = users.iter().position(|winner| winner.user == user) else { return };
        users[place].attempts -= 1;
        if users[place].attempts == 0 {
            users.swap_remove(place);
            self.count -= 1;
        }
        // Losers come from any number of networks.
        if users.is_empty() {
            winners.users.remove(&network);
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
    fn winners_are_counted_by_activity_and_network_until_their_place_is_given_back() {
        let mut winners = Winners::default();
        let mut take = |id, address, user| winners.take(&activity(id, 10), network(address), UserId(user), 2, 0);
        let taken = [("192.0.2.1", 1), ("192.0.2.200", 2), ("192.0.2.77", 3), ("192.0.2.9", 1)];
        let taken = taken.map(|(address, user)| take(1, address, user));
        assert_eq!(taken, [Took::Place, Took::Place, Took::None, Took::Place], "a user has one place");
        let taken = [("2001:db8:0:1::1", 1), ("2001:db8:0:ff::1", 2), ("2001:db8::9", 3)];
        assert_eq!(taken.map(|(address, user)| take(1, address, user)), [Took::Place, Took::Place, Took::None]);
        assert_eq!((take(1, "192.0.3.1", 3), take(2, "192.0.2.1", 3)), (Took::Place, Took::Place));
        for user in [1, 9] {
            winners.give_back(ActivityId(1), network("192.0.2.9"), UserId(user));
        }
        let third = |winners: &mut Winners| winners.take(&activity(1, 10), network("192.0.2.3"), UserId(3), 2, 0);
        assert_eq!(third(&mut winners), Took::None, "the other attempt of user 1 may be granted");
        winners.give_back(ActivityId(1), network("192.0.2.9"), UserId(2));
        assert_eq!(third(&mut winners), Took::Place);
        assert_eq!(winners.count, 6);
        winners.give_back(ActivityId(1), network("192.0.3.1"), UserId(3));
        assert_eq!(winners.by_activity[&ActivityId(1)].users.len(), 2, "a network without winners is forgotten");
    }

    #[test]
    fn a_full_table_forgets_activities_that_are_over_and_counts_no_new_winner() {
        let mut winners = Winners::default();
        winners.take(&activity(1, 10), network("192.0.2.1"), UserId(1), 2, 0);
        let users = (0..WINNERS_MAX).map(filler).collect();
        winners.by_activity.insert(ActivityId(3), WinnersOfActivity { end: 20, users });
        winners.count = WINNERS_MAX + 1;
        let mut take = |now| winners.take(&activity(2, 30), network("198.51.100.1"), UserId(1), 2, now);
        assert_eq!((take(15), take(25)), (Took::NotCounted, Took::Place), "the others are over in the end");
        assert_eq!((winners.count, winners.by_activity.len()), (1, 1));
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

    fn filler(n: usize) -> (Network, Vec<Winner>) {
        let n = u32::try_from(n).expect("a million");
        (
            Address::new(std::net::Ipv4Addr::from_bits(n << 8).into()).claiming_network(),
            vec![Winner { user: UserId(1), attempts: 1 }],
        )
    }
}
