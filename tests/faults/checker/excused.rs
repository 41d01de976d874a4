//! What is lost and promised to nobody: claims that only Redis and an instance knew when Redis lost its memory while that
//! instance was taken for dead.
//!
//! Such a claim was answered before the loss, and the instance has reported it as late when it woke up. To the checker it
//! is one of which nothing is known. Everything else stays promised.

use std::collections::HashSet;

use crate::history::{Claim, Coupon, Event, Number, User, What};

/// What the name of such a loss begins with.
pub const UNPROMISED: &str = "Unpromised";
/// What the reason of a claim begins with that came too late.
pub const LATE: &str = "late:";

/// The history without them, and how many they are.
pub fn without(history: &[Event], poisoned: &[String]) -> (Vec<Event>, usize) {
    let lost_us = history.iter().filter_map(|event| match &event.what {
        What::FaultBegins { name, .. } if name.starts_with(UNPROMISED) => Some(event.at_us),
        _ => None,
    });
    let mut history = history.to_vec();
    let Some(lost_us) = lost_us.max() else { return (history, 0) };
    let late: HashSet<Late> = poisoned.iter().filter_map(|line| parse(line)).collect();
    let mut asked = std::collections::HashMap::<Number, (User, Coupon)>::new();
    let mut excused = HashSet::new();
    for event in &mut history {
        match event.what.clone() {
            What::Invoke { attempt, user, coupon, .. } => {
                asked.insert(attempt, (user, coupon));
            }
            What::Claimed { attempt, claim: Claim { seq, nth, .. } }
            | What::Already { attempt, claim: Claim { seq, nth, .. } } => {
                let lost = asked.get(&attempt).map(|(user, coupon)| (*coupon, *user, seq, nth));
                if let Some(lost) = lost.filter(|lost| event.at_us < lost_us && late.contains(lost)) {
                    excused.insert(lost);
                    event.what = What::Unknown { attempt, why: "lost, and promised to nobody".to_owned() };
                }
            }
            _ => {}
        }
    }
    (history, excused.len())
}

type Late = (Coupon, User, u32, u8);

/// A line of `poisoned_claims` whose claim came too late: `coupon:user:seq:nth:... late: ...`.
fn parse(line: &str) -> Option<Late> {
    let (claim, reason) = line.split_once(' ')?;
    let mut parts = claim.split(':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (coupon, user, seq, nth) = (next()?, next()?, next()?, next()?);
    reason.starts_with(LATE).then_some((coupon, user, u32::try_from(seq).ok()?, u8::try_from(nth).ok()?))
}
