//! The steps of claims and ledgers, and the faults.

use super::action::Action;
use super::fence::{self, Fence};
use super::protocol::{FenceProtocol, Guard};
use super::state::{
    Batch, Claim, INSTANCES, Instance, Joined, LedgerRow, Live, PROCESSES, Process, Redis, State, USERS, User,
};

pub fn may_ask(state: &State, user: User, instance: Instance) -> bool {
    let process = &state.processes[instance];
    let is_open = process.gate.is_some_and(|epoch| state.redis.live == Live::Loaded(epoch));
    is_open && !process.frozen && !state.told[user] && !state.redis.holders[user]
}

/// New claims. Users are alike, and so are instances.
pub fn attempts(protocol: &FenceProtocol, state: &State, actions: &mut Vec<Action>) {
    for user in 0..protocol.bounds.claims {
        if user > 0 && !state.told[user - 1] {
            continue;
        }
        let instances = if user == 0 && state.started == INSTANCES { 1 } else { INSTANCES };
        let may = |instance: &Instance| may_ask(state, user, *instance);
        actions.extend((0..instances).filter(may).map(|instance| Action::Ask(user, instance)));
    }
}

pub fn ledger_actions(protocol: &FenceProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if process.batch.is_some() {
        actions.push(Action::Commit(instance));
    } else if process.stored.is_some() {
        actions.push(Action::Delete(instance));
    } else {
        if process.joined != Joined::Yes {
            // The row is added before the first batch.
            if !process.pending.is_empty() {
                actions.push(Action::Join(instance));
            }
        } else if let Some(claim) = next_claim(protocol, state, instance) {
            let is_known = state.alarm && state.redis.counters[process.id] >= Some(process.committed);
            if fence::check(protocol, state, instance, claim.epoch) != Fence::WentBack || !is_known {
                actions.push(Action::Begin(instance));
            }
        }
        if (0..USERS).any(|user| is_swept(state, instance, user)) {
            actions.push(Action::Sweep(instance));
        }
    }
}

/// The first claim of the next batch. A late claim waits until the shard is live.
fn next_claim(protocol: &FenceProtocol, state: &State, instance: Instance) -> Option<Claim> {
    let waits =
        |claim: &Claim| fence::check(protocol, state, instance, claim.epoch) == Fence::Late && !state.mysql.is_live;
    state.processes[instance].pending.iter().find(|claim| !waits(claim)).copied()
}

/// Whether the outbox has an entry that no running process holds.
fn is_swept(state: &State, instance: Instance, user: User) -> bool {
    let is_live = state.processes[instance].gate.is_some_and(|gate| state.redis.live == Live::Loaded(gate));
    let holds = |process: &Process| {
        let mut stored = process.stored.iter().flat_map(|batch| &batch.claims);
        !process.frozen && (process.unstored_claims().any(|claim| claim.user == user) || stored.any(|c| c.user == user))
    };
    is_live && state.redis.outbox[user] && !state.processes.iter().any(holds)
}

pub fn ledger_step(protocol: &FenceProtocol, state: &mut State, action: Action) {
    match action {
        Action::Ask(user, instance) => {
            let Some(epoch) = state.processes[instance].gate else { return };
            (state.redis.holders[user], state.redis.outbox[user], state.told[user]) = (true, true, true);
            state.processes[instance].pending.push(Claim { epoch, user });
        }
        Action::Join(instance) => join(protocol, state, instance),
        Action::Begin(instance) => begin(protocol, state, instance),
        Action::Commit(instance) => commit(state, instance),
        Action::Delete(instance) => {
            let Some(batch) = state.processes[instance].stored.take() else { return };
            if state.redis.live == Live::Loaded(batch.claims[0].epoch) {
                delete_entries(protocol, state, instance, &batch);
            }
        }
        Action::Sweep(instance) => {
            let epoch = state.processes[instance].gate.unwrap_or(0);
            for user in (0..USERS).filter(|user| is_swept(state, instance, *user)).collect::<Vec<_>>() {
                state.processes[instance].pending.push(Claim { epoch, user });
            }
        }
        _ => {}
    }
}

/// Adds the process' row, with the epoch of the shard. The transaction also changes the shard's row, so no rebuild can
/// raise the epoch in between.
fn join(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    let process = &mut state.processes[instance];
    let epoch = match process.joined {
        Joined::No if !protocol.has(Guard::JoinChangesShard) => {
            process.joined = Joined::Read(state.mysql.epoch);
            return;
        }
        Joined::Read(epoch) => epoch,
        Joined::No | Joined::Yes => state.mysql.epoch,
    };
    process.joined = Joined::Yes;
    state.mysql.ledgers[process.id] = Some(LedgerRow { epoch, counter: process.committed });
}

fn begin(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    let Some(first) = next_claim(protocol, state, instance) else { return };
    match fence::check(protocol, state, instance, first.epoch) {
        Fence::Passed => {
            let pending = std::mem::take(&mut state.processes[instance].pending);
            let (claims, rest) = pending.into_iter().partition(|claim| claim.epoch == first.epoch);
            let number = fence::next_number(state, instance);
            let process = &mut state.processes[instance];
            (process.pending, process.batch) = (rest, Some(Batch { claims, number }));
        }
        // A late claim is in MySQL, or is poisoned.
        Fence::Late => state.processes[instance].pending.retain(|claim| claim.epoch != first.epoch),
        Fence::WentBack => fence::raise_alarm(protocol, state, instance),
        Fence::Unknown => state.processes[instance].joined = Joined::No,
    }
}

fn commit(state: &mut State, instance: Instance) {
    let Some(batch) = state.processes[instance].batch.take() else { return };
    for claim in &batch.claims {
        state.second_epoch |= claim.epoch != state.mysql.epoch;
        state.mysql.claims[claim.user] = true;
    }
    fence::commit_number(state, instance, batch.number);
    state.processes[instance].stored = Some(batch);
}

/// `lua/delete_entries.lua`, after it has compared `live`.
pub fn delete_entries(protocol: &FenceProtocol, state: &mut State, instance: Instance, batch: &Batch) {
    for claim in &batch.claims {
        state.redis.outbox[claim.user] = false;
    }
    fence::raise_in_redis(protocol, state, instance, batch.number);
}

pub fn fault_actions(protocol: &FenceProtocol, state: &State, actions: &mut Vec<Action>) {
    let (allowed, had) = (&protocol.bounds.faults(), &state.faults);
    for (instance, process) in state.processes.iter().enumerate() {
        let holds = process.unstored_claims().any(|claim| !state.mysql.claims[claim.user]);
        // A stop would lose the claims known only to this instance and Redis.
        let holds_the_last_copy = state.memory_lost && holds;
        let may_stop = !holds_the_last_copy && !process.frozen;
        if may_stop && had.crashes < allowed.crashes {
            actions.push(Action::Crash(instance));
        }
        if may_stop && had.freezes < allowed.freezes {
            actions.push(Action::Freeze(instance));
        }
        if process.frozen {
            actions.push(Action::Thaw(instance));
            if process.batch.is_some() {
                actions.push(Action::HangUp(instance));
            }
        }
    }
    if had.restarts < allowed.restarts && matches!(state.redis.live, Live::Loaded(_)) {
        actions.push(Action::Restart);
    }
    let is_known = |user: User| {
        let holds = |process: &Process| !process.frozen && process.unstored_claims().any(|claim| claim.user == user);
        !state.told[user] || state.mysql.claims[user] || state.processes.iter().any(holds)
    };
    if had.losses < allowed.losses && had.back == 0 && (0..USERS).all(is_known) {
        actions.push(Action::LoseAll);
    }
    if had.back < allowed.back {
        if state.earlier.is_none() {
            actions.push(Action::Remember);
        } else if !state.memory_lost && state.earlier.as_ref() != Some(&state.mysql) {
            actions.push(Action::GoBack);
        }
    }
}

pub fn fault(state: &mut State, action: Action) {
    match action {
        Action::Remember => state.earlier = Some(state.mysql.clone()),
        Action::GoBack => {
            state.faults.back += 1;
            if let Some(earlier) = state.earlier.take() {
                state.mysql = earlier;
            }
            state.processes.iter_mut().for_each(roll_back);
        }
        Action::Crash(instance) => {
            state.faults.crashes += 1;
            state.processes[instance] = Process::new(state.started);
            state.started += 1;
            state.look.take_if(|look| look.instance == instance);
        }
        Action::Freeze(instance) => {
            state.faults.freezes += 1;
            state.processes[instance].frozen = true;
        }
        Action::HangUp(instance) => roll_back(&mut state.processes[instance]),
        Action::Thaw(instance) => state.processes[instance].frozen = false,
        Action::Restart => {
            state.faults.restarts += 1;
            if let Live::Loaded(epoch) = state.redis.live {
                state.redis.live = Live::Outdated(epoch);
            }
        }
        Action::LoseAll => {
            state.faults.losses += 1;
            state.memory_lost = true;
            let (nobody, counters) = ([false; USERS], [None; PROCESSES]);
            state.redis = Redis { live: Live::Nothing, holders: nobody, outbox: nobody, counters, epoch: 0 };
        }
        _ => {}
    }
}

/// Returns the claims of the transaction to the claims to store.
fn roll_back(process: &mut Process) {
    if let Some(batch) = process.batch.take() {
        process.pending.extend(batch.claims);
        process.pending.sort_unstable();
    }
}
