//! Recovery from every state: if no more faults strike and all users ask, MySQL gets all claims.
//!
//! The checker judges single states, so this module runs the protocol on from the state, with a fair schedule that
//! takes all possible actions by turns. It proves that a recovery exists, not that every order of steps recovers.

use crate::action::Action;
use crate::claiming;
use crate::protocol::Protocol;
use crate::state::{Attempt, INSTANCES, State, Told};

/// The most steps of a run. Every good run ends earlier.
const STEPS_MAX: usize = 200;

pub fn heals(protocol: &Protocol, state: &State) -> bool {
    let mut state = state.clone();
    for process in &mut state.processes {
        process.frozen = false;
    }
    runs_until_quiet(protocol, &mut state) && sells_all(protocol, &mut state)
}

/// Takes steps until no action is possible. Whether the result is quiet; `false` also after [`STEPS_MAX`] steps.
fn runs_until_quiet(protocol: &Protocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        protocol.background_actions(state, &mut actions);
        for user in 0..protocol.bounds.users {
            if let Attempt::Sent { late: true, .. } = state.customers[user].attempt {
                actions.push(Action::GiveUp(user));
            }
        }
        // Actions take turns, so that every possible action is taken eventually.
        let Some(action) = actions.get(step % actions.len().max(1)) else { return is_quiet(state) };
        protocol.step(state, *action);
    }
    false
}

/// Every user asks at an open gate. Whether all units are sold then, or every user has a unit.
fn sells_all(protocol: &Protocol, state: &mut State) -> bool {
    for user in 0..protocol.bounds.users {
        let Some(instance) = (0..INSTANCES).find(|instance| claiming::may_ask(protocol, state, user, *instance)) else {
            return false;
        };
        claiming::ask(state, user, instance);
        if !runs_until_quiet(protocol, state) {
            return false;
        }
    }
    let users = protocol.bounds.users;
    let told = state.customers[..users].iter().filter(|customer| matches!(customer.told, Told::Claim(_))).count();
    let stored = state.mysql.rows.iter().flatten().count();
    let all = users.min(usize::from(protocol.bounds.units));
    told == all && stored == all
}

/// Whether all gates are open, the outbox is empty, and no process has claims left.
fn is_quiet(state: &State) -> bool {
    let idle = |process: &crate::state::Process| {
        process.gate.is_some() && process.unstored_claims().next().is_none() && process.stored.is_empty()
    };
    state.redis.data.outbox.is_empty() && state.processes.iter().all(idle)
}
