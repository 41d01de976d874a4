//! The settling from every state: once the engine has promoted and MySQL and the servers are reached, the shard ends in
//! the named server, and all units are sold. An instance may never reach the majority again.

use super::action::Action;
use super::protocol::LeaseProtocol;
use super::state::{INSTANCES, Place, Process, State, USERS};
use super::{steps, time};

/// The most ticks, and steps between two ticks, of a run. Every good run ends earlier.
const TICKS_MAX: usize = 20;
const STEPS_MAX: usize = 100;

pub fn settles(protocol: &LeaseProtocol, state: &State) -> bool {
    let mut state = state.clone();
    for process in &mut state.processes {
        (process.cut[Place::Mysql as usize], process.cut[Place::New as usize]) = (false, false);
    }
    if !state.processes.iter().any(|process| process.reaches(Place::Majority)) {
        state.processes[0].cut[Place::Majority as usize] = false;
    }
    runs_until_quiet(protocol, &mut state) && is_open(protocol, &state) && sells_all(protocol, &mut state)
}

/// Takes all possible steps, and lets time pass, until nothing changes any more.
fn runs_until_quiet(protocol: &LeaseProtocol, state: &mut State) -> bool {
    for _ in 0..TICKS_MAX {
        let before = state.clone();
        if !takes_all_steps(protocol, state) || !time::may_tick(protocol, state) {
            return false;
        }
        time::tick(state);
        if !takes_all_steps(protocol, state) {
            return false;
        }
        if *state == before {
            return true;
        }
    }
    false
}

fn takes_all_steps(protocol: &LeaseProtocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        steps::background(protocol, state, &mut actions);
        let Some(action) = actions.get(step % actions.len().max(1)) else { return true };
        protocol.step(state, *action);
    }
    false
}

/// Whether the shard is loaded into the named server, and every instance that reaches the majority sells.
fn is_open(protocol: &LeaseProtocol, state: &State) -> bool {
    let sells = |process: &Process| !process.reaches(Place::Majority) || steps::may_sell(protocol, process);
    state.is_loaded_into(state.primary) && state.processes.iter().all(sells)
}

/// Every user without a claim asks, at an instance that sells.
fn sells_all(protocol: &LeaseProtocol, state: &mut State) -> bool {
    for user in (0..USERS).filter(|user| state.mysql.claims[*user].is_none()).collect::<Vec<_>>() {
        let sells = |instance: &usize| steps::may_sell(protocol, &state.processes[*instance]);
        let Some(instance) = (0..INSTANCES).find(sells) else { return false };
        protocol.step(state, Action::Ask(user, instance));
        if !runs_until_quiet(protocol, state) {
            return false;
        }
    }
    state.mysql.claims.iter().flatten().count() == USERS.min(usize::from(protocol.bounds.units))
}
