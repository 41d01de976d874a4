//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::state::{INSTANCES, State, USERS};
use super::steps::{self, Action};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub units: u8,
    /// All attempts together.
    pub attempts: u8,
    pub moves: u8,
    /// How often instance 0 stops and starts after the slot was moved.
    pub restarts: u8,
    /// Rebuilds, also interrupted ones. Later states are not searched.
    pub rebuilds: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The gate is closed while the slot moves.
    ClosedWhileMoving,
    /// Data of an epoch in which the slot moved is not trusted any more.
    MoveRemembered,
    /// Data of another node than that of the row is not kept.
    LoadedFromNothing,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct SlotProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NO_OVERSELL: &str = "I1 no oversell";
pub const NOTHING_LOST: &str = "I2 nothing lost";
pub const ONE_UNIT: &str = "I4, I6 nobody is told of two units";
pub const SETTLES: &str = "I9, I10 settles and sells all";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const MOVED_AND_SOLD: &str = "all is sold after all moves";

/// The most steps of a fair schedule. Every good run ends earlier.
const STEPS_MAX: usize = 100;

impl SlotProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Without further moves, the shard is loaded again, all gates open, and all is sold.
    fn settles(&self, state: &State) -> bool {
        let mut state = state.clone();
        self.runs(&mut state)
            && state.is_loaded()
            && state.processes.iter().all(|process| process.gate == Some(state.mysql.loading))
            && (0..USERS).all(|user| {
                if steps::may_claim(&state, user, user % INSTANCES) {
                    steps::step(self, &mut state, Action::Claim(user, user % INSTANCES));
                }
                self.runs(&mut state)
            })
            && state.mysql.claims.iter().flatten().count() == USERS.min(usize::from(self.bounds.units))
    }

    /// Takes all possible steps by turns, and ends a move.
    fn runs(&self, state: &mut State) -> bool {
        let mut actions = Vec::new();
        for step in 0..STEPS_MAX {
            actions.clear();
            steps::background(self, state, &mut actions);
            if actions.is_empty() && state.slot.is_moving {
                let no_more = SlotProtocol { bounds: Bounds { moves: 0, restarts: 0, ..self.bounds }, ..*self };
                steps::moves(&no_more, state, &mut actions);
            }
            let Some(action) = actions.get(step % actions.len().max(1)) else { return true };
            steps::step(self, state, *action);
        }
        false
    }
}

impl Model for SlotProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::claims(self, state, actions);
        steps::background(self, state, actions);
        steps::moves(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        steps::step(self, &mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OVERSELL, |_, state: &State| {
                let [first, second] = state.told;
                first.is_none() || first != second
            }),
            Property::always(NOTHING_LOST, |_, state: &State| {
                let has = |user: usize, seq| {
                    let is_pending = |process: &super::state::Process| process.pending.contains(&(user, seq));
                    state.mysql.claims[user] == Some(seq) || state.processes.iter().any(is_pending)
                };
                (0..USERS).all(|user| state.told[user].is_none_or(|seq| has(user, seq)))
            }),
            Property::always(ONE_UNIT, |_, state: &State| !state.granted_twice),
            Property::always(SETTLES, |protocol: &Self, state: &State| protocol.settles(state)),
            Property::sometimes(MOVED_AND_SOLD, |protocol: &Self, state: &State| {
                let sold = state.mysql.claims.iter().flatten().count();
                let is_over = state.moves == protocol.bounds.moves && !state.slot.is_moving;
                is_over && state.is_loaded() && sold == USERS.min(usize::from(protocol.bounds.units))
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.rebuilds <= self.bounds.rebuilds
    }
}
