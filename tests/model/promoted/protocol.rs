//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::action::Action;
use super::state::{Line, Role, SERVERS, State, USERS};
use super::{healing, steps};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub instances: usize,
    pub units: u8,
    /// All attempts together.
    pub attempts: u8,
    pub promotions: u8,
    /// How often one of two primaries becomes a replica.
    pub demotions: u8,
    /// Connections that break.
    pub cuts: u8,
    /// Rebuilds, also interrupted ones. Later states are not searched.
    pub rebuilds: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// An attempt is sent only over a connection to the process that the gate is open for.
    ProcessComparedByClaims,
    /// A connection to a process that refuses writes, or is a replica, is dropped.
    DroppedWhenReadonly,
    /// A connection for attempts is made again if the gate is open for another process. The link is made again if the
    /// gate is closed, or if the connection for attempts leads to another process.
    OtherProcessDropped,
    /// A rebuild compares again over the connection that it has opened.
    ComparedOnOwnConnection,
    /// If instances report different processes, only the chosen one is rebuilt.
    ChosenRebuilt,
    /// A tie does not choose the process that the shard was last moved away from.
    TieDecidedOnce,
    /// A rebuild waits for the instances at the other primary.
    OthersAwaited,
    /// A gate compares the row of MySQL, and not only the process and `live`.
    RowCompared,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct FailoverProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NO_OVERSELL: &str = "I1 no oversell";
pub const NOTHING_LOST: &str = "I2 nothing lost";
pub const NO_NEEDLESS_REBUILD: &str = "no rebuild of a loaded shard";
pub const SETTLES: &str = "I9, I10 settles and sells all";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const MOVED_AND_SOLD: &str = "all is sold after all promotions, from the new primary";

impl FailoverProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}

impl Model for FailoverProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds.instances)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::attempts(self, state, actions);
        steps::background(self, state, actions);
        faults(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OVERSELL, |_, state: &State| {
                let [first, second] = &state.customers;
                first.told.is_none() || first.told != second.told
            }),
            Property::always(NOTHING_LOST, |_, state| nothing_lost(state)),
            Property::always(NO_NEEDLESS_REBUILD, |_, state: &State| !state.rebuilt_needlessly),
            Property::always(SETTLES, healing::settles),
            Property::sometimes(MOVED_AND_SOLD, |protocol: &Self, state: &State| {
                let Bounds { promotions, cuts, units, attempts, .. } = protocol.bounds;
                let sold = state.mysql.claims.iter().flatten().count();
                (state.promotions, state.cuts) == (promotions, cuts)
                    && sold == usize::from(units.min(attempts))
                    && state.is_loaded_into(state.newest)
                    && state.mysql.loading.epoch > 1
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.last_token <= self.bounds.rebuilds
    }
}

impl FailoverProtocol {
    /// Applies an action to a state in which it is possible.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Promote(server) | Action::PromoteIsolated(server) => {
                state.promotions += 1;
                state.newest = server;
                state.servers[server].role = Role::Primary;
                if action == Action::Promote(server) {
                    state.servers[1 - server].role = Role::Replica;
                }
            }
            Action::Demote(server) => {
                state.demotions += 1;
                state.servers[server].role = Role::Replica;
            }
            Action::MoveAddress(instance) => state.processes[instance].route = state.newest,
            Action::Cut(instance, line) => {
                state.cuts += 1;
                *state.processes[instance].line(line) = None;
            }
            _ => steps::step(self, state, action),
        }
    }
}

/// An answered claim is in MySQL, or its process still has it.
fn nothing_lost(state: &State) -> bool {
    (0..USERS).all(|user| {
        let told = state.customers[user].told;
        let is_pending = |seq| {
            let mut pending = state.processes.iter().flat_map(|process| &process.pending);
            pending.any(|claim| (claim.user, claim.seq) == (user, seq))
        };
        told.is_none_or(|seq| state.mysql.claims[user] == Some(seq) || is_pending(seq))
    })
}

fn faults(protocol: &FailoverProtocol, state: &State, actions: &mut Vec<Action>) {
    for server in 0..SERVERS {
        match state.servers[server].role {
            Role::Replica if state.promotions < protocol.bounds.promotions => {
                actions.extend([Action::Promote(server), Action::PromoteIsolated(server)]);
            }
            Role::Primary if state.is_primary(1 - server) && state.demotions < protocol.bounds.demotions => {
                actions.push(Action::Demote(server))
            }
            Role::Primary | Role::Replica => {}
        }
    }
    for (instance, process) in state.processes.iter().enumerate() {
        if process.route != state.newest && state.is_primary(state.newest) {
            actions.push(Action::MoveAddress(instance));
        }
        if state.cuts < protocol.bounds.cuts {
            if process.link.is_some() {
                actions.push(Action::Cut(instance, Line::Link));
            }
            // A lost reply is a fault of the first model.
            if process.claims.is_some() && !state.has_attempt_in_flight(instance) {
                actions.push(Action::Cut(instance, Line::Claims));
            }
        }
    }
}
