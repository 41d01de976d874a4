//! Comparisons, rebuilds, and the repair by an operator.

use super::action::Action;
use super::fence::{self, Fence};
use super::protocol::{FenceProtocol, Guard};
use super::state::{
    Batch, Claim, Instance, Joined, LedgerRow, Live, Look, PROCESSES, Rebuild, Seen, Stage, State, USERS, is_ahead,
};
use super::steps::delete_entries;

pub fn actions(protocol: &FenceProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if let Some(rebuild) = &process.rebuild {
        rebuild_actions(protocol, state, instance, rebuild, actions);
        return;
    }
    let agreed = state.agreed().filter(|_| !state.alarm);
    if process.gate.is_some() && process.gate != agreed {
        actions.push(Action::Close(instance));
    }
    if process.gate.is_none() && agreed.is_some() {
        actions.push(Action::Open(instance));
    }
    let is_taken = matches!(state.redis.live, Live::Rebuild(_));
    if process.gate.is_none() && state.agreed().is_none() && !state.alarm && !is_taken {
        actions.push(Action::TakeToken(instance));
    }
}

fn rebuild_actions(
    protocol: &FenceProtocol,
    state: &State,
    instance: Instance,
    rebuild: &Rebuild,
    actions: &mut Vec<Action>,
) {
    let is_overtaken = state.redis.live != Live::Rebuild(rebuild.token) || state.mysql.token != rebuild.token;
    if is_overtaken || state.alarm {
        actions.push(Action::End(instance));
        return;
    }
    let awaited = || {
        let mut others = state.processes.iter().filter(|process| !process.frozen);
        others.any(|process| !process.is_drained(rebuild.last))
    };
    // Raising the epoch waits for the open batches, which have locked their rows.
    let is_locked = protocol.has(Guard::RaiseWaits) && state.processes.iter().any(|process| process.batch.is_some());
    match rebuild.stage {
        Stage::Draining if awaited() => {}
        Stage::Draining if state.redis.outbox.contains(&true) => {
            let is_joined = state.processes[instance].joined == Joined::Yes;
            actions.push(if is_joined { Action::Drain(instance) } else { Action::Join(instance) });
        }
        Stage::Draining if is_locked => {}
        Stage::Draining => actions.push(Action::Raise(instance)),
        Stage::Stored(_) => actions.push(Action::DeleteDrained(instance)),
        Stage::Raised => actions.push(Action::Load(instance)),
    }
}

/// Comparisons, at most one at a time, the expiry of a token, and the repair.
pub fn shared_actions(protocol: &FenceProtocol, state: &State, actions: &mut Vec<Action>) {
    let owns = |token| {
        let mut rebuilds = state.processes.iter().filter(|process| !process.frozen).flat_map(|p| &p.rebuild);
        rebuilds.any(|rebuild| rebuild.token == token)
    };
    if let Live::Rebuild(token) = state.redis.live
        && !owns(token)
    {
        actions.push(Action::Expire);
    }
    if let Some(look) = &state.look {
        if !state.processes[look.instance].frozen {
            actions.push(Action::Judge);
        }
    } else if protocol.has(Guard::ComparedEachSecond) && !state.alarm {
        let looks = state.processes.iter().position(|process| !process.frozen);
        actions.extend(looks.map(Action::Look));
    }
    let is_idle = state.processes.iter().all(|process| {
        process.batch.is_none() && (process.frozen || (process.gate.is_none() && process.rebuild.is_none()))
    });
    if state.alarm && is_idle {
        actions.push(Action::Repair);
    }
}

pub fn step(protocol: &FenceProtocol, state: &mut State, action: Action) {
    match action {
        Action::Look(instance) => {
            let seen = if protocol.has(Guard::CountersReadFirst) {
                Seen::Redis(state.redis.epoch, state.redis.counters)
            } else {
                Seen::Rows(state.mysql.epoch, state.mysql.ledgers)
            };
            state.look = Some(Look { instance, seen });
        }
        Action::Judge => judge(protocol, state),
        Action::Close(instance) => state.processes[instance].gate = None,
        Action::Open(instance) => state.processes[instance].gate = state.agreed(),
        Action::TakeToken(instance) => take_token(state, instance),
        Action::Expire => state.redis.live = Live::Nothing,
        Action::Drain(instance) => drain(protocol, state, instance),
        Action::DeleteDrained(instance) => {
            let Some(rebuild) = &mut state.processes[instance].rebuild else { return };
            if let Stage::Stored(batch) = std::mem::replace(&mut rebuild.stage, Stage::Draining) {
                delete_entries(protocol, state, instance, &batch);
            }
        }
        Action::Raise(instance) => raise(protocol, state, instance),
        Action::Load(instance) => load(protocol, state, instance),
        Action::End(instance) => end(state, instance),
        Action::Repair => repair(protocol, state),
        _ => {}
    }
}

/// Ends a comparison. Redis is read first, because its counters follow the rows.
fn judge(protocol: &FenceProtocol, state: &mut State) {
    let Some(Look { instance, seen }) = state.look.take() else { return };
    let (redis, mysql) = (&state.redis, &state.mysql);
    let ahead = match &seen {
        Seen::Redis(epoch, counters) => is_ahead((*epoch, counters), (mysql.epoch, &mysql.ledgers)),
        Seen::Rows(epoch, rows) => is_ahead((redis.epoch, &redis.counters), (*epoch, rows)),
    };
    if ahead {
        fence::raise_alarm(protocol, state, instance);
    }
}

/// Puts the token into `live` and records the rebuild in the row.
fn take_token(state: &mut State, instance: Instance) {
    state.last_token += 1;
    let found = match state.redis.live {
        Live::Loaded(epoch) | Live::Outdated(epoch) => epoch,
        Live::Nothing | Live::Rebuild(_) => 0,
    };
    let (token, last) = (state.last_token, state.mysql.epoch);
    (state.redis.live, state.mysql.is_live, state.mysql.token) = (Live::Rebuild(token), false, token);
    let rebuild = Rebuild { token, last, next: last.max(found) + 1, stage: Stage::Draining };
    state.processes[instance].rebuild = Some(rebuild);
}

/// A batch of all claims in the outbox, under the epoch of the row.
fn drain(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    let epoch = state.mysql.epoch;
    match fence::check(protocol, state, instance, epoch) {
        Fence::Passed => {}
        Fence::Late => return end(state, instance),
        Fence::WentBack => {
            fence::raise_alarm(protocol, state, instance);
            return end(state, instance);
        }
        Fence::Unknown => {
            state.processes[instance].joined = Joined::No;
            return;
        }
    }
    let number = fence::next_number(state, instance);
    let claims: Vec<Claim> =
        (0..USERS).filter(|user| state.redis.outbox[*user]).map(|user| Claim { epoch, user }).collect();
    for claim in &claims {
        state.mysql.claims[claim.user] = true;
    }
    fence::commit_number(state, instance, number);
    if let Some(rebuild) = &mut state.processes[instance].rebuild {
        rebuild.stage = Stage::Stored(Batch { claims, number });
    }
}

/// Raises the epoch in `shards` and in all rows of `ledgers`, if Redis is not ahead. The rows of dead processes go.
fn raise(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    if state.is_redis_ahead() && protocol.has(Guard::ComparedBeforeRebuild) {
        fence::raise_alarm(protocol, state, instance);
        return end(state, instance);
    }
    let Some(rebuild) = &mut state.processes[instance].rebuild else { return };
    rebuild.stage = Stage::Raised;
    state.mysql.epoch = rebuild.next;
    if protocol.has(Guard::RowsRaised) {
        let next = rebuild.next;
        for (id, row) in state.mysql.ledgers.iter_mut().enumerate() {
            row.take_if(|_| !state.processes.iter().any(|process| process.id == id && !process.frozen));
            *row = row.map(|row| LedgerRow { epoch: next, ..row });
        }
    }
}

/// Forgets the data in Redis, loads the rows of MySQL, and sets the shard to live. The outbox is empty. The step that
/// writes `live` also writes the epoch into the hash of the counters, and replaces the counters by those of the rows.
/// Counters of dead processes are not needed any more: a MySQL that goes back to a moment before this one has an older
/// epoch.
fn load(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    let Some(next) = state.processes[instance].rebuild.as_ref().map(|rebuild| rebuild.next) else { return };
    if state.mysql.epoch != next {
        return end(state, instance);
    }
    state.redis.holders = state.mysql.claims;
    if protocol.has(Guard::EpochKept) {
        state.redis.epoch = next;
    }
    if protocol.has(Guard::CountersReset) {
        state.redis.counters = state.mysql.ledgers.map(|row| row.map(|row| row.counter));
    }
    state.mysql.is_live = true;
    state.memory_lost = false;
    state.redis.live = Live::Loaded(next);
    state.processes[instance].rebuild = None;
}

fn end(state: &mut State, instance: Instance) {
    let rebuild = state.processes[instance].rebuild.take();
    if rebuild.is_some_and(|rebuild| state.redis.live == Live::Rebuild(rebuild.token)) {
        state.redis.live = Live::Nothing;
    }
}

/// Writes the claims of Redis into MySQL, brings the rows of `ledgers` up to the counters and the epoch of Redis, and
/// ends the alarm.
fn repair(protocol: &FenceProtocol, state: &mut State) {
    fence::all_tell(protocol, state);
    for user in 0..USERS {
        let is_known = state.redis.holders[user] || state.redis.outbox[user];
        state.mysql.claims[user] |= is_known && protocol.has(Guard::RepairWritesBack);
    }
    state.mysql.epoch = state.mysql.epoch.max(state.redis.epoch);
    for id in 0..PROCESSES {
        let row = state.mysql.ledgers[id].map(|row| row.counter);
        let counter = state.redis.counters[id].max(row);
        state.mysql.ledgers[id] = counter.map(|counter| LedgerRow { epoch: state.mysql.epoch, counter });
    }
    state.mysql.is_live = true;
    state.alarm = false;
    state.unrepaired |= (0..USERS).any(|user| state.is_lost(user));
    let mut living = state.processes.iter().filter(|process| !process.frozen && process.joined == Joined::Yes);
    state.unrepaired |=
        living.any(|process| state.mysql.ledgers[process.id].is_some_and(|row| row.counter < process.committed));
}
