//! The model for the checker: the guards, the number of faults, and the properties.

use stateright::{Model, Property};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::guard::Guard;
use crate::state::{INSTANCES, Instance, State, Told, USERS, User};
use crate::{claiming, faults, healing, ledger, recovery};

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NO_OVERSELL: &str = "I1 no oversell";
pub const NOTHING_LOST: &str = "I2 nothing lost";
pub const NO_PHANTOM: &str = "I3 no phantom";
pub const STABLE_ANSWER: &str = "I6 stable answer";
pub const TRUE_ALARM: &str = "no false alarm";
pub const HEALS: &str = "I9, I10 heals and sells all";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const SOLD_AFTER_ALL: &str = "all units are sold after all faults";

impl Protocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Applies an action to a state in which it is possible.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Ask(user, instance) => claiming::ask(state, user, instance),
            Action::Apply(user) => claiming::apply(self, state, user),
            Action::ApplyStray(user) => claiming::apply_stray(self, state, user),
            Action::Answer(user) => claiming::answer(self, state, user),
            Action::GiveUp(user) => claiming::give_up(self, state, user),
            Action::Begin(instance) => ledger::begin(self, state, instance),
            Action::Commit(instance) => ledger::commit(state, instance),
            Action::Delete(instance) => ledger::delete(self, state, instance),
            Action::Sweep(instance) => ledger::sweep(state, instance),
            Action::SettleLate(instance) => ledger::settle_late(state, instance),
            Action::Close(_)
            | Action::Acknowledge(_)
            | Action::Open(_)
            | Action::TakeToken(_)
            | Action::BeginRebuild(_)
            | Action::Proceed(_)
            | Action::Raise(_)
            | Action::Read(_)
            | Action::Store(_)
            | Action::DeleteDrained(_)
            | Action::Decide(_)
            | Action::Forget(_)
            | Action::Load(_)
            | Action::Finish(_)
            | Action::PutLive(_)
            | Action::End(_)
            | Action::Expire => recovery::step(self, state, action),
            Action::Thaw(_)
            | Action::Crash(_)
            | Action::Freeze(_)
            | Action::Restart
            | Action::LoseAll
            | Action::Flush
            | Action::GoBack
            | Action::Save
            | Action::HangUpBeforeCommit(_)
            | Action::HangUpAfterCommit(_) => faults::step(state, action),
        }
    }

    /// The steps of all processes without new attempts and without faults.
    pub fn background_actions(&self, state: &State, actions: &mut Vec<Action>) {
        claiming::actions(state, actions);
        for instance in 0..INSTANCES {
            if state.processes[instance].frozen {
                continue;
            }
            ledger::actions(self, state, instance, actions);
            recovery::actions(self, state, instance, actions);
        }
        recovery::expiry(state, actions);
    }

    /// The possible attempts. Users are alike, and so are instances, so symmetric orders are skipped: the first attempt
    /// is user A's at instance 0, and a user asks only after the user before.
    fn new_attempts(&self, state: &State, actions: &mut Vec<Action>) {
        let attempts: u8 = state.customers.iter().map(|customer| customer.attempts).sum();
        if attempts >= self.bounds.attempts {
            return;
        }
        for user in 0..self.bounds.users {
            if user > 0 && state.customers[user - 1].attempts == 0 {
                continue;
            }
            let instances = if attempts == 0 { 1 } else { INSTANCES };
            let may = |instance: &Instance| claiming::may_ask(self, state, user, *instance);
            actions.extend((0..instances).filter(may).map(|instance| Action::Ask(user, instance)));
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.new_attempts(state, actions);
        self.background_actions(state, actions);
        faults::actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OVERSELL, |_, state| no_oversell(state)),
            Property::always(NOTHING_LOST, |_, state| nothing_lost(state)),
            Property::always(NO_PHANTOM, |_, state| no_phantom(state)),
            Property::always(STABLE_ANSWER, |_, state| is_stable(state)),
            Property::always(TRUE_ALARM, |_, state: &State| !state.false_alarm),
            Property::always(HEALS, healing::heals),
            Property::sometimes(SOLD_AFTER_ALL, |protocol: &Self, state: &State| {
                let sold = state.mysql.rows.iter().flatten().count() == usize::from(protocol.bounds.units);
                state.faults == protocol.bounds.faults && sold && state.is_loaded()
            }),
        ]
    }
}

/// No unit is told to two users.
fn no_oversell(state: &State) -> bool {
    let mut told = 0_u8;
    state.customers.iter().all(|customer| {
        let Told::Claim(seq) = customer.told else { return true };
        let unit = 1 << seq;
        let first = told & unit == 0;
        told |= unit;
        first
    })
}

/// An answered claim is in MySQL, in the outbox, or in the memory of a process.
fn nothing_lost(state: &State) -> bool {
    let known = |user: User, seq| {
        let is = |claim: &crate::state::Claim| claim.user == user && claim.seq == seq;
        state.has_row(user, seq)
            || state.redis.data.outbox.iter().any(is)
            || state.processes.iter().any(|process| process.unstored_claims().any(is))
    };
    (0..USERS).all(|user| match state.customers[user].told {
        Told::Claim(seq) => known(user, seq),
        Told::Nothing | Told::Changed => true,
    })
}

/// After the first answer, a user never gets another claim or a refusal.
fn is_stable(state: &State) -> bool {
    state.customers.iter().all(|customer| customer.told != Told::Changed)
}

/// The user of a row was granted a claim, or has an attempt in progress or of unknown outcome.
fn no_phantom(state: &State) -> bool {
    state.mysql.rows.iter().flatten().all(|user| {
        let customer = &state.customers[*user];
        let waits = customer.attempt != crate::state::Attempt::None;
        waits || customer.unknown || customer.told != Told::Nothing
    })
}
