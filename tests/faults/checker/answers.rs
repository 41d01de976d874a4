//! What users were granted and told of it, against the rows: I1 (told), I2, I3, I6, and of I7 that an answer which says that
//! nothing happened is true and that an unknown outcome is final.

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
        rows_of.entry((row.user, row.coupon)).or_default().push(*row);
    }
    for (holder, rows) in &rows_of {
        let attempts = by_holder.get(holder).map_or(&[][..], Vec::as_slice);
        check_origins(rows, attempts, found);
    }
    for attempts in by_holder.values() {
        check_stability(attempts, run.limit(attempts[0].coupon), found);
    }
}

/// One unit is one user's.
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

/// Every row comes from an attempt that was granted, or one of an unknown outcome that was under way then.
fn check_origins(rows: &[Row], attempts: &[&Attempt], found: &mut Findings) {
    let granted: HashSet<Claim> = attempts
        .iter()
        .filter_map(|attempt| match attempt.answer {
            Answer::Claimed(claim) => Some(claim),
            _ => None,
        })
        .collect();
    let mut unknown: Vec<&&Attempt> = attempts.iter().filter(|attempt| is_unknown(attempt)).collect();
    // Rows in order, each taken by the attempt that can wait least: if there is any way to match them, this is one.
    unknown.sort_unstable_by_key(|attempt| attempt.final_ms);
    let mut rest: Vec<&Row> = rows.iter().filter(|row| !granted.contains(&row.claim)).collect();
    rest.sort_unstable_by_key(|row| row.claim.claimed_at_ms);
    for row in rest {
        if let Some(place) = unknown.iter().position(|attempt| may_have_made(attempt, row.claim.claimed_at_ms)) {
            unknown.remove(place);
            continue;
        }
        let at = row.claim.claimed_at_ms;
        if let Some(late) = unknown.iter().find(|attempt| attempt.began.wall_ms <= at) {
            found.note(
                "I7",
                format!("{row:?}: attempt {}, unknown, was applied later than a second after it", late.number),
            );
        } else {
            let liar =
                attempts.iter().find(|attempt| matches!(attempt.answer, Answer::Nothing(_)) && covers(attempt, at));
            if let Some(liar) = liar {
                found.note("I7", format!("{row:?}: attempt {} was told that nothing happened", liar.number));
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

/// Whether an attempt of unknown outcome may have made a claim at that time.
pub fn may_have_made(attempt: &Attempt, at: u64) -> bool {
    attempt.began.wall_ms <= at + SLACK_MS && at <= attempt.final_ms + SLACK_MS
}

/// One user's attempts at one coupon: what was told once is told for ever.
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
        // Which claim is asked for: without a number, with a limit of one, the first.
        let Some(nth) = attempt.nth.or((limit == 1).then_some(1)) else { continue };
        if let Answer::Claimed(claim) = attempt.answer {
            found.require("I6", granted.insert(claim.nth), || {
                format!(
                    "attempt {}: user {} was granted claim {} a second time",
                    attempt.number, attempt.user, claim.nth
                )
            });
        }
        let known = told.range(nth..).find(|(_, (_, told_at))| *told_at < attempt.began.at_us);
        let Some((told_nth, (claim, _))) = known else { continue };
        // A loss may have taken the very one that is meant, of which he was not told, and left him those after it.
        let unknown = |other: &&Attempt| other.nth == Some(nth) && is_unknown(other) && precedes(other, attempt);
        if *told_nth > nth && attempts.iter().copied().any(|other| unknown(&other)) {
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
