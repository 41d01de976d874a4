//! A run for the checker: attempts in the order of their requests, and the values possibly in force at any time.

use std::collections::{BTreeMap, HashMap};

use super::clock::RedisClock;
use super::{MEMORY_MS, SLACK_MS, UNKNOWN_FINAL_MS};
use crate::history::{Change, Claim, Coupon, Event, EventKind, NO_ANSWER, Number, Outcome, Sale, User};
use crate::stores::Row;

/// A moment by both clocks of the history.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at_us: u64,
    pub wall_ms: u64,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub number: Number,
    pub instance: usize,
    pub user: User,
    pub coupon: Coupon,
    pub nth: Option<u8>,
    pub began: Moment,
    /// When the answer arrived. For an attempt without an answer: the end of the run.
    pub ended: Moment,
    /// No effect of the attempt comes after this time, by the machine's clock.
    pub final_ms: u64,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Claimed(Claim),
    Already(Claim),
    Refused(String),
    Nothing(String),
    Unknown(String),
}

/// A fault with its begin and its end.
pub struct Fault {
    pub name: String,
    pub began: Moment,
    pub ended: Option<Moment>,
}

/// Values with the begin and the end of the time in which they may have been in force, in ms by the machine's clock.
#[derive(Debug)]
pub struct Timeline<T>(Vec<(T, u64, u64)>);

#[derive(Default)]
pub struct Run {
    pub attempts: Vec<Attempt>,
    pub amounts: BTreeMap<Coupon, Timeline<u32>>,
    /// `None`: the coupon is claimed without an activity.
    pub sales: BTreeMap<Coupon, Timeline<Option<Sale>>>,
    pub archived: BTreeMap<Coupon, Timeline<bool>>,
    pub shards: BTreeMap<Coupon, usize>,
    pub clock: RedisClock,
    /// When attempts were granted their claims, as far as users were told.
    told_ms: HashMap<Row, (u64, u64)>,
    pub faults: Vec<Fault>,
    pub healed: Option<Moment>,
    pub ended_us: u64,
}

impl Answer {
    pub fn kind(&self) -> String {
        match self {
            Self::Claimed(_) => "claimed".to_owned(),
            Self::Already(_) => "already-claimed".to_owned(),
            Self::Refused(reason) => reason.clone(),
            Self::Nothing(code) => code.clone(),
            Self::Unknown(_) => "unknown".to_owned(),
        }
    }

    /// Whether the instance has decided the attempt. The decision may come from memory.
    pub fn is_decided(&self) -> bool {
        matches!(self, Self::Claimed(_) | Self::Already(_) | Self::Refused(_))
    }

    /// Whether a claim was granted or confirmed. Only Redis can do so, which shows that sales go on.
    pub fn is_claim(&self) -> bool {
        matches!(self, Self::Claimed(_) | Self::Already(_))
    }
}

impl<T: Copy> Timeline<T> {
    fn new(value: T, from: u64) -> Self {
        Self(vec![(value, from, u64::MAX)])
    }

    fn change(&mut self, to: T, from: u64, done: Option<u64>) {
        if let Some(done) = done {
            for (_, _, until) in self.0.iter_mut().filter(|(_, _, until)| *until == u64::MAX) {
                *until = done;
            }
        }
        self.0.push((to, from, u64::MAX));
    }

    /// Values possibly in force, or still remembered by an instance, between two moments.
    pub fn possible_between(&self, from: u64, to: u64) -> impl Iterator<Item = T> + Clone + '_ {
        let (from, to) = (from.saturating_sub(MEMORY_MS + SLACK_MS), to + SLACK_MS);
        self.0.iter().filter(move |(_, begin, end)| *begin <= to && *end >= from).map(|(value, ..)| *value)
    }

    pub fn all_values(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().map(|(value, ..)| *value)
    }

    /// Values possibly in force at the end.
    pub fn possible_at_end(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().filter(|(_, _, until)| *until == u64::MAX).map(|(value, ..)| *value)
    }
}

impl Run {
    pub fn new(history: &[Event]) -> Self {
        let mut run = Self::default();
        let (mut places, mut changes) = (HashMap::new(), HashMap::new());
        let mut fault_places = HashMap::new();
        let last = history.last().map_or(Moment { at_us: 0, wall_ms: 0 }, moment);
        run.ended_us = last.at_us;
        for event in history {
            let now = moment(event);
            match &event.kind {
                EventKind::Coupon { coupon, amount, shard } => {
                    run.shards.insert(*coupon, *shard);
                    run.amounts.insert(*coupon, Timeline::new(*amount, now.wall_ms));
                    run.sales.insert(*coupon, Timeline::new(None, now.wall_ms));
                    run.archived.insert(*coupon, Timeline::new(false, now.wall_ms));
                }
                EventKind::Invoke { attempt, instance, user, coupon, nth } => {
                    places.insert(*attempt, run.attempts.len());
                    let (instance, user, coupon, nth) = (*instance, *user, *coupon, *nth);
                    let answer = Answer::Unknown("the run ended".to_owned());
                    run.attempts.push(Attempt {
                        number: *attempt,
                        instance,
                        user,
                        coupon,
                        nth,
                        began: now,
                        ended: last,
                        final_ms: 0,
                        answer,
                    });
                }
                EventKind::ChangeBegins { change, coupon, to } => {
                    changes.insert(*change, (*coupon, *to, now.wall_ms));
                }
                EventKind::ChangeEnds { change, outcome } => {
                    if let Some((coupon, to, from)) = changes.remove(change) {
                        run.apply(coupon, to, from, (*outcome, now.wall_ms));
                    }
                }
                EventKind::FaultBegins { fault, name } => {
                    fault_places.insert(*fault, run.faults.len());
                    run.faults.push(Fault { name: name.clone(), began: now, ended: None });
                }
                EventKind::FaultEnds { fault } => run.faults[fault_places[fault]].ended = Some(now),
                EventKind::ClockSteps { ahead_ms } => run.clock.begin_step(*ahead_ms, now.wall_ms),
                EventKind::ClockStepped => run.clock.end_step(now.wall_ms),
                EventKind::Healed => run.healed = Some(now),
                EventKind::Sample(_) | EventKind::Stored { .. } | EventKind::CutOff { .. } => {}
                answer => {
                    if let Some((attempt, answer)) = answered(answer) {
                        let attempt: &mut Attempt = &mut run.attempts[places[&attempt]];
                        (attempt.answer, attempt.ended) = (answer, now);
                    }
                }
            }
        }
        for (coupon, to, from) in changes.into_values() {
            run.apply(coupon, to, from, (Outcome::Unknown, last.wall_ms));
        }
        run.set_final_times();
        for attempt in &run.attempts {
            if let Answer::Claimed(claim) = attempt.answer {
                let row = Row { coupon: attempt.coupon, user: attempt.user, claim };
                run.told_ms.insert(row, (attempt.began.wall_ms, attempt.ended.wall_ms));
            }
        }
        run
    }

    /// Sets when outcomes are final: a second after the attempt. After a customer hung up, a second after the next
    /// answer of the instance, because a frozen or starting instance cannot know that the customer no longer waits. The
    /// deadline is a time by the clock of Redis, so it is later by a step back in the meantime.
    fn set_final_times(&mut self) {
        let mut answers: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.answer.is_decided()) {
            answers.entry(attempt.instance).or_default().push((attempt.began.at_us, attempt.ended.wall_ms));
        }
        for attempt in &mut self.attempts {
            let hung_up = attempt.answer == Answer::Unknown(NO_ANSWER.to_owned());
            let later = answers.get(&attempt.instance).filter(|_| hung_up);
            let next = later.and_then(|all| all.get(all.partition_point(|(began, _)| *began < attempt.ended.at_us)));
            attempt.final_ms = next.map_or(0, |(_, ended)| *ended).max(attempt.ended.wall_ms) + UNKNOWN_FINAL_MS;
            attempt.final_ms += self.clock.set_back_between(attempt.began.wall_ms, attempt.final_ms);
        }
    }

    fn apply(&mut self, coupon: Coupon, to: Change, from: u64, (outcome, ended): (Outcome, u64)) {
        let done = match outcome {
            Outcome::Refused => return,
            Outcome::Done => Some(ended),
            Outcome::Unknown => None,
        };
        let unknown = "a coupon is recorded before its changes";
        match to {
            Change::Amount(amount) => self.amounts.get_mut(&coupon).expect(unknown).change(amount, from, done),
            Change::Archived(archived) => {
                self.archived.get_mut(&coupon).expect(unknown).change(archived, from, done);
            }
            Change::Sale(sale) => self.sales.get_mut(&coupon).expect(unknown).change(Some(sale), from, done),
        }
    }

    /// When the claim may have been granted by the machine's clock, ascending and not empty. There are several moments if
    /// the clock of Redis has shown the claim's time more than once, and no user was told of the grant. If it never has,
    /// the claim's time itself.
    pub fn granted_ms(&self, row: &Row) -> Vec<u64> {
        let mut moments = self.clock.moments(row.claim.claimed_at_ms);
        if let Some((from, to)) = self.told_ms.get(row)
            && let Some(told) = moments.iter().find(|at| *from <= **at + SLACK_MS && **at <= *to + SLACK_MS)
        {
            moments = vec![*told];
        }
        if moments.is_empty() { vec![row.claim.claimed_at_ms] } else { moments }
    }

    /// The highest limit of claims a user at any time of the run.
    pub fn limit(&self, coupon: Coupon) -> u8 {
        let sales = self.sales.get(&coupon).into_iter().flat_map(|sales| sales.all_values());
        sales.map(|sale| sale.map_or(1, |sale| sale.buy_limit)).max().unwrap_or(1)
    }
}

fn moment(event: &Event) -> Moment {
    Moment { at_us: event.at_us, wall_ms: event.wall_ms }
}

fn answered(kind: &EventKind) -> Option<(Number, Answer)> {
    match kind {
        EventKind::Claimed { attempt, claim } => Some((*attempt, Answer::Claimed(*claim))),
        EventKind::Already { attempt, claim } => Some((*attempt, Answer::Already(*claim))),
        EventKind::Refused { attempt, reason } => Some((*attempt, Answer::Refused(reason.clone()))),
        EventKind::Nothing { attempt, code } => Some((*attempt, Answer::Nothing(code.clone()))),
        EventKind::Unknown { attempt, why } => Some((*attempt, Answer::Unknown(why.clone()))),
        _ => None,
    }
}
