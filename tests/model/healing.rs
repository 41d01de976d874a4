//! That the way back is always open: from any state, if nothing breaks any more and everybody asks, MySQL has all.
//!
//! The checker looks at single states, so this runs the protocol on from each of them, by one fair schedule: whatever can
//! be done is done, round by round. It shows that a way exists, not that every way leads there.

use crate::action::Action;
use crate::claiming;
use crate::protocol::Protocol;
use crate::state::{Attempt, INSTANCES, State, Told};

/// Steps after which the run would have ended.
const STEPS_MAX: usize = 200;

pub fn heals(protocol: &Protocol, state: &State) -> bool {
    let mut state = state.clone();
    for process in &mut state.processes {
        process.frozen = false;
    }
    run(protocol, &mut state) && asked_again(protocol, &mut state)
}

/// Works until nothing is left to do; `false` where that does not come.
fn run(protocol: &Protocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        protocol.work(state, &mut actions);
        for user in 0..protocol.bounds.users {
            if let Attempt::Sent { late: true, .. } = state.customers[user].attempt {
                actions.push(Action::GiveUp(user));
            }
        }
        // By turns, so that nobody who can go on is left behind.
        let Some(action) = actions.get(step % actions.len().max(1)) else { return is_quiet(state) };
        protocol.step(state, *action);
    }
    false
}

/// Everybody asks, where a gate is open; then all units are sold, or nobody is without one.
fn asked_again(protocol: &Protocol, state: &mut State) -> bool {
    for user in 0..protocol.bounds.users {
        let Some(instance) = (0..INSTANCES).find(|instance| claiming::may_ask(protocol, state, user, *instance)) else {
            return false;
        };
        claiming::ask(state, user, instance);
        if !run(protocol, state) {
            return false;
        }
    }
    let users = protocol.bounds.users;
    let told = state.customers[..users].iter().filter(|customer| matches!(customer.told, Told::Claim(_))).count();
    let stored = state.mysql.rows.iter().flatten().count();
    let all = users.min(usize::from(protocol.bounds.units));
    told == all && stored == all
}

/// Gates are open, and nothing is in the outbox or in anybody's hands.
fn is_quiet(state: &State) -> bool {
    let idle = |process: &crate::state::Process| {
        process.gate.is_some() && process.held().next().is_none() && process.stored.is_empty()
    };
    state.redis.data.outbox.is_empty() && state.processes.iter().all(idle)
}
