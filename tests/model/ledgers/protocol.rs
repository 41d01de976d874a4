//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::action::Action;
use super::state::{Faults, INSTANCES, State, USERS};
use super::{healing, recovery, steps};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    /// At most 2.
    pub claims: usize,
    /// How often MySQL goes back: 0 or 1.
    pub back: u8,
    /// At most 1.
    pub crashes: u8,
    pub freezes: u8,
    pub restarts: u8,
    pub losses: u8,
}

pub const NONE: Bounds =
    Bounds { name: "nothing breaks", claims: 2, back: 0, crashes: 0, freezes: 0, restarts: 0, losses: 0 };

/// Rebuilds, also interrupted ones. Later states are not searched.
const REBUILDS_MAX: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A batch needs a row with at least the committed number.
    CounterCompared,
    /// A batch needs a row with the epoch of its claims.
    EpochCompared,
    /// Raising the epoch changes all rows of `ledgers`, and deletes the rows of dead processes.
    RowsRaised,
    /// Raising the epoch waits for open batches, because they have locked their rows.
    RaiseWaits,
    /// A process adds its row in a transaction that also changes the shard's row.
    JoinChangesShard,
    /// The script that deletes entries raises the process' counter in Redis.
    CounterRaisedByScript,
    /// The counters of Redis and MySQL are compared each second.
    ComparedEachSecond,
    /// A comparison reads Redis first and MySQL second.
    CountersReadFirst,
    /// A rebuild compares the counters when it raises the epoch.
    ComparedBeforeRebuild,
    /// Redis keeps the epoch of the last loading beside the counters, and comparisons and repairs use it.
    EpochKept,
    /// The step that writes `live` replaces the counters of the earlier epoch by those of the rows.
    CountersReset,
    /// At the alarm every process tells Redis its last number. Otherwise a repair leaves rows behind that raise the
    /// alarm again.
    EveryProcessTells,
    /// A repair writes the claims of Redis into MySQL.
    RepairWritesBack,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct FenceProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NOTHING_LOST: &str = "I2 nothing lost without the alarm";
pub const NO_SECOND_EPOCH: &str = "no claim stored under a second epoch";
pub const REPAIRED: &str = "I2, I10 a repair restores all claims and numbers";
pub const TRUE_ALARM: &str = "no false alarm";
pub const HEALS: &str = "I9, I10 heals and stores all";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const STORED_AFTER_ALL: &str = "all claims are stored after all faults";

impl Bounds {
    pub fn faults(&self) -> Faults {
        let Self { back, crashes, freezes, restarts, losses, .. } = *self;
        Faults { back, crashes, freezes, restarts, losses }
    }
}

impl FenceProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The steps of all processes and of the operator, without new claims and without faults.
    pub fn background_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for instance in (0..INSTANCES).filter(|instance| !state.processes[*instance].frozen) {
            steps::ledger_actions(self, state, instance, actions);
            recovery::actions(self, state, instance, actions);
        }
        recovery::shared_actions(self, state, actions);
    }

    /// Applies an action to a state in which it is possible.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Ask(..)
            | Action::Join(_)
            | Action::Begin(_)
            | Action::Commit(_)
            | Action::Delete(_)
            | Action::Sweep(_) => steps::ledger_step(self, state, action),
            Action::Remember
            | Action::GoBack
            | Action::Crash(_)
            | Action::Freeze(_)
            | Action::HangUp(_)
            | Action::Thaw(_)
            | Action::Restart
            | Action::LoseAll => steps::fault(state, action),
            _ => recovery::step(self, state, action),
        }
    }
}

impl Model for FenceProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::attempts(self, state, actions);
        self.background_actions(state, actions);
        steps::fault_actions(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_LOST, |_, state: &State| {
                state.alarm || state.is_redis_ahead() || !(0..USERS).any(|user| state.is_lost(user))
            }),
            Property::always(NO_SECOND_EPOCH, |_, state: &State| !state.second_epoch),
            Property::always(REPAIRED, |_, state: &State| !state.unrepaired),
            Property::always(TRUE_ALARM, |_, state: &State| !state.alarm || state.faults.back > 0),
            Property::always(HEALS, healing::heals),
            Property::sometimes(STORED_AFTER_ALL, |protocol: &Self, state: &State| {
                let is_over = state.faults == protocol.bounds.faults() && !state.alarm;
                let stored = state.mysql.claims.iter().filter(|stored| **stored).count();
                is_over && state.agreed().is_some() && stored == protocol.bounds.claims
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.last_token <= REBUILDS_MAX
    }
}
