//! The model as the checker sees it: which guards it has, how many faults it allows, and its properties.

use stateright::{Model, Property};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::guard::Guard;
use crate::state::{INSTANCES, Instance, State, Told, USERS, User};
use crate::{claiming, faults, healing, ledger, recovery};

/// The protocol, whole or without one of its guards.
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
/// Not an invariant: that the search gets there at all.
pub const SOLD_AFTER_ALL: &str = "all is sold after all that may break";

impl Protocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Changes the state by an action that is possible in it.
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
            | Action::Take(_)
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

    /// What parties do by themselves, without customers and faults.
    pub fn work(&self, state: &State, actions: &mut Vec<Action>) {
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

    /// Who may ask where. The first is always A at instance 0, and nobody asks before his neighbour: users are alike, and
    /// so are instances.
    fn asking(&self, state: &State, actions: &mut Vec<Action>) {
        let asked: u8 = state.customers.iter().map(|customer| customer.asked).sum();
        if asked >= self.bounds.asks {
            return;
        }
        for user in 0..self.bounds.users {
            if user > 0 && state.customers[user - 1].asked == 0 {
                continue;
            }
            let instances = if asked == 0 { 1 } else { INSTANCES };
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
        self.asking(state, actions);
        self.work(state, actions);
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
                state.faults == protocol.bounds.faults && sold && state.compared()
            }),
        ]
    }
}

/// No unit is told to two.
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

/// What was answered is in MySQL, or on its way: in the outbox, or in the hands of a process.
fn nothing_lost(state: &State) -> bool {
    let known = |user: User, seq| {
        let is = |claim: &crate::state::Claim| claim.user == user && claim.seq == seq;
        state.has_row(user, seq)
            || state.redis.data.outbox.iter().any(is)
            || state.processes.iter().any(|process| process.held().any(is))
    };
    (0..USERS).all(|user| match state.customers[user].told {
        Told::Claim(seq) => known(user, seq),
        Told::Nothing | Told::Another => true,
    })
}

/// Nobody is told another claim than before, or none.
fn is_stable(state: &State) -> bool {
    state.customers.iter().all(|customer| customer.told != Told::Another)
}

/// Every row is of a user who was granted a claim, or could not be told what became of his attempt.
fn no_phantom(state: &State) -> bool {
    state.mysql.rows.iter().flatten().all(|user| {
        let customer = &state.customers[*user];
        let waits = customer.attempt != crate::state::Attempt::None;
        waits || customer.unknown || customer.told != Told::Nothing
    })
}
