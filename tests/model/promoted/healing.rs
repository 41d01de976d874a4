//! The settling from every state: without further faults the shard ends in one server, and all units are sold.
//!
//! A fair schedule takes all possible steps by turns until no step is possible. Two instances that rebuild the shard by
//! turns never come to that end. The addresses stay as they are, so two instances may see two primaries for ever. Only
//! an address of a replica moves to a primary.

use super::action::Action;
use super::protocol::FailoverProtocol;
use super::state::{SERVERS, State, USERS};
use super::steps;

/// The most steps of a run. Every good run ends earlier.
const STEPS_MAX: usize = 200;

pub fn settles(protocol: &FailoverProtocol, state: &State) -> bool {
    let mut state = state.clone();
    let Some(primary) = (0..SERVERS).find(|server| state.is_primary(*server)) else { return false };
    for instance in 0..state.processes.len() {
        if !state.is_primary(state.processes[instance].route) {
            state.processes[instance].route = primary;
        }
    }
    runs_until_quiet(protocol, &mut state) && is_open(protocol, &state) && sells_all(protocol, &mut state)
}

/// Takes steps until no step is possible. `false` after [`STEPS_MAX`] steps.
fn runs_until_quiet(protocol: &FailoverProtocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        steps::background(protocol, state, &mut actions);
        let Some(action) = actions.get(step % actions.len().max(1)) else { return true };
        protocol.step(state, *action);
    }
    false
}

/// Whether an instance sells, and every instance whose address leads to the loaded server does.
fn is_open(protocol: &FailoverProtocol, state: &State) -> bool {
    let server = state.mysql.loading.server;
    let sells = |instance: usize| steps::may_ask(protocol, state, instance);
    let leads = |instance: &usize| state.processes[*instance].route == server;
    let mut instances = 0..state.processes.len();
    state.is_loaded_into(server) && instances.clone().any(sells) && instances.all(|one| !leads(&one) || sells(one))
}

/// Every user without a claim asks, at an instance that sells.
fn sells_all(protocol: &FailoverProtocol, state: &mut State) -> bool {
    for user in (0..USERS).filter(|user| state.customers[*user].told.is_none()).collect::<Vec<_>>() {
        let mut instances = 0..state.processes.len();
        let Some(instance) = instances.find(|instance| steps::may_ask(protocol, state, *instance)) else {
            return false;
        };
        protocol.step(state, Action::Ask(user, instance));
        if !runs_until_quiet(protocol, state) {
            return false;
        }
    }
    let told = state.customers.iter().filter(|customer| customer.told.is_some()).count();
    let stored = state.mysql.claims.iter().flatten().count();
    let all = USERS.min(usize::from(protocol.bounds.units));
    told == all && stored == all
}
