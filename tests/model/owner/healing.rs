//! The end of every state without further faults. A fair schedule takes all possible steps by turns.

use super::action::Action;
use super::protocol::OwnerProtocol;
use super::state::{DATABASES, Instance, Phase, State};
use super::{people, steps};

/// The most steps of a run. Every good run ends earlier.
const STEPS_MAX: usize = 300;

/// Every running process opens, or exits.
pub fn everybody_decides(protocol: &OwnerProtocol, state: &State) -> bool {
    let mut state = state.clone();
    wake(&mut state);
    let is_decided = |instance: &Instance| !instance.is_running() || instance.gate.is_some();
    runs_until_quiet(protocol, &mut state) && state.instances.iter().all(is_decided)
}

/// For each database that Redis may belong to: if only its processes run, they open.
pub fn rightful_owner_opens(protocol: &OwnerProtocol, state: &State) -> bool {
    (0..DATABASES).all(|database| !is_rightful(state, database) || opens(protocol, state, database))
}

/// Whether the data in Redis is of this database, or Redis is empty and free.
fn is_rightful(state: &State, database: usize) -> bool {
    let (redis, row) = (&state.redis, &state.mysql[database]);
    let is_free = redis.owner.is_none_or(|owner| owner == row.id);
    row.exists && is_free && redis.content.is_none_or(|content| content == database)
}

fn opens(protocol: &OwnerProtocol, state: &State, database: usize) -> bool {
    let mut state = state.clone();
    wake(&mut state);
    for process in 0..state.instances.len() {
        let instance = &state.instances[process];
        let is_other = instance.database != database;
        if is_other {
            state.instances[process] = Instance::new(instance.database);
        }
        if !state.instances[process].is_running() {
            state.redis.beats[process] = None;
        }
        if !is_other && !state.instances[process].is_running() {
            people::step(protocol, &mut state, Action::Start(process));
        }
    }
    let is_there = state.instances.iter().any(|instance| instance.database == database);
    let is_open = |state: &State| {
        let mut processes = (0..state.instances.len()).filter(|one| state.instances[*one].database == database);
        processes.all(|process| state.is_open(process) && !state.crosses(process))
    };
    if !is_there || (runs_until_quiet(protocol, &mut state) && is_open(&state)) {
        return true;
    }
    // A process may have exited because of another one that it has seen before.
    for process in 0..state.instances.len() {
        if state.instances[process].phase == Phase::Refused {
            people::step(protocol, &mut state, Action::Start(process));
        }
    }
    runs_until_quiet(protocol, &mut state) && is_open(&state)
}

fn wake(state: &mut State) {
    for instance in &mut state.instances {
        if instance.phase == Phase::Frozen {
            instance.phase = Phase::Running;
        }
    }
}

/// Takes steps until no step is possible. `false` after [`STEPS_MAX`] steps.
fn runs_until_quiet(protocol: &OwnerProtocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        steps::background(protocol, state, &mut actions);
        let Some(action) = actions.get(step % actions.len().max(1)) else { return true };
        protocol.step(state, *action);
    }
    false
}
