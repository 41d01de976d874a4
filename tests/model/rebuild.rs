//! One rebuild, step by step. Every write looks at the token, in Redis and in MySQL.

use crate::action::Action;
use crate::guard::Guard;
use crate::protocol::Protocol;
use crate::recovery::{is_lost, store_drained};
use crate::state::{Claim, Data, INSTANCES, Instance, Live, Loading, Rebuild, Stage, State, USERS};

/// Whether the rebuild goes on after a step, or has been overtaken or is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    On,
    Away,
}

pub fn actions(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild, actions: &mut Vec<Action>) {
    if !in_redis(protocol, state, rebuild) {
        actions.push(Action::End(instance));
    }
    actions.push(match &rebuild.stage {
        Stage::Taken => Action::BeginRebuild(instance),
        Stage::Begun if is_awaiting(protocol, state, instance, rebuild) => return,
        Stage::Begun => Action::Proceed(instance),
        Stage::Awaited if protocol.has(Guard::DrainedBeforeRaising) || rebuild.holds == rebuild.next => {
            Action::Read(instance)
        }
        Stage::Drained if rebuild.holds == rebuild.next => Action::Decide(instance),
        Stage::Awaited | Stage::Drained if is_epoch_held(protocol, state) => return,
        Stage::Awaited | Stage::Drained => Action::Raise(instance),
        Stage::Read(_) => Action::Store(instance),
        Stage::Stored(_) => Action::DeleteDrained(instance),
        Stage::Forgetting => Action::Forget(instance),
        Stage::Loading => Action::Load(instance),
        Stage::Loaded => Action::Finish(instance),
        Stage::Finished => Action::PutLive(instance),
    });
}

/// Whether this process or another may have something of the loading before.
fn is_awaiting(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild) -> bool {
    let in_flight = state.in_flight(instance) && protocol.has(Guard::InFlightAwaited);
    let drained = state.is_drained(instance, protocol.has(Guard::SweptAwaited)) && !in_flight;
    let awaited = |other: Instance| {
        let process = &state.processes[other];
        other != instance && !process.frozen && process.acknowledged < rebuild.next
    };
    (!drained && protocol.has(Guard::OwnAwaited)) || ((0..INSTANCES).any(awaited) && protocol.has(Guard::OthersAwaited))
}

/// Whether a transaction has read the epoch: the row is held in share mode.
fn is_epoch_held(protocol: &Protocol, state: &State) -> bool {
    state.processes.iter().any(|process| process.batch.is_some()) && protocol.has(Guard::EpochHeldByTransactions)
}

/// Whether a write to Redis goes through: over the one connection, and under the token.
fn in_redis(protocol: &Protocol, state: &State, rebuild: &Rebuild) -> bool {
    let owns = state.redis.data.live == Live::Rebuild(rebuild.token) || !protocol.has(Guard::TokenCheckedInRedis);
    state.redis.run == rebuild.run && owns
}

/// Whether a write to the row goes through: it has the epoch and the token that this rebuild relies on.
fn in_mysql(protocol: &Protocol, state: &State, rebuild: &Rebuild) -> bool {
    let row = &state.mysql;
    (row.loading.epoch == rebuild.holds && row.token == rebuild.token) || !protocol.has(Guard::TokenCheckedInMySql)
}

pub fn step(protocol: &Protocol, state: &mut State, instance: Instance, rebuild: &mut Rebuild, action: Action) -> Goes {
    let (redis, next) = (in_redis(protocol, state, rebuild), rebuild.next);
    let owns = match action {
        Action::BeginRebuild(_) | Action::Proceed(_) => true,
        Action::Raise(_) | Action::Finish(_) => in_mysql(protocol, state, rebuild),
        Action::Decide(_) => is_subset(protocol, state, instance, rebuild) || in_mysql(protocol, state, rebuild),
        Action::Store(_) => state.mysql.loading.epoch == rebuild.holds || !protocol.has(Guard::EpochComparedByLedger),
        Action::End(_) => false,
        _ => redis,
    };
    if !owns {
        return Goes::Away;
    }
    rebuild.stage = match action {
        Action::BeginRebuild(_) => begin(protocol, state, instance, rebuild),
        Action::Proceed(_) => Stage::Awaited,
        Action::Raise(_) => raise(state, rebuild),
        Action::Read(_) => read(protocol, state, rebuild.holds),
        Action::Store(_) => stored(state, rebuild),
        Action::DeleteDrained(_) => delete(state, rebuild),
        Action::Decide(_) => decide(protocol, state, instance, rebuild),
        Action::Forget(_) => forget(state),
        Action::Load(_) => load(protocol, state),
        Action::Finish(_) => finish(state, rebuild),
        Action::PutLive(_) => {
            state.redis.data.live = Live::Loaded(Loading { run: rebuild.run, epoch: next });
            return Goes::Away;
        }
        _ => return Goes::Away,
    };
    Goes::On
}

fn begin(protocol: &Protocol, state: &mut State, instance: Instance, rebuild: &mut Rebuild) -> Stage {
    let epoch = state.mysql.loading.epoch;
    let found_epoch = if let Live::Loaded(loading) = rebuild.found { loading.epoch } else { 0 };
    let noted = if is_lost(state, instance, epoch) { Live::Nothing } else { rebuild.found };
    let row = &mut state.mysql;
    rebuild.last = row.loading;
    rebuild.holds = epoch;
    rebuild.next = epoch.max(found_epoch) + u8::from(protocol.has(Guard::EpochRaised));
    if row.is_live || row.found.is_none() {
        row.found = Some(noted);
    }
    rebuild.noted = row.found;
    row.is_live = false;
    row.token = rebuild.token;
    row.next = rebuild.next;
    Stage::Begun
}

fn raise(state: &mut State, rebuild: &mut Rebuild) -> Stage {
    state.mysql.loading.epoch = rebuild.next;
    rebuild.holds = rebuild.next;
    rebuild.stage.clone()
}

fn read(protocol: &Protocol, state: &State, epoch: u8) -> Stage {
    let outbox = &state.redis.data.outbox;
    if outbox.is_empty() || !protocol.has(Guard::DrainedBeforeLoading) {
        return Stage::Drained;
    }
    Stage::Read(outbox.iter().map(|entry| Claim { epoch, ..*entry }).collect())
}

fn stored(state: &mut State, rebuild: &mut Rebuild) -> Stage {
    let Stage::Read(claims) = std::mem::replace(&mut rebuild.stage, Stage::Drained) else { return Stage::Drained };
    rebuild.contradicted |= store_drained(state, &claims);
    Stage::Stored(claims)
}

fn delete(state: &mut State, rebuild: &Rebuild) -> Stage {
    if let Stage::Stored(claims) = &rebuild.stage {
        let is_stored = |entry: &Claim| claims.iter().any(|claim| claim.entry == entry.entry);
        state.redis.data.outbox.retain(|entry| !is_stored(entry));
    }
    Stage::Awaited
}

/// With the outbox drained, what the last loading left is a subset of MySQL.
fn is_subset(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild) -> bool {
    let found = Live::Loaded(rebuild.last) == rebuild.found && rebuild.noted == Some(rebuild.found);
    let contradicted = rebuild.contradicted && protocol.has(Guard::ContradictionForgets);
    (found || !protocol.has(Guard::FoundCompared)) && !contradicted && !is_lost(state, instance, rebuild.last.epoch)
}

fn decide(protocol: &Protocol, state: &mut State, instance: Instance, rebuild: &Rebuild) -> Stage {
    if is_subset(protocol, state, instance, rebuild) || !protocol.has(Guard::RestForgotten) {
        return Stage::Loading;
    }
    state.mysql.found = Some(Live::Nothing);
    Stage::Forgetting
}

fn forget(state: &mut State) -> Stage {
    let data = &mut state.redis.data;
    let (live, outbox) = (data.live, std::mem::take(&mut data.outbox));
    *data = Data { live, outbox, last_entry: data.last_entry, ..Data::empty() };
    Stage::Loading
}

/// A coupon of which Redis has all is skipped; one of which it lacks the last claims gets those; one with holes is loaded
/// whole.
fn load(protocol: &Protocol, state: &mut State) -> Stage {
    let rows = state.mysql.rows;
    let data = &mut state.redis.data;
    data.published = true;
    if !protocol.has(Guard::ClaimsLoaded) {
        return Stage::Loaded;
    }
    let count = rows.iter().flatten().count();
    let highest = rows.iter().rposition(Option::is_some).map_or(0, |row| row + 1);
    let (gaps, claimed) = (highest - count, usize::from(data.claimed));
    if claimed == highest && data.holes.len() == gaps {
        return Stage::Loaded;
    }
    let whole = claimed == 0 || gaps != 0 || !data.holes.is_empty();
    if whole {
        data.holes.clear();
    }
    let from = if whole { 0 } else { claimed };
    for seq in from + 1..=highest {
        let number = u8::try_from(seq).expect("there are few units");
        match rows[seq - 1] {
            Some(user) => data.holders[user] = Some((number, 0)),
            None => data.holes.push(number),
        }
        data.claimed = data.claimed.max(number);
    }
    debug_assert!(count <= USERS);
    Stage::Loaded
}

fn finish(state: &mut State, rebuild: &Rebuild) -> Stage {
    state.mysql.loading.run = rebuild.run;
    state.mysql.is_live = true;
    state.mysql.found = None;
    state.memory_lost = false;
    Stage::Finished
}
