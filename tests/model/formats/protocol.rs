//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::state::{Command, Process, Release, State};
use super::steps::{self, Action};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    /// Of instances, by the operator.
    pub starts: u8,
    pub crashes: u8,
    pub freezes: u8,
    /// The highest epoch. Later states are not searched.
    pub epochs: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The constraint on `instances` refuses rows of the previous release.
    Constrained,
    /// The constraint cannot be set while `instances` has a row of the previous release.
    RowsChecked,
    /// The constraint is set before the format is asked for.
    ConstraintFirst,
    /// A process opens its gate, and rebuilds, only after a beat in MySQL. The previous release has this guard, too.
    BeatFirst,
    /// The format is raised together with the epoch.
    RaisedWithEpoch,
    /// Data of format 2 is written only after the format is raised.
    PreviousWritten,
    /// A command that died halfway can be repeated, although nothing is left to check.
    CommandRepeats,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct FormatProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const KNOWN_ONLY: &str = "no process uses data of a format that it does not know";
pub const HEALS: &str = "I9, I10 instances that know the format sell";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const ALL_RAISED: &str = "both instances sell in format 2, with an archived coupon";

/// The most steps until a state without disturbances is quiet.
const STEPS_MAX: usize = 100;

impl FormatProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether instances that know the format open their gates, without further disturbances. In format 1, with no
    /// constraint, these are all instances: a roll-back is free.
    fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        let mut actions = Vec::new();
        for step in 0..STEPS_MAX {
            state.processes.iter_mut().flatten().for_each(|process| process.frozen = false);
            actions.clear();
            steps::background(self, &state, &mut actions);
            // Attempts have no end. The format is raised only if the raise has begun.
            actions.retain(|action| match action {
                Action::Attempt(_) => false,
                Action::Check => state.constrained || state.wanted == 2,
                _ => true,
            });
            let Some(action) = actions.get(step % actions.len().max(1)) else { break };
            steps::step(self, &mut state, *action);
        }
        let is_begun = state.constrained || state.wanted == 2;
        let is_done = !is_begun || state.format == 2 || state.processes.iter().all(Option::is_none);
        let mut knowing = state.living().filter(|(_, process)| process.release == Release::Current || !is_begun);
        let has_current = state.living().any(|(_, process)| process.release == Release::Current);
        (is_done || !has_current) && knowing.all(|(_, process)| process.gate == Some(state.loaded))
    }
}

impl Model for FormatProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::background(self, state, actions);
        steps::disturbances(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        steps::step(self, &mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KNOWN_ONLY, |_, state: &State| !state.misread),
            Property::always(HEALS, |protocol: &Self, state: &State| {
                state.epoch + 1 >= protocol.bounds.epochs || protocol.heals(state)
            }),
            Property::sometimes(ALL_RAISED, |_, state: &State| {
                let is_open = |process: Option<Process>| {
                    process.is_some_and(|p| p.gate == Some(state.loaded) && p.release == Release::Current)
                };
                state.command == Command::Done && state.tombstone && state.processes.into_iter().all(is_open)
            }),
        ]
    }
}
