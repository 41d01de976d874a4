//! Checks the conditions of an activity, from memory.
//!
//! Memory does not know who holds a claim. So an attempt that fails a condition still goes to the claim script, as an
//! attempt at a disabled activity: the script answers a holder with the claim, and everybody else with a refusal. Such
//! attempts need Redis, so they have a limit for each second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Activity, ActivityId, Network, Refusal, TicketRule, UserId};
use crate::memory::LimitShare;

/// Maximum attempts a second that fail a condition and are sent to Redis nevertheless.
const FAILED_PER_SECOND_MAX: u32 = 2_000;
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
    failed: AtomicU64,
}

/// Claims by activity and network. They are forgotten at a restart, and each instance counts its own.
#[derive(Default)]
struct Winners {
    by_activity: HashMap<ActivityId, WinnersOfActivity>,
    networks: usize,
}

struct WinnersOfActivity {
    /// The end of the activity, in seconds since 1970.
    end: u64,
    claims: HashMap<Network, u32>,
}

impl ConditionChecks {
    pub fn new(share: Arc<LimitShare>) -> Self {
        Self { share, winners: Mutex::default(), failed: AtomicU64::new(0) }
    }

    /// The condition that `user` fails, or `None`.
    pub fn refusal(
        &self,
        activity: &Activity,
        user: UserId,
        applicant: &dyn Applicant,
        now_ms: u64,
    ) -> Option<Refusal> {
        let conditions = &activity.conditions;
        if conditions.registered.is_some_and(|registered| user > registered.last_user) {
            return Some(Refusal::NotEligible);
        }
        if conditions.ticket.is_some_and(|rule| !applicant.has_ticket(rule, activity.id, now_ms)) {
            return Some(Refusal::TicketRequired);
        }
        if conditions.network_winners == 0 {
            return None;
        }
        let claims = self.winners().claims(activity.id, applicant.network()?);
        (claims >= self.share.of(conditions.network_winners.into())).then_some(Refusal::NetworkLimit)
    }

    /// Whether one more attempt that fails a condition may go to Redis at `now_ms`, in milliseconds since 1970.
    pub fn may_ask_nevertheless(&self, now_ms: u64) -> bool {
        let second = (now_ms / 1_000) << 32;
        let counted = |state: u64| if (state >> 32) << 32 == second { state + 1 } else { second + 1 };
        let before = self.failed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(counted(state)));
        let before = before.unwrap_or_else(|before| before);
        counted(before) - second <= u64::from(FAILED_PER_SECOND_MAX)
    }

    /// Counts a granted claim, if the activity limits the claims of a network. `now_ms` is in milliseconds since 1970.
    pub fn note_claim(&self, activity: &Activity, applicant: &dyn Applicant, now_ms: u64) {
        if activity.conditions.network_winners > 0
            && let Some(network) = applicant.network()
        {
            self.winners().add(activity, network, now_ms / 1_000);
        }
    }

    /// Counted pairs of an activity and a network, up to [`WINNING_NETWORKS_MAX`].
    pub fn winning_networks(&self) -> usize {
        self.winners().networks
    }

    fn winners(&self) -> MutexGuard<'_, Winners> {
        self.winners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Winners {
    fn claims(&self, activity: ActivityId, network: Network) -> u32 {
        let of_activity = self.by_activity.get(&activity);
        of_activity.and_then(|winners| winners.claims.get(&network)).copied().unwrap_or(0)
    }

    fn add(&mut self, activity: &Activity, network: Network, now: u64) {
        if self.networks >= WINNING_NETWORKS_MAX {
            self.by_activity.retain(|_, winners| winners.end > now);
            self.networks = self.by_activity.values().map(|winners| winners.claims.len()).sum();
        }
        let is_full = self.networks >= WINNING_NETWORKS_MAX;
        let new = || WinnersOfActivity { end: 0, claims: HashMap::new() };
        let winners = self.by_activity.entry(activity.id).or_insert_with(new);
        winners.end = activity.terms.window.end();
        if let Some(claims) = winners.claims.get_mut(&network) {
            *claims += 1;
        } else if !is_full {
            winners.claims.insert(network, 1);
            self.networks += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityName, Address, Conditions, CouponId, Rate, RateShare, Status, Terms, Window};
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
    fn claims_are_counted_by_activity_and_network() {
        let mut winners = Winners::default();
        for address in ["192.0.2.1", "192.0.2.200", "2001:db8:0:1::1", "2001:db8:0:ff::1"] {
            winners.add(&activity(1, 10), network(address), 0);
        }
        assert_eq!(winners.claims(ActivityId(1), network("192.0.2.77")), 2);
        assert_eq!(winners.claims(ActivityId(1), network("2001:db8::9")), 2);
        assert_eq!(winners.claims(ActivityId(1), network("192.0.3.1")), 0);
        assert_eq!(winners.claims(ActivityId(2), network("192.0.2.1")), 0);
        assert_eq!(winners.networks, 2);
    }

    #[test]
    fn a_full_table_forgets_activities_that_are_over_and_counts_no_new_network() {
        let mut winners = Winners::default();
        winners.add(&activity(1, 10), network("192.0.2.1"), 0);
        winners.add(&activity(2, 20), network("192.0.2.1"), 0);
        winners.networks = WINNING_NETWORKS_MAX;
        winners.add(&activity(2, 20), network("198.51.100.1"), 15);
        assert_eq!((winners.networks, winners.by_activity.len()), (2, 1));
        winners.networks = WINNING_NETWORKS_MAX;
        winners.by_activity.insert(
            ActivityId(3),
            WinnersOfActivity { end: 20, claims: (0..WINNING_NETWORKS_MAX).map(filler).collect() },
        );
        winners.add(&activity(2, 20), network("203.0.113.1"), 15);
        assert_eq!(winners.claims(ActivityId(2), network("203.0.113.1")), 0, "there is no place");
        winners.add(&activity(2, 20), network("192.0.2.1"), 15);
        assert_eq!(winners.claims(ActivityId(2), network("192.0.2.1")), 2, "it has a place");
    }

    #[test]
    fn so_many_attempts_a_second_that_fail_a_condition_go_to_redis() {
        let wait = std::time::Duration::from_secs(1);
        let limits = DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait };
        let db = Db::new("mysql://nobody@127.0.0.1:1/none", None, limits).expect("it connects to nothing yet");
        let checks = ConditionChecks::new(Arc::new(LimitShare::new(db, RateShare::Whole)));
        let asked = |now_ms| (0..FAILED_PER_SECOND_MAX * 2).filter(|_| checks.may_ask_nevertheless(now_ms)).count();
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
