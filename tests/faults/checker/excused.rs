//! Excused losses: claims known only to Redis and to an instance taken for dead, at the time when Redis lost its
//! memory.
//!
//! A claim is excused if it was answered before the loss, and its instance reported it as late after waking up. The
//! checker then treats the outcome as unknown. All other claims stay promised.

use std::collections::HashSet;

use crate::history::{Claim, Coupon, Event, EventKind, Number, User};

/// The begin of the names of faults with excused losses.
pub const UNPROMISED: &str = "Unpromised";
/// The begin of the reason of a poisoned claim, for a claim of an earlier epoch.
pub const LATE: &str = "late:";

/// Replaces the answers of excused claims by unknown outcomes. Returns the new history and the number of excused
/// claims.
pub fn without_excused_claims(history: &[Event], poisoned: &[String]) -> (Vec<Event>, usize) {
    let lost_us = history.iter().filter_map(|event| match &event.kind {
        EventKind::FaultBegins { name, .. } if name.starts_with(UNPROMISED) => Some(event.at_us),
        _ => None,
    });
    let mut history = history.to_vec();
    let Some(lost_us) = lost_us.max() else { return (history, 0) };
    let late: HashSet<Late> = poisoned.iter().filter_map(|line| parse(line)).collect();
    let mut asked = std::collections::HashMap::<Number, (User, Coupon)>::new();
    let mut excused = HashSet::new();
    for event in &mut history {
        match event.kind.clone() {
            EventKind::Invoke { attempt, user, coupon, .. } => {
                asked.insert(attempt, (user, coupon));
            }
            EventKind::Claimed { attempt, claim: Claim { seq, nth, .. } }
            | EventKind::Already { attempt, claim: Claim { seq, nth, .. } } => {
                let lost = asked.get(&attempt).map(|(user, coupon)| (*coupon, *user, seq, nth));
                if let Some(lost) = lost.filter(|lost| event.at_us < lost_us && late.contains(lost)) {
                    excused.insert(lost);
                    event.kind = EventKind::Unknown { attempt, why: "lost, and promised to nobody".to_owned() };
                }
            }
            _ => {}
        }
    }
    (history, excused.len())
}

type Late = (Coupon, User, u32, u8);

/// Parses a line of `poisoned_claims` about a late claim: `coupon:user:seq:nth:... late: ...`. `None` for all other
/// reasons.
fn parse(line: &str) -> Option<Late> {
    let (claim, reason) = line.split_once(' ')?;
    let mut parts = claim.split(':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (coupon, user, seq, nth) = (next()?, next()?, next()?, next()?);
    reason.starts_with(LATE).then_some((coupon, user, u32::try_from(seq).ok()?, u8::try_from(nth).ok()?))
}
