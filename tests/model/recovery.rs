//! Recovery: comparison, acknowledgement, opening of gates, and the rebuild with a token.

use crate::action::Action;
use crate::guard::Guard;
use crate::ledger::{Stored, store};
use crate::protocol::Protocol;
use crate::rebuild;
use crate::state::{Instance, Live, Loading, Rebuild, Stage, State};

pub fn actions(protocol: &Protocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if let Some(rebuild) = &process.rebuild {
        rebuild::actions(protocol, state, instance, rebuild, actions);
        return;
    }
    let agreed = agreed_loading(protocol, state);
    let has_contradiction = has_contradiction(state, instance, state.mysql.loading.epoch);
    if process.gate.is_some() && (process.gate != agreed || has_contradiction) {
        actions.push(Action::Close(instance));
    }
    if epoch_to_acknowledge(protocol, state, instance).is_some_and(|epoch| epoch != process.acknowledged) {
        actions.push(Action::Acknowledge(instance));
    }
    if process.gate.is_none() {
        if agreed.is_some() && !has_contradiction {
            actions.push(Action::Open(instance));
        } else if !matches!(state.redis.data.live, Live::Rebuild(_)) {
            actions.push(Action::TakeToken(instance));
        }
    }
}

/// A token expires if no running process renews it.
pub fn expiry(state: &State, actions: &mut Vec<Action>) {
    let Live::Rebuild(token) = state.redis.data.live else { return };
    let renews = |process: &crate::state::Process| {
        !process.frozen && process.rebuild.as_ref().is_some_and(|rebuild| rebuild.token == token)
    };
    if !state.processes.iter().any(renews) {
        actions.push(Action::Expire);
    }
}

/// The loading that gates may open for. Redis process, `live` and row agree on it.
fn agreed_loading(protocol: &Protocol, state: &State) -> Option<Loading> {
    let loading = state.mysql.loading;
    let process = loading.run == state.redis.run || !protocol.has(Guard::ProcessComparedByRecovery);
    let agree = state.mysql.is_live && process && state.redis.data.live == Live::Loaded(loading);
    agree.then_some(loading)
}

/// Whether the process knows a claim in contradiction to MySQL, of the loading `epoch` or later.
pub fn has_contradiction(state: &State, instance: Instance, epoch: u8) -> bool {
    state.processes[instance].contradicted >= epoch.max(1)
}

fn epoch_to_acknowledge(protocol: &Protocol, state: &State, instance: Instance) -> Option<u8> {
    if state.mysql.is_live {
        return Some(state.mysql.loading.epoch);
    }
    let in_flight = state.has_attempt_in_flight(instance) && protocol.has(Guard::InFlightAwaited);
    let drained = state.is_drained(instance, protocol.has(Guard::SweptAwaited)) && !in_flight;
    (state.processes[instance].gate.is_none() && drained).then_some(state.mysql.next)
}

pub fn step(protocol: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Close(instance) => state.processes[instance].gate = None,
        Action::Acknowledge(instance) => {
            if let Some(epoch) = epoch_to_acknowledge(protocol, state, instance) {
                state.processes[instance].acknowledged = epoch;
            }
        }
        Action::Open(instance) => state.processes[instance].gate = agreed_loading(protocol, state),
        Action::TakeToken(instance) => take_token(state, instance),
        Action::Expire => state.redis.data.live = Live::Nothing,
        Action::BeginRebuild(instance)
        | Action::Proceed(instance)
        | Action::Raise(instance)
        | Action::Read(instance)
        | Action::Store(instance)
        | Action::DeleteDrained(instance)
        | Action::Decide(instance)
        | Action::Forget(instance)
        | Action::Load(instance)
        | Action::Finish(instance)
        | Action::PutLive(instance)
        | Action::End(instance) => {
            let Some(mut rebuild) = state.processes[instance].rebuild.take() else { return };
            if rebuild::step(protocol, state, instance, &mut rebuild, action) == rebuild::Progress::Continues {
                state.processes[instance].rebuild = Some(rebuild);
            } else if state.redis.data.live == Live::Rebuild(rebuild.token) && state.redis.run == rebuild.run {
                // The token is released, because a later rebuild would wait for its expiry.
                state.redis.data.live = Live::Nothing;
            }
        }
        _ => {}
    }
}

fn take_token(state: &mut State, instance: Instance) {
    state.last_token += 1;
    let found = std::mem::replace(&mut state.redis.data.live, Live::Rebuild(state.last_token));
    if matches!(found, Live::Loaded(_)) {
        state.redis.data.origin = found;
    }
    state.processes[instance].rebuild = Some(Rebuild {
        token: state.last_token,
        run: state.redis.run,
        found,
        last: state.mysql.loading,
        recorded: None,
        next: 0,
        row_epoch: 0,
        contradicted: false,
        stage: Stage::TokenTaken,
    });
}

/// Stores the claims of the outbox under the new epoch. Whether any of them contradicts MySQL.
pub fn store_drained(state: &mut State, claims: &[crate::state::Claim]) -> bool {
    let stored: Vec<Stored> = claims.iter().map(|claim| store(&mut state.mysql, claim, false)).collect();
    stored.contains(&Stored::Poisoned)
}
