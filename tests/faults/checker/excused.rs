//! Excused losses: claims known only to Redis and to instances that are dead, or taken for dead, at the time when Redis
//! lost its memory. The checker then treats the outcome as unknown. All other claims stay promised, among them every
//! claim that was answered as stored.
//!
//! - After a frozen instance was taken for dead: a claim answered before the loss, reported as late by the instance after
//!   waking up.
//! - After all instances died: a claim answered shortly before, of which MySQL has no row.
//! - After an instance was cut off together with the primary of a shard: a claim of this shard that the instance answered
//!   in its last six seconds, of which MySQL has no row.

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

/// The last answers of an instance that is cut off from MySQL and from all primaries but one: the lease, and a second
/// until the question that extended it last.
const LEASE_US: u64 = 6_000_000;

type Grant = (Coupon, User, u32, u8);

/// The history without the claims that may be lost.
pub struct Excused {
    pub history: Vec<Event>,
    /// The number of lost claims that were not promised.
    pub claims: usize,
    /// Users who asked a cut-off instance for a coupon. A claim of theirs may be late, even if they got no answer.
    pub may_be_late: HashSet<(Coupon, User)>,
}

/// An instance with the primary of a shard, cut off from all other servers.
struct Cut {
    instance: usize,
    shard: usize,
    began_us: u64,
    /// The last answer with a claim of the shard while the lease may have lasted.
    last_us: u64,
}

/// A request.
#[derive(Clone, Copy)]
struct Asked {
    instance: usize,
    user: User,
    coupon: Coupon,
}

/// The events that decide whether a claim is excused.
#[derive(Default)]
struct Losses {
    /// The last loss of Redis while an instance was frozen.
    frozen_us: Option<u64>,
    /// The grants that instances reported as late.
    late: HashSet<Grant>,
    /// Begin and end of the faults by which all instances died.
    dead_us: Vec<(u64, u64)>,
    cuts: Vec<Cut>,
    shards: HashMap<Coupon, usize>,
    may_be_late: HashSet<(Coupon, User)>,
    rows: HashSet<Row>,
    /// The claims that were answered as stored.
    stored: HashSet<Row>,
}

/// Replaces the answers of excused claims by unknown outcomes.
pub fn without_excused_claims(history: &[Event], mysql: &InMysql) -> Excused {
    let losses = Losses::of(history, mysql);
    let mut excused = HashSet::new();
    let mut asked = HashMap::new();
    let mut history = history.to_vec();
    for event in &mut history {
        note_asked(&event.kind, &mut asked);
        let Some((attempt, claim)) = told(&event.kind) else { continue };
        let Some(Asked { instance, user, coupon }) = asked.get(&attempt).copied() else { continue };
        if losses.excuse(Row { coupon, user, claim }, (instance, event.at_us)) {
            excused.insert((coupon, user, claim.seq, claim.nth));
            event.kind = EventKind::Unknown { attempt, why: "lost, and promised to nobody".to_owned() };
        }
    }
    Excused { history, claims: excused.len(), may_be_late: losses.may_be_late }
}

/// Remembers a request by the number of its attempt.
fn note_asked(kind: &EventKind, asked: &mut HashMap<Number, Asked>) {
    if let EventKind::Invoke { attempt, instance, user, coupon, .. } = *kind {
        asked.insert(attempt, Asked { instance, user, coupon });
    }
}

impl Losses {
    fn of(history: &[Event], mysql: &InMysql) -> Self {
        let late = mysql.poisoned.iter().filter_map(|line| parse(line)).collect();
        let rows = mysql.rows.iter().copied().collect();
        let mut losses = Self { late, rows, ..Self::default() };
        let (mut claims, mut asked, mut dying) = (HashMap::new(), HashMap::new(), None);
        for event in history {
            note_asked(&event.kind, &mut asked);
            losses.note_cuts(event, &asked);
            match &event.kind {
                EventKind::FaultBegins { name, .. } if name.starts_with(UNPROMISED) => {
                    losses.frozen_us = losses.frozen_us.max(Some(event.at_us));
                }
                EventKind::FaultBegins { name, .. } if name == EVERYTHING_LOST => dying = Some(event.at_us),
                EventKind::FaultEnds { .. } => {
                    losses.dead_us.extend(dying.take().map(|began| (began, event.at_us)));
                }
                EventKind::Stored { attempt, .. } => losses.stored.extend(claims.get(attempt).copied()),
                kind => {
                    if let Some((attempt, claim)) = told(kind)
                        && let Some(Asked { user, coupon, .. }) = asked.get(&attempt).copied()
                    {
                        claims.insert(attempt, Row { coupon, user, claim });
                    }
                }
            }
        }
        losses
    }

    /// Notes the cuts, the last answers of cut-off instances, and the users who asked them.
    fn note_cuts(&mut self, event: &Event, asked: &HashMap<Number, Asked>) {
        match event.kind {
            EventKind::Coupon { coupon, shard, .. } => {
                self.shards.insert(coupon, shard);
            }
            EventKind::CutOff { instance, shard } => {
                self.cuts.push(Cut { instance, shard, began_us: event.at_us, last_us: event.at_us });
            }
            _ => {}
        }
        let attempt = match event.kind {
            EventKind::Invoke { attempt, .. } => attempt,
            ref kind => match told(kind) {
                Some((attempt, _)) => attempt,
                None => return,
            },
        };
        let Some(Asked { instance, user, coupon }) = asked.get(&attempt).copied() else { return };
        let is_told = told(&event.kind).is_some();
        let Self { cuts, shards, may_be_late, .. } = self;
        for cut in cuts.iter_mut().filter(|cut| cut.instance == instance && shards.get(&coupon) == Some(&cut.shard)) {
            if event.at_us > cut.began_us + LEASE_US {
                continue;
            }
            may_be_late.insert((coupon, user));
            if is_told {
                cut.last_us = event.at_us;
            }
        }
    }

    /// Whether a claim told at a time by an instance may be lost.
    fn excuse(&self, told: Row, (instance, at_us): (usize, u64)) -> bool {
        let grant = (told.coupon, told.user, told.claim.seq, told.claim.nth);
        let of_frozen = self.frozen_us.is_some_and(|lost_us| at_us < lost_us) && self.late.contains(&grant);
        let is_near = |(began, ended): &(u64, u64)| *began <= at_us + STORED_WITHIN_US && at_us <= *ended;
        let of_dead = self.dead_us.iter().any(is_near) && !self.rows.contains(&told);
        let is_of_cut = |cut: &Cut| {
            let is_last =
                at_us <= cut.last_us && cut.last_us <= at_us + LEASE_US && cut.began_us <= at_us + STORED_WITHIN_US;
            cut.instance == instance && self.shards.get(&told.coupon) == Some(&cut.shard) && is_last
        };
        let of_cut = self.cuts.iter().any(is_of_cut) && !self.rows.contains(&told);
        (of_frozen || of_dead || of_cut) && !self.stored.contains(&told)
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
pub fn parse(line: &str) -> Option<Grant> {
    let (claim, reason) = line.split_once(' ')?;
    let mut parts = claim.split(':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (coupon, user, seq, nth) = (next()?, next()?, next()?, next()?);
    reason.starts_with(LATE).then_some((coupon, user, u32::try_from(seq).ok()?, u8::try_from(nth).ok()?))
}
