//! A history in the order of its questions: attempts with their answers, and what may have been in force when.

use std::collections::{BTreeMap, HashMap};

use super::{MEMORY_MS, SLACK_MS, UNKNOWN_FINAL_MS};
use crate::history::{Change, Claim, Coupon, Event, NO_ANSWER, Number, Outcome, Sale, User, What};

/// A moment by both clocks.
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
    /// Of one that was never answered: the end of the run.
    pub ended: Moment,
    /// From then on it has changed all that it ever will, by the machine's clock.
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

/// A fault from its begin to its end.
pub struct Fault {
    pub name: String,
    pub began: Moment,
    pub ended: Option<Moment>,
}

/// Values, and from when until when each may have been in force, by the machine's clock.
#[derive(Debug)]
pub struct Timeline<T>(Vec<(T, u64, u64)>);

#[derive(Default)]
pub struct Run {
    pub attempts: Vec<Attempt>,
    pub amounts: BTreeMap<Coupon, Timeline<u32>>,
    /// `None`: claimed without an activity.
    pub sales: BTreeMap<Coupon, Timeline<Option<Sale>>>,
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

    /// Whether the instance has decided what was asked, from memory perhaps.
    pub fn is_decided(&self) -> bool {
        matches!(self, Self::Claimed(_) | Self::Already(_) | Self::Refused(_))
    }

    /// Whether the sale goes on: only Redis knows a claim.
    pub fn is_of_redis(&self) -> bool {
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

    /// What may have been in force between two moments, or been remembered then.
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = T> + Clone + '_ {
        let (from, to) = (from.saturating_sub(MEMORY_MS + SLACK_MS), to + SLACK_MS);
        self.0.iter().filter(move |(_, begin, end)| *begin <= to && *end >= from).map(|(value, ..)| *value)
    }

    pub fn ever(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().map(|(value, ..)| *value)
    }

    /// What may be in force at the end.
    pub fn last(&self) -> impl Iterator<Item = T> + '_ {
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
            match &event.what {
                What::Coupon { coupon, amount } => {
                    run.amounts.insert(*coupon, Timeline::new(*amount, now.wall_ms));
                    run.sales.insert(*coupon, Timeline::new(None, now.wall_ms));
                }
                What::Invoke { attempt, instance, user, coupon, nth } => {
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
                What::ChangeBegins { change, coupon, to } => {
                    changes.insert(*change, (*coupon, *to, now.wall_ms));
                }
                What::ChangeEnds { change, outcome } => {
                    if let Some((coupon, to, from)) = changes.remove(change) {
                        run.apply(coupon, to, from, (*outcome, now.wall_ms));
                    }
                }
                What::FaultBegins { fault, name } => {
                    fault_places.insert(*fault, run.faults.len());
                    run.faults.push(Fault { name: name.clone(), began: now, ended: None });
                }
                What::FaultEnds { fault } => run.faults[fault_places[fault]].ended = Some(now),
                What::Healed => run.healed = Some(now),
                What::Sample(_) => {}
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
        run.note_finality();
        run
    }

    /// An outcome is final a second after its attempt; where a customer hung up first, a second after the instance answers
    /// again: until a frozen or starting one reads his question, nobody can know that he no longer waits.
    fn note_finality(&mut self) {
        let mut answers: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.answer.is_decided()) {
            answers.entry(attempt.instance).or_default().push((attempt.began.at_us, attempt.ended.wall_ms));
        }
        for attempt in &mut self.attempts {
            let hung_up = attempt.answer == Answer::Unknown(NO_ANSWER.to_owned());
            let later = answers.get(&attempt.instance).filter(|_| hung_up);
            let next = later.and_then(|all| all.get(all.partition_point(|(began, _)| *began < attempt.ended.at_us)));
            attempt.final_ms = next.map_or(0, |(_, ended)| *ended).max(attempt.ended.wall_ms) + UNKNOWN_FINAL_MS;
        }
    }

    fn apply(&mut self, coupon: Coupon, to: Change, from: u64, (outcome, ended): (Outcome, u64)) {
        let done = match outcome {
            Outcome::Refused => return,
            Outcome::Done => Some(ended),
            Outcome::Unknown => None,
        };
        let unknown = "a coupon is noted before it is changed";
        match to {
            Change::Amount(amount) => self.amounts.get_mut(&coupon).expect(unknown).change(amount, from, done),
            Change::Sale(sale) => self.sales.get_mut(&coupon).expect(unknown).change(Some(sale), from, done),
        }
    }

    /// The most that a user may hold of the coupon, as in force at any time.
    pub fn limit(&self, coupon: Coupon) -> u8 {
        let sales = self.sales.get(&coupon).into_iter().flat_map(|sales| sales.ever());
        sales.map(|sale| sale.map_or(1, |sale| sale.buy_limit)).max().unwrap_or(1)
    }
}

fn moment(event: &Event) -> Moment {
    Moment { at_us: event.at_us, wall_ms: event.wall_ms }
}

fn answered(what: &What) -> Option<(Number, Answer)> {
    match what {
        What::Claimed { attempt, claim } => Some((*attempt, Answer::Claimed(*claim))),
        What::Already { attempt, claim } => Some((*attempt, Answer::Already(*claim))),
        What::Refused { attempt, reason } => Some((*attempt, Answer::Refused(reason.clone()))),
        What::Nothing { attempt, code } => Some((*attempt, Answer::Nothing(code.clone()))),
        What::Unknown { attempt, why } => Some((*attempt, Answer::Unknown(why.clone()))),
        _ => None,
    }
}
