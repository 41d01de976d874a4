//! The claim path: activity, refusal from memory, gate, ledger slot, script, filled slot.
//!
//! The slot is reserved before the script runs, so a granted claim always has a place in the ledger. The script also
//! writes the outbox entry, atomically with the grant. A claim survives even if the handler is dropped half-way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claim_metrics::ClaimFigures;
use super::outcome::ClaimOutcome;
use super::{
    Applicant, ArchivedCoupons, ConditionChecks, Denied, Doubt, Gate, Ledger, Missing, MissingCoupons, Pass, Place,
    Refusals, Slot, Teller, Told, Waiter,
};
use crate::domain::{Activity, CouponId, Durability, Nth, Phase, Refusal, Schedule, UserId};
use crate::memory::Activities;
use crate::mysql::Db;
use crate::redis::{Attempt, CLOCK_ERROR_MS, Connection, KvError, Stock, Taken};

/// Maximum calls to Redis for an attempt: the first, and retries with newer or neighbouring activities.
const ASKED_MAX: usize = 3;

/// All parts of the claim path. Clones share the parts.
#[derive(Clone)]
pub struct Claiming {
    pub gate: Arc<Gate>,
    pub activities: Arc<Activities>,
    pub refusals: Arc<Refusals>,
    pub missing: Arc<MissingCoupons>,
    pub archived: Arc<ArchivedCoupons>,
    pub conditions: Arc<ConditionChecks>,
    pub ledger: Ledger,
    pub stock: Stock,
    pub figures: Arc<ClaimFigures>,
    /// For reading the rows of claims that have left the outbox.
    pub db: Db,
    /// Timeout for a reply from Redis.
    pub wait: Duration,
}

/// What a caller wants of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Asks for the n-th claim of the coupon by the user. A claim that is already held is returned, so retries are
    /// idempotent. `None` asks for the next claim.
    pub nth: Option<Nth>,
    /// What must be certain before a claim is returned.
    pub durability: Durability,
}

/// The outcome of an attempt, and its handler if the handler has to wait for the commit.
struct Attempted<'a> {
    outcome: ClaimOutcome,
    waiting: Option<(Waiter<'a>, Teller)>,
}

impl From<ClaimOutcome> for Attempted<'_> {
    fn from(outcome: ClaimOutcome) -> Self {
        Self { outcome, waiting: None }
    }
}

impl Claiming {
    /// Tries to claim a unit of `coupon` for `user` over this thread's `connection`. `applicant` is asked about the
    /// conditions of the activity. With [`Durability::Stored`], a claim is returned only after MySQL has committed it, and
    /// the outcome is unknown without a commit in time.
    pub async fn claim(
        &self,
        connection: &Connection,
        coupon: CouponId,
        user: UserId,
        applicant: &dyn Applicant,
        wish: Wish,
    ) -> ClaimOutcome {
        let began = Instant::now();
        let Attempted { mut outcome, waiting } = self.attempt(began, connection, coupon, user, applicant, wish).await;
        // The attempt has left the gate, so waiting handlers take no in-flight places.
        if let Some((waiter, teller)) = waiting
            && Box::pin(waiter.told(teller, &self.db)).await != Some(Told::Stored)
        {
            outcome = ClaimOutcome::Unknown;
        }
        self.figures.note(&outcome, began.elapsed());
        outcome
    }

    async fn attempt(
        &self,
        began: Instant,
        connection: &Connection,
        coupon: CouponId,
        user: UserId,
        applicant: &dyn Applicant,
        wish: Wish,
    ) -> Attempted<'_> {
        let now_ms = connection.server_ms_at(began);
        let schedule = self.activities.of(coupon);
        // Checked before the gate, so that attempts decided in memory take no in-flight place.
        if let Some(refusal) = self.refusals.refuse(coupon, user, schedule.as_deref(), began, now_ms) {
            return ClaimOutcome::Refused(refusal).into();
        }
        let Ok(place) = self.place(wish.durability) else { return ClaimOutcome::Overloaded.into() };
        let pass = match self.gate.enter() {
            Ok(pass) => pass,
            Err(Denied::Full) => return ClaimOutcome::Overloaded.into(),
            Err(Denied::Closed(_)) => return ClaimOutcome::Unavailable.into(),
        };
        if !connection.leads_to(pass.live()) {
            self.gate.doubt(Doubt::OtherProcess);
            return ClaimOutcome::Unavailable.into();
        }
        let Ok(slot) = self.ledger.reserve() else { return ClaimOutcome::Overloaded.into() };
        let attempt = Attempt { nth: wish.nth, ..Attempt::new(coupon, user) };
        let outcome = match self.ask(connection, &pass, attempt, applicant, schedule, now_ms).await {
            Ok(Taken::Missing) => {
                let epoch = pass.live().epoch;
                // Given back first, because MySQL may take long.
                drop((slot, pass, place));
                match Box::pin(self.missing.look_up(coupon, epoch)).await {
                    Missing::Deleted => ClaimOutcome::Refused(Refusal::NoSuchCoupon),
                    Missing::Closed => ClaimOutcome::Unavailable,
                }
            }
            Ok(Taken::Archived(tombstone)) => {
                // Given back first, as above. A claim of an archived coupon is stored, so no handler waits for a commit.
                drop((slot, pass, place));
                Box::pin(self.archived.answer(&attempt, tombstone, connection.server_ms())).await
            }
            Ok(taken) => return self.conclude(slot, place, coupon, taken),
            Err(KvError::Full) => ClaimOutcome::Overloaded,
            Err(error) if error.nothing_happened() => {
                if error.write_refusal().is_some() {
                    self.gate.doubt(Doubt::NotLoaded);
                }
                ClaimOutcome::Unavailable
            }
            Err(_) => ClaimOutcome::Unknown,
        };
        outcome.into()
    }

    /// A place to wait for the commit, if the caller wants to. The error means that all places are taken.
    fn place(&self, durability: Durability) -> Result<Option<Place<'_>>, ()> {
        match durability {
            Durability::Granted => Ok(None),
            Durability::Stored => self.ledger.state().waiters.place().map(Some).ok_or(()),
        }
    }

    /// Asks Redis under the activity in force at `now_ms` (milliseconds since 1970, Redis' clock).
    async fn ask(
        &self,
        connection: &Connection,
        pass: &Pass<'_>,
        attempt: Attempt<'_>,
        applicant: &dyn Applicant,
        mut schedule: Option<Arc<Schedule>>,
        mut now_ms: u64,
    ) -> Result<Taken, KvError> {
        let mut taken = Taken::Stale;
        for _ in 0..ASKED_MAX {
            let activity_revision = schedule.as_ref().map_or(0, |schedule| schedule.revision);
            let activity = schedule.as_ref().and_then(|schedule| schedule.at(now_ms));
            let random = if activity.is_some() { rand::random() } else { 0 };
            let conditional = activity.filter(|activity| activity.is_conditional(now_ms));
            let checked = conditional
                .map_or(Ok(None), |activity| self.conditions.check(activity, attempt.user, applicant, now_ms));
            let failed = checked.as_ref().err().copied();
            if failed.is_some() && !self.conditions.may_ask_nevertheless(attempt.coupon, now_ms) {
                return Err(KvError::Full);
            }
            let attempt = Attempt { activity_revision, activity, only_held: failed.is_some(), random, ..attempt };
            let asked = Instant::now();
            let reply = self.stock.take(connection, pass.live(), &attempt, self.wait).await;
            if matches!(reply, Ok(_) | Err(KvError::TimedOut)) {
                let waited = asked.elapsed();
                self.figures.asked.note_time(waited);
                pass.note(waited);
            }
            let may_be_granted = match &reply {
                Ok(taken) => matches!(taken, Taken::Claimed { .. }),
                Err(error) => !error.nothing_happened(),
            };
            // A handler that is dropped here has not given the place back, because its claim may be granted.
            if let Ok(Some(place)) = checked
                && !may_be_granted
            {
                place.give_back();
            }
            taken = reply?;
            if let (Taken::Refused(Refusal::Disabled), Some(failed)) = (&taken, failed) {
                return Ok(Taken::Refused(failed));
            }
            match (&taken, &schedule, activity) {
                // Boxed, so that the rare refresh does not enlarge the future of every attempt.
                (Taken::Stale, ..) if Box::pin(self.refresh(attempt.coupon, activity_revision)).await => {
                    schedule = self.activities.of(attempt.coupon);
                }
                (Taken::Refused(refusal), Some(schedule), Some(activity)) => {
                    let Some(then_ms) = across_the_edge(schedule, activity, *refusal, now_ms) else { break };
                    now_ms = then_ms;
                }
                _ => break,
            }
        }
        Ok(taken)
    }

    /// Reads the coupon's activities. Returns `false` if MySQL did not answer in time.
    async fn refresh(&self, coupon: CouponId, known: u64) -> bool {
        let refreshed = tokio::time::timeout(self.wait, self.activities.refresh(coupon, known)).await;
        if let Ok(Err(Some(error))) = &refreshed {
            log::warn!(
                "coupon {coupon} is not sold: its activities cannot be read: {}",
                crate::base::error_chain(error)
            );
        }
        matches!(refreshed, Ok(Ok(())))
    }

    fn conclude<'a>(
        &'a self,
        slot: Slot<'_>,
        place: Option<Place<'a>>,
        coupon: CouponId,
        taken: Taken,
    ) -> Attempted<'a> {
        let outcome = match taken {
            Taken::Claimed { claim, entry_claims } => {
                crate::base::crash::point("after-script");
                // Registered first, because MySQL may have the claim soon after it is handed over.
                let waiting = place.map(|place| (place.register(claim), Teller::Ledger));
                slot.put(claim, entry_claims);
                return Attempted { outcome: ClaimOutcome::Claimed(claim), waiting };
            }
            Taken::Already { claim, pending } => {
                let waiter = place.map(|place| place.register(claim));
                // The claim gets a signed token, so it must reach MySQL even if Redis loses the outbox.
                let teller = match pending {
                    true if self.ledger.vouch(slot, claim) => Teller::Ledger,
                    true => Teller::LedgerOrMysql,
                    false => Teller::Mysql,
                };
                let waiting = waiter.map(|waiter| (waiter, teller));
                return Attempted { outcome: ClaimOutcome::Already(claim), waiting };
            }
            Taken::Refused(refusal) => {
                self.refusals.notice(coupon, refusal);
                ClaimOutcome::Refused(refusal)
            }
            Taken::Backlog | Taken::TooLate => ClaimOutcome::Overloaded,
            // MySQL has newer activities but did not answer in time. Selling by the old ones would be wrong.
            Taken::Stale => ClaimOutcome::Unavailable,
            // A missing or archived coupon was looked up before.
            Taken::NotLoaded | Taken::Missing | Taken::Archived(_) => {
                self.gate.doubt(Doubt::NotLoaded);
                ClaimOutcome::Unavailable
            }
        };
        outcome.into()
    }
}

/// Redis refused at an edge of the activity's window. If the neighbouring activity is near enough for a clock
/// difference to explain the refusal, returns a time in that activity, in milliseconds since 1970. Otherwise `None`,
/// and the refusal stands.
fn across_the_edge(schedule: &Schedule, asked: &Activity, refusal: Refusal, now_ms: u64) -> Option<u64> {
    let then_ms = match refusal {
        Refusal::Ended => asked.terms.window.end() * 1_000,
        Refusal::NotStarted => (asked.terms.window.start() * 1_000).checked_sub(1)?,
        _ => return None,
    };
    let near = then_ms.abs_diff(now_ms) <= CLOCK_ERROR_MS;
    let is_other = |other: &Activity| other.id != asked.id && other.terms.window.phase(then_ms) == Phase::Within;
    (near && schedule.at(then_ms).is_some_and(is_other)).then_some(then_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityId, ActivityName, Conditions, CouponName, Rate, Status, Terms, UserName, Window};

    /// Activity 1 from 100 s to 200 s, activity 2 from 200 s to 300 s, and activity 4 from 400 s to 500 s.
    fn schedule() -> Schedule {
        let activity = |id: u32| {
            let name = ActivityName::parse("a".to_owned()).expect("a name");
            let window = Window::new(u64::from(id) * 100, u64::from(id) * 100 + 100).expect("a window");
            let (status, buy_rate) = (Status::Normal, Rate::ALL);
            let terms = Terms { name, window, total: 0, status, speed: 0, buy_limit: 1, buy_rate };
            Activity { id: ActivityId(id), coupon: CouponId(1), terms, conditions: Conditions::default() }
        };
        let saler = UserName::parse("s".to_owned()).expect("a name");
        let name = CouponName::parse("c".to_owned()).expect("a name");
        Schedule::new(CouponId(1), saler, name, 1, vec![activity(2), activity(4), activity(1)])
    }

    #[test]
    fn a_clock_that_is_a_little_wrong_asks_for_the_neighbour_of_the_activity_that_refused() {
        let schedule = schedule();
        let asked = |now_ms, refusal| {
            let activity = schedule.at(now_ms).expect("one decides");
            let then_ms = across_the_edge(&schedule, activity, refusal, now_ms)?;
            schedule.at(then_ms).map(|activity| activity.id.0)
        };
        assert_eq!(asked(199_990, Refusal::Ended), Some(2), "Redis is ahead of us");
        assert_eq!(asked(200_010, Refusal::NotStarted), Some(1), "Redis is behind us");
        assert_eq!(asked(199_990, Refusal::SoldOut), None);
        assert_eq!(asked(99_990, Refusal::NotStarted), None, "nothing came before it");
        assert_eq!(asked(299_990, Refusal::Ended), None, "what follows it has not begun");
        assert_eq!(asked(400_010, Refusal::NotStarted), None, "what came before it is over");
        assert_eq!(asked(499_990, Refusal::Ended), None, "nothing follows it");
        assert_eq!(asked(150_000, Refusal::Ended), None, "no clock is as wrong");
    }
}
