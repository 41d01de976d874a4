//! The claim path: activity, refusal from memory, gate, ledger slot, script, filled slot.
//!
//! The slot is reserved before the script runs, so a granted claim always has a place in the ledger. The script also
//! writes the outbox entry, atomically with the grant. A claim survives even if the handler is dropped half-way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claim_metrics::ClaimFigures;
use super::outcome::ClaimOutcome;
use super::{Denied, Doubt, Gate, Ledger, Missing, MissingCoupons, Pass, Refusals, Slot};
use crate::domain::{Activity, CouponId, Nth, Phase, Refusal, Schedule, UserId};
use crate::memory::Activities;
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
    pub ledger: Ledger,
    pub stock: Stock,
    pub figures: Arc<ClaimFigures>,
    /// Timeout for a reply from Redis.
    pub wait: Duration,
}

impl Claiming {
    /// Tries to claim a unit of `coupon` for `user` over this thread's `connection`. `nth` asks for the n-th claim of
    /// the coupon by the user. A claim that is already held is returned, so retries are idempotent.
    pub async fn claim(
        &self,
        connection: &Connection,
        coupon: CouponId,
        user: UserId,
        nth: Option<Nth>,
    ) -> ClaimOutcome {
        let began = Instant::now();
        let outcome = self.attempt(began, connection, coupon, user, nth).await;
        self.figures.note(&outcome, began.elapsed());
        outcome
    }

    async fn attempt(
        &self,
        began: Instant,
        connection: &Connection,
        coupon: CouponId,
        user: UserId,
        nth: Option<Nth>,
    ) -> ClaimOutcome {
        let now_ms = connection.server_ms_at(began);
        let schedule = self.activities.of(coupon);
        // Checked before the gate, so that attempts decided in memory take no in-flight place.
        if let Some(refusal) = self.refusals.refuse(coupon, user, schedule.as_deref(), began, now_ms) {
            return ClaimOutcome::Refused(refusal);
        }
        let pass = match self.gate.enter() {
            Ok(pass) => pass,
            Err(Denied::Full) => return ClaimOutcome::Overloaded,
            Err(Denied::Closed(_)) => return ClaimOutcome::Unavailable,
        };
        if !connection.leads_to(pass.live()) {
            self.gate.doubt(Doubt::OtherProcess);
            return ClaimOutcome::Unavailable;
        }
        let Ok(slot) = self.ledger.reserve() else { return ClaimOutcome::Overloaded };
        let attempt = Attempt { nth, ..Attempt::new(coupon, user) };
        match self.ask(connection, &pass, attempt, schedule, now_ms).await {
            Ok(Taken::Missing) => {
                let epoch = pass.live().epoch;
                // Given back first, because MySQL may take long.
                drop((slot, pass));
                match Box::pin(self.missing.look_up(coupon, epoch)).await {
                    Missing::Deleted => ClaimOutcome::Refused(Refusal::NoSuchCoupon),
                    Missing::Closed => ClaimOutcome::Unavailable,
                }
            }
            Ok(taken) => self.conclude(slot, coupon, taken),
            Err(KvError::Full) => ClaimOutcome::Overloaded,
            Err(error) if error.nothing_happened() => {
                if error.write_refusal().is_some() {
                    self.gate.doubt(Doubt::NotLoaded);
                }
                ClaimOutcome::Unavailable
            }
            Err(_) => ClaimOutcome::Unknown,
        }
    }

    /// Asks Redis under the activity in force at `now_ms` (milliseconds since 1970, Redis' clock).
    async fn ask(
        &self,
        connection: &Connection,
        pass: &Pass<'_>,
        attempt: Attempt<'_>,
        mut schedule: Option<Arc<Schedule>>,
        mut now_ms: u64,
    ) -> Result<Taken, KvError> {
        let mut taken = Taken::Stale;
        for _ in 0..ASKED_MAX {
            let activity_revision = schedule.as_ref().map_or(0, |schedule| schedule.revision);
            let activity = schedule.as_ref().and_then(|schedule| schedule.at(now_ms));
            let random = if activity.is_some() { rand::random() } else { 0 };
            let attempt = Attempt { activity_revision, activity, random, ..attempt };
            let asked = Instant::now();
            let reply = self.stock.take(connection, pass.live(), &attempt, self.wait).await;
            if matches!(reply, Ok(_) | Err(KvError::TimedOut)) {
                let waited = asked.elapsed();
                self.figures.asked.note_time(waited);
                pass.note(waited);
            }
            taken = reply?;
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

    fn conclude(&self, slot: Slot<'_>, coupon: CouponId, taken: Taken) -> ClaimOutcome {
        match taken {
            Taken::Claimed { claim, entry_claims } => {
                crate::base::crash::point("after-script");
                slot.put(claim, entry_claims);
                ClaimOutcome::Claimed(claim)
            }
            Taken::Already { claim, pending } => {
                if pending {
                    // The claim gets a signed token, so it must reach MySQL even if Redis loses the outbox.
                    self.ledger.vouch(slot, claim);
                }
                ClaimOutcome::Already(claim)
            }
            Taken::Refused(refusal) => {
                self.refusals.notice(coupon, refusal);
                ClaimOutcome::Refused(refusal)
            }
            Taken::Backlog | Taken::TooLate => ClaimOutcome::Overloaded,
            // MySQL has newer activities but did not answer in time. Selling by the old ones would be wrong.
            Taken::Stale => ClaimOutcome::Unavailable,
            // A missing coupon was looked up before.
            Taken::NotLoaded | Taken::Missing => {
                self.gate.doubt(Doubt::NotLoaded);
                ClaimOutcome::Unavailable
            }
        }
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
    use crate::domain::{ActivityId, ActivityName, CouponName, Rate, Status, Terms, UserName, Window};

    /// Activity 1 from 100 s to 200 s, activity 2 from 200 s to 300 s, and activity 4 from 400 s to 500 s.
    fn schedule() -> Schedule {
        let activity = |id: u32| {
            let name = ActivityName::parse("a".to_owned()).expect("a name");
            let window = Window::new(u64::from(id) * 100, u64::from(id) * 100 + 100).expect("a window");
            let (status, buy_rate) = (Status::Normal, Rate::ALL);
            let terms = Terms { name, window, total: 0, status, speed: 0, buy_limit: 1, buy_rate };
            Activity { id: ActivityId(id), coupon: CouponId(1), terms }
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
