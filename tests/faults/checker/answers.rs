//! Compares the answers to users with the stored rows. Checks I1 (a unit told to two users), I2, I3, I6, and two parts
//! of I7: "nothing happened" is true, and an unknown outcome becomes final.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::run::{Answer, Attempt, Run};
use super::{Findings, SLACK_MS};
use crate::history::{Claim, Coupon, User};
use crate::stores::Row;

type Holder = (User, Coupon);

pub fn check(run: &Run, rows: &[Row], found: &mut Findings) {
    let mut by_holder: HashMap<Holder, Vec<&Attempt>> = HashMap::new();
    for attempt in &run.attempts {
        by_holder.entry((attempt.user, attempt.coupon)).or_default().push(attempt);
    }
    let stored: HashSet<Row> = rows.iter().copied().collect();
    found.require("I2", stored.len() == rows.len(), || format!("{} rows, {} different", rows.len(), stored.len()));
    check_units_told(run, found);
    for attempt in &run.attempts {
        if let Answer::Claimed(claim) | Answer::Already(claim) = attempt.answer {
            let row = Row { coupon: attempt.coupon, user: attempt.user, claim };
            found.require("I2", stored.contains(&row), || {
                format!("attempt {} was told {row:?}; no such row", attempt.number)
            });
        }
    }
    let mut rows_of: BTreeMap<Holder, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let shown = !run.clock.moments(row.claim.claimed_at_ms).is_empty();
        found.require("I3", shown, || format!("{row:?} has a time that the clock of Redis has not shown"));
        rows_of.entry((row.user, row.coupon)).or_default().push(*row);
    }
    for (holder, rows) in &rows_of {
        let attempts = by_holder.get(holder).map_or(&[][..], Vec::as_slice);
        check_origins(run, rows, attempts, found);
    }
    for attempts in by_holder.values() {
        check_stability(attempts, run.limit(attempts[0].coupon), found);
    }
}

/// Units are told to a single user.
fn check_units_told(run: &Run, found: &mut Findings) {
    let mut owners: HashMap<(Coupon, u32), (User, u8)> = HashMap::new();
    for attempt in &run.attempts {
        if let Answer::Claimed(claim) | Answer::Already(claim) = attempt.answer {
            let owner = (attempt.user, claim.nth);
            let first = *owners.entry((attempt.coupon, claim.seq)).or_insert(owner);
            found.require("I1", first == owner, || {
                format!("unit {} of coupon {} was given to {first:?} and {owner:?}", claim.seq, attempt.coupon)
            });
        }
    }
}

/// Rows come from granted attempts, or from attempts of unknown outcome in progress at the time of the claim.
fn check_origins(run: &Run, rows: &[Row], attempts: &[&Attempt], found: &mut Findings) {
    let granted: HashSet<Claim> = attempts
        .iter()
        .filter_map(|attempt| match attempt.answer {
            Answer::Claimed(claim) => Some(claim),
            _ => None,
        })
        .collect();
    let mut unknown: Vec<&&Attempt> = attempts.iter().filter(|attempt| is_unknown(attempt)).collect();
    // Rows, by time, are matched with the possible attempt that becomes final first. If a complete matching exists,
    // this order finds it.
    unknown.sort_unstable_by_key(|attempt| attempt.final_ms);
    let rest = rows.iter().filter(|row| !granted.contains(&row.claim));
    let mut rest: Vec<(Vec<u64>, &Row)> = rest.map(|row| (run.granted_ms(row), row)).collect();
    rest.sort_unstable_by_key(|(moments, _)| moments.last().copied());
    for (moments, row) in rest {
        if let Some(place) = unknown.iter().position(|attempt| may_have_made(attempt, &moments)) {
            unknown.remove(place);
            continue;
        }
        let at = moments[0];
        if let Some(late) = unknown.iter().find(|attempt| attempt.began.wall_ms <= at) {
            found.note(
                "I7",
                format!("{row:?}: attempt {}, unknown, took effect more than a second after its end", late.number),
            );
        } else {
            let false_denial =
                attempts.iter().find(|attempt| matches!(attempt.answer, Answer::Nothing(_)) && covers(attempt, at));
            if let Some(false_denial) = false_denial {
                found.note("I7", format!("{row:?}: attempt {} was told that nothing happened", false_denial.number));
            }
            found.note("I3", format!("{row:?} comes from no attempt that was granted or unknown"));
        }
    }
}

pub fn is_unknown(attempt: &Attempt) -> bool {
    matches!(attempt.answer, Answer::Unknown(_))
}

fn precedes(one: &Attempt, other: &Attempt) -> bool {
    one.ended.at_us < other.began.at_us
}

fn covers(attempt: &Attempt, at: u64) -> bool {
    attempt.began.wall_ms <= at + SLACK_MS && at <= attempt.ended.wall_ms + SLACK_MS
}

/// Whether an attempt of unknown outcome may have made a claim at one of these times.
pub fn may_have_made(attempt: &Attempt, moments: &[u64]) -> bool {
    moments.iter().any(|at| attempt.began.wall_ms <= at + SLACK_MS && *at <= attempt.final_ms + SLACK_MS)
}

/// A user's attempts at one coupon: the answers must never change.
fn check_stability(attempts: &[&Attempt], limit: u8, found: &mut Findings) {
    let mut told: BTreeMap<u8, (Claim, u64)> = BTreeMap::new();
    for attempt in attempts {
        if let Answer::Claimed(claim) | Answer::Already(claim) = attempt.answer {
            let (first, ended) = *told.entry(claim.nth).or_insert((claim, attempt.ended.at_us));
            found.require("I6", first == claim, || format!("user {} was told {first:?} and {claim:?}", attempt.user));
            let earlier = ended.min(attempt.ended.at_us);
            told.insert(claim.nth, (first, earlier));
        }
    }
    let mut granted = HashSet::new();
    for attempt in attempts {
        // The requested claim: `Claim-Nth`, or the first claim if the limit is one.
        let Some(nth) = attempt.nth.or((limit == 1).then_some(1)) else { continue };
        if let Answer::Claimed(claim) = attempt.answer {
            found.require("I6", granted.insert(claim.nth), || {
                format!(
                    "attempt {}: user {} was granted claim {} a second time",
                    attempt.number, attempt.user, claim.nth
                )
            });
        }
        let known = told.range(nth..).find(|(_, (_, known_since))| *known_since < attempt.began.at_us);
        let Some((known_nth, (claim, _))) = known else { continue };
        // If the user was never told of the requested claim, a loss of Redis may have taken it and kept the later ones.
        let unknown = |other: &&Attempt| other.nth == Some(nth) && is_unknown(other) && precedes(other, attempt);
        if *known_nth > nth && attempts.iter().copied().any(|other| unknown(&other)) {
            continue;
        }
        let stable = match &attempt.answer {
            Answer::Already(_) | Answer::Nothing(_) | Answer::Unknown(_) => true,
            Answer::Refused(reason) => reason == "try-again",
            Answer::Claimed(_) => false,
        };
        found.require("I6", stable, || {
            format!(
                "attempt {}: user {} holds {claim:?} and was answered {:?}",
                attempt.number, attempt.user, attempt.answer
            )
        });
    }
}
