//! Excused losses: claims known only to Redis and to instances that are dead, or taken for dead, at the time when Redis
//! lost its memory. The checker then treats the outcome as unknown. All other claims stay promised, among them every
//! claim that was answered as stored.
//!
//! - After a frozen instance was taken for dead: a claim answered before the loss, reported as late by the instance after
//!   waking up.
//! - After all instances died: a claim answered shortly before, of which MySQL has no row.

use std::collections::{HashMap, HashSet};

use crate::history::{Claim, Coupon, Event, EventKind, Number, User};
use crate::stores::{InMysql, Row};

/// The begin of the names of faults that freeze an instance, with excused losses.
pub const UNPROMISED: &str = "Unpromised";
/// The name of the fault by which all instances die while Redis loses its memory.
const EVERYTHING_LOST: &str = "EverythingLost";
/// The begin of the reason of a poisoned claim, for a claim of an earlier epoch.
pub const LATE: &str = "late:";
/// How long before the fault a claim may have been answered that MySQL did not have yet.
const STORED_WITHIN_US: u64 = 1_000_000;

type Grant = (Coupon, User, u32, u8);

/// The events that decide whether a claim is excused.
struct Losses {
    /// The last loss of Redis while an instance was frozen.
    frozen_us: Option<u64>,
    /// The grants that instances reported as late.
    late: HashSet<Grant>,
    /// Begin and end of the faults by which all instances died.
    dead_us: Vec<(u64, u64)>,
    rows: HashSet<Row>,
    /// The claims that were answered as stored.
    stored: HashSet<Row>,
}

/// Replaces the answers of excused claims by unknown outcomes. Returns the new history and the number of excused
/// claims.
pub fn without_excused_claims(history: &[Event], mysql: &InMysql) -> (Vec<Event>, usize) {
    let losses = Losses::of(history, mysql);
    let mut excused = HashSet::new();
    let mut asked = HashMap::<Number, (User, Coupon)>::new();
    let mut history = history.to_vec();
    for event in &mut history {
        if let EventKind::Invoke { attempt, user, coupon, .. } = event.kind {
            asked.insert(attempt, (user, coupon));
        }
        let Some((attempt, claim)) = told(&event.kind) else { continue };
        let Some((user, coupon)) = asked.get(&attempt).copied() else { continue };
        if losses.excuse(Row { coupon, user, claim }, event.at_us) {
            excused.insert((coupon, user, claim.seq, claim.nth));
            event.kind = EventKind::Unknown { attempt, why: "lost, and promised to nobody".to_owned() };
        }
    }
    (history, excused.len())
}

impl Losses {
    fn of(history: &[Event], mysql: &InMysql) -> Self {
        let late = mysql.poisoned.iter().filter_map(|line| parse(line)).collect();
        let rows = mysql.rows.iter().copied().collect();
        let mut losses = Self { frozen_us: None, late, dead_us: Vec::new(), rows, stored: HashSet::new() };
        let (mut claims, mut asked, mut dying) = (HashMap::new(), HashMap::new(), None);
        for event in history {
            match &event.kind {
                EventKind::FaultBegins { name, .. } if name.starts_with(UNPROMISED) => {
                    losses.frozen_us = losses.frozen_us.max(Some(event.at_us));
                }
                EventKind::FaultBegins { name, .. } if name == EVERYTHING_LOST => dying = Some(event.at_us),
                EventKind::FaultEnds { .. } => {
                    losses.dead_us.extend(dying.take().map(|began| (began, event.at_us)));
                }
                EventKind::Invoke { attempt, user, coupon, .. } => {
                    asked.insert(*attempt, (*coupon, *user));
                }
                EventKind::Stored { attempt, .. } => losses.stored.extend(claims.get(attempt).copied()),
                kind => {
                    if let Some((attempt, claim)) = told(kind)
                        && let Some((coupon, user)) = asked.get(&attempt).copied()
                    {
                        claims.insert(attempt, Row { coupon, user, claim });
                    }
                }
            }
        }
        losses
    }

    fn excuse(&self, told: Row, at_us: u64) -> bool {
        let grant = (told.coupon, told.user, told.claim.seq, told.claim.nth);
        let of_frozen = self.frozen_us.is_some_and(|lost_us| at_us < lost_us) && self.late.contains(&grant);
        let is_near = |(began, ended): &(u64, u64)| *began <= at_us + STORED_WITHIN_US && at_us <= *ended;
        let of_dead = self.dead_us.iter().any(is_near) && !self.rows.contains(&told);
        (of_frozen || of_dead) && !self.stored.contains(&told)
    }
}

fn told(kind: &EventKind) -> Option<(Number, Claim)> {
    match kind {
        EventKind::Claimed { attempt, claim } | EventKind::Already { attempt, claim } => Some((*attempt, *claim)),
        _ => None,
    }
}

/// Parses a line of `poisoned_claims` about a late claim: `coupon:user:seq:nth:... late: ...`. `None` for all other
/// reasons.
fn parse(line: &str) -> Option<Grant> {
    let (claim, reason) = line.split_once(' ')?;
    let mut parts = claim.split(':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (coupon, user, seq, nth) = (next()?, next()?, next()?, next()?);
    reason.starts_with(LATE).then_some((coupon, user, u32::try_from(seq).ok()?, u8::try_from(nth).ok()?))
}
