//! Recovery from every state: without further faults, and with an operator who repairs after an alarm, gates open and
//! MySQL gets all claims. A fair schedule takes all possible steps by turns.

use super::action::Action;
use super::protocol::FenceProtocol;
use super::state::{INSTANCES, Process, State, USERS};
use super::steps;

/// The most steps of a run. Every good run ends earlier.
const STEPS_MAX: usize = 300;

pub fn heals(protocol: &FenceProtocol, state: &State) -> bool {
    let mut state = state.clone();
    state.processes.iter_mut().for_each(|process| process.frozen = false);
    if !runs_until_quiet(protocol, &mut state) {
        return false;
    }
    for user in (0..USERS).filter(|user| !state.told[*user]).collect::<Vec<_>>() {
        let Some(instance) = (0..INSTANCES).find(|instance| steps::may_ask(&state, user, *instance)) else {
            return false;
        };
        protocol.step(&mut state, Action::Ask(user, instance));
        if !runs_until_quiet(protocol, &mut state) {
            return false;
        }
    }
    state.mysql.claims == [true; USERS]
}

/// Takes steps until no step is possible. Whether the result is quiet; `false` also after [`STEPS_MAX`] steps.
fn runs_until_quiet(protocol: &FenceProtocol, state: &mut State) -> bool {
    let mut actions = Vec::new();
    for step in 0..STEPS_MAX {
        actions.clear();
        protocol.background_actions(state, &mut actions);
        // A comparison that finds nothing has no end.
        actions.retain(|action| !matches!(action, Action::Look(_)) || state.is_redis_ahead());
        let Some(action) = actions.get(step % actions.len().max(1)) else { return is_quiet(state) };
        protocol.step(state, *action);
    }
    false
}

/// Whether all gates are open, the outbox is empty, nothing answered is lost, and no process has claims left.
fn is_quiet(state: &State) -> bool {
    let idle = |process: &Process| process.gate.is_some() && process.unstored_claims().next().is_none();
    let lost = (0..USERS).any(|user| state.is_lost(user));
    state.redis.outbox == [false; USERS] && state.processes.iter().all(idle) && !lost
}
