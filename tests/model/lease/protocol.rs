//! The model for the checker: bounds, guards and properties.

use stateright::{Model, Property};

use super::action::Action;
use super::state::{INSTANCES, NEW, OLD, PLACES, Role, State, USERS};
use super::{healing, steps, time};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub name: &'static str,
    pub units: u8,
    /// All attempts together.
    pub attempts: u8,
    /// How often an instance is cut off from a place.
    pub cuts: u8,
    /// Replies that are delayed.
    pub late: u8,
    /// Whether instance 1 is cut off, too.
    pub cuts_both: bool,
    /// Whether the old primary becomes a replica after the promotion.
    pub demotes: bool,
    /// Rebuilds, also interrupted ones. Later states are not searched.
    pub rebuilds: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Every attempt compares the lease.
    LeaseCompared,
    /// The lease counts from the sending of the beat or the question, not from the reply.
    CountedFromSending,
    /// A beat extends the lease only if the row still has the loading of the gate.
    RowReadAfterBeat,
    /// The lease is shorter than the silence after which an instance counts as dead.
    ShorterThanDeath,
    /// Only a majority extends the lease, and not the server that the instance talks to.
    MajorityAsked,
    /// A reply after its deadline is no answer.
    LateRepliesDropped,
    /// A rebuild waits for instances that were heard a while ago.
    SilenceAwaited,
    /// A connection to a server that the majority does not name is given up.
    OtherGivenUp,
    /// A server is rebuilt only if the majority names it.
    NamedRebuilt,
    /// The majority is asked again before a rebuild.
    AskedBeforeRebuild,
}

/// The protocol, complete or without a guard.
#[derive(Clone, Copy, Debug)]
pub struct LeaseProtocol {
    pub bounds: Bounds,
    pub without: Option<Guard>,
}

pub const NO_OVERSELL: &str = "I1 no oversell in MySQL and in the loaded Redis";
pub const NOTHING_LOST: &str = "I2 nothing lost but the last answers of an instance that was cut off";
pub const REBUILT_WHERE_NAMED: &str = "a rebuild only in the process that the majority names";
pub const SETTLES: &str = "I9, I10 settles and sells all";
/// Not an invariant. Shows that the search reaches the interesting states.
pub const MOVED_AND_SOLD: &str = "all is sold by the new primary after all cuts";

impl LeaseProtocol {
    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Applies an action to a state in which it is possible.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Promote => {
                state.primary = NEW;
                state.servers[NEW].role = Role::Primary;
            }
            Action::Demote => {
                let new = state.servers[NEW].clone();
                state.servers[OLD] = super::state::RedisServer { role: Role::Replica, ..new };
            }
            Action::Cut(instance, place) => {
                state.cuts += 1;
                state.processes[instance].cut[place as usize] = true;
            }
            Action::BeatLate(instance) => {
                state.late += 1;
                time::beat(self, state, instance);
            }
            Action::AskLate(instance) => {
                state.late += 1;
                time::ask(self, state, instance);
            }
            Action::Heal(instance, place) => state.processes[instance].cut[place as usize] = false,
            _ => steps::step(self, state, action),
        }
    }
}

impl Model for LeaseProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::attempts(self, state, actions);
        steps::background(self, state, actions);
        if time::may_tick(self, state) {
            actions.push(Action::Tick);
        }
        faults(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_OVERSELL, no_oversell),
            Property::always(NOTHING_LOST, |_, state: &State| (0..USERS).all(|user| is_kept(state, user))),
            Property::always(REBUILT_WHERE_NAMED, |_, state: &State| !state.rebuilt_elsewhere),
            Property::always(SETTLES, healing::settles),
            Property::sometimes(MOVED_AND_SOLD, |protocol: &Self, state: &State| {
                let sold = state.mysql.claims.iter().flatten().count();
                let most = protocol.bounds.units.min(protocol.bounds.attempts);
                state.cuts == protocol.bounds.cuts && sold == usize::from(most) && state.is_loaded_into(NEW)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.last_token <= self.bounds.rebuilds
    }
}

/// Every unit has one claim in MySQL and in the loaded server together.
fn no_oversell(_: &LeaseProtocol, state: &State) -> bool {
    let server = state.mysql.loading.server;
    let here = if state.is_loaded_into(server) { state.servers[server].holders } else { [None; USERS] };
    let seqs: Vec<u8> = (0..USERS).filter_map(|user| state.mysql.claims[user].or(here[user])).collect();
    seqs.iter().enumerate().all(|(at, seq)| !seqs[..at].contains(seq))
}

/// Whether the claim that `user` was told of is in MySQL or on its way there, or may be lost.
fn is_kept(state: &State, user: usize) -> bool {
    state.customers[user].told.is_none_or(|told| told.may_be_lost || state.is_safe(user, told.seq))
}

fn faults(protocol: &LeaseProtocol, state: &State, actions: &mut Vec<Action>) {
    if state.primary == OLD {
        actions.push(Action::Promote);
    } else if state.is_primary(OLD) && protocol.bounds.demotes {
        actions.push(Action::Demote);
    }
    for instance in 0..INSTANCES {
        let may_be_cut = instance == 0 || protocol.bounds.cuts_both;
        let process = &state.processes[instance];
        if may_be_cut && state.late < protocol.bounds.late {
            if time::may_beat(protocol, state, instance) {
                actions.push(Action::BeatLate(instance));
            }
            if time::may_ask(protocol, state, process) {
                actions.push(Action::AskLate(instance));
            }
        }
        for place in PLACES {
            if !state.processes[instance].reaches(place) {
                actions.push(Action::Heal(instance, place));
            } else if may_be_cut && state.cuts < protocol.bounds.cuts {
                actions.push(Action::Cut(instance, place));
            }
        }
    }
}
