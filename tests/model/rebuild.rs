//! The steps of a rebuild. Every write checks the token, in Redis and in MySQL.

use crate::action::Action;
use crate::guard::Guard;
use crate::protocol::Protocol;
use crate::recovery::{has_contradiction, store_drained};
use crate::state::{Claim, Data, INSTANCES, Instance, Live, Loading, Rebuild, Stage, State, USERS};

/// Whether the rebuild continues after a step, or ends because it is done or overtaken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Continues,
    Ends,
}

pub fn actions(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild, actions: &mut Vec<Action>) {
    if !may_write_redis(protocol, state, rebuild) {
        actions.push(Action::End(instance));
    }
    actions.push(match &rebuild.stage {
        Stage::TokenTaken => Action::BeginRebuild(instance),
        Stage::Begun if is_awaiting(protocol, state, instance, rebuild) => return,
        Stage::Begun => Action::Proceed(instance),
        Stage::Awaited if protocol.has(Guard::DrainedBeforeRaising) || rebuild.row_epoch == rebuild.next => {
            Action::Read(instance)
        }
        Stage::Drained if rebuild.row_epoch == rebuild.next => Action::Decide(instance),
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

/// Whether any running process may have claims or attempts of the earlier loading.
fn is_awaiting(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild) -> bool {
    let in_flight = state.has_attempt_in_flight(instance) && protocol.has(Guard::InFlightAwaited);
    let drained = state.is_drained(instance, protocol.has(Guard::SweptAwaited)) && !in_flight;
    let awaited = |other: Instance| {
        let process = &state.processes[other];
        other != instance && !process.frozen && process.acknowledged < rebuild.next
    };
    (!drained && protocol.has(Guard::OwnClaimsAwaited))
        || ((0..INSTANCES).any(awaited) && protocol.has(Guard::OtherInstancesAwaited))
}

/// Whether an open transaction has read the epoch and locks the row in share mode.
fn is_epoch_held(protocol: &Protocol, state: &State) -> bool {
    state.processes.iter().any(|process| process.batch.is_some()) && protocol.has(Guard::EpochHeldByTransactions)
}

/// Whether a write to Redis succeeds: over the rebuild's only connection, and under its token.
fn may_write_redis(protocol: &Protocol, state: &State, rebuild: &Rebuild) -> bool {
    let owns = state.redis.data.live == Live::Rebuild(rebuild.token) || !protocol.has(Guard::TokenCheckedInRedis);
    state.redis.run == rebuild.run && owns
}

/// Whether a write to the row succeeds: the row has the epoch and the token of the rebuild.
fn may_write_mysql(protocol: &Protocol, state: &State, rebuild: &Rebuild) -> bool {
    let row = &state.mysql;
    (row.loading.epoch == rebuild.row_epoch && row.token == rebuild.token) || !protocol.has(Guard::TokenCheckedInMySql)
}

pub fn step(
    protocol: &Protocol,
    state: &mut State,
    instance: Instance,
    rebuild: &mut Rebuild,
    action: Action,
) -> Progress {
    let (redis, next) = (may_write_redis(protocol, state, rebuild), rebuild.next);
    let owns = match action {
        Action::BeginRebuild(_) | Action::Proceed(_) => true,
        Action::Raise(_) | Action::Finish(_) => may_write_mysql(protocol, state, rebuild),
        Action::Decide(_) => is_subset(protocol, state, instance, rebuild) || may_write_mysql(protocol, state, rebuild),
        Action::Store(_) => {
            state.mysql.loading.epoch == rebuild.row_epoch || !protocol.has(Guard::EpochComparedByLedger)
        }
        Action::End(_) => false,
        _ => redis,
    };
    if !owns {
        return Progress::Ends;
    }
    rebuild.stage = match action {
        Action::BeginRebuild(_) => begin(protocol, state, instance, rebuild),
        Action::Proceed(_) => Stage::Awaited,
        Action::Raise(_) => raise(state, rebuild),
        Action::Read(_) => read(protocol, state, rebuild.row_epoch),
        Action::Store(_) => stored(state, rebuild),
        Action::DeleteDrained(_) => delete(state, rebuild),
        Action::Decide(_) => decide(protocol, state, instance, rebuild),
        Action::Forget(_) => forget(state),
        Action::Load(_) => load(protocol, state),
        Action::Finish(_) => finish(state, rebuild),
        Action::PutLive(_) => {
            state.redis.data.live = Live::Loaded(Loading { run: rebuild.run, epoch: next });
            state.redis.data.origin = Live::Nothing;
            return Progress::Ends;
        }
        _ => return Progress::Ends,
    };
    Progress::Continues
}

fn begin(protocol: &Protocol, state: &mut State, instance: Instance, rebuild: &mut Rebuild) -> Stage {
    let epoch = state.mysql.loading.epoch;
    let found_epoch = if let Live::Loaded(loading) = rebuild.found { loading.epoch } else { 0 };
    let is_last = rebuild.found == Live::Loaded(state.mysql.loading) || !protocol.has(Guard::FoundCompared);
    let keeps = is_last && !has_contradiction(state, instance, epoch);
    let recorded = if keeps { rebuild.found } else { Live::Nothing };
    let row = &mut state.mysql;
    rebuild.last = row.loading;
    rebuild.row_epoch = epoch;
    rebuild.next = epoch.max(found_epoch) + u8::from(protocol.has(Guard::EpochRaised));
    if row.is_live || row.found.is_none() {
        row.found = Some(recorded);
    }
    rebuild.recorded = row.found;
    row.is_live = false;
    row.token = rebuild.token;
    row.next = rebuild.next;
    Stage::Begun
}

fn raise(state: &mut State, rebuild: &mut Rebuild) -> Stage {
    state.mysql.loading.epoch = rebuild.next;
    rebuild.row_epoch = rebuild.next;
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
    if store_drained(state, &claims) {
        rebuild.contradicted = true;
        state.mysql.found = Some(Live::Nothing);
    }
    Stage::Stored(claims)
}

fn delete(state: &mut State, rebuild: &Rebuild) -> Stage {
    if let Stage::Stored(claims) = &rebuild.stage {
        let is_stored = |entry: &Claim| claims.iter().any(|claim| claim.entry == entry.entry);
        state.redis.data.outbox.retain(|entry| !is_stored(entry));
    }
    Stage::Awaited
}

/// Whether the data in Redis is a subset of MySQL, once the outbox is drained.
fn is_subset(protocol: &Protocol, state: &State, instance: Instance, rebuild: &Rebuild) -> bool {
    let recorded = rebuild.recorded.filter(|recorded| *recorded != Live::Nothing);
    let found = recorded == Some(state.redis.data.origin);
    let contradicted = rebuild.contradicted && protocol.has(Guard::ContradictionForgets);
    (found || !protocol.has(Guard::FoundCompared))
        && !contradicted
        && !has_contradiction(state, instance, rebuild.last.epoch)
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

/// A coupon complete in Redis is skipped. A coupon that lacks only the last claims gets them. A coupon with holes is
/// loaded completely.
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
        let number = u8::try_from(seq).expect("the model has two units");
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
