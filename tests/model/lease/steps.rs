//! The steps of attempts, ledgers, connections and recovery.

use super::action::Action;
use super::protocol::{Guard, LeaseProtocol};
use super::state::{
    Attempt, Claim, DEAD, INSTANCES, Instance, Live, Loading, NEW, OLD, Place, Process, Rebuild, RedisServer, Role,
    SERVERS, Stage, State, Told, USERS, User,
};
use super::time;

/// New attempts. Users are alike, so user A asks first.
pub fn attempts(protocol: &LeaseProtocol, state: &State, actions: &mut Vec<Action>) {
    if state.attempts >= protocol.bounds.attempts {
        return;
    }
    for user in 0..USERS {
        let customer = &state.customers[user];
        if customer.told.is_some() || customer.attempt.is_some() || (user == 1 && state.attempts == 0) {
            continue;
        }
        let may = |instance: &Instance| may_sell(protocol, &state.processes[*instance]);
        actions.extend((0..INSTANCES).filter(may).map(|instance| Action::Ask(user, instance)));
    }
}

/// Whether the gate is open, the connection leads to its server, and the lease lasts.
pub fn may_sell(protocol: &LeaseProtocol, process: &Process) -> bool {
    let leads_there = process.gate.is_some_and(|gate| process.answering() == Some(gate.server));
    leads_there && (process.lease > 0 || !protocol.has(Guard::LeaseCompared))
}

/// All steps without new attempts, ticks and faults.
pub fn background(protocol: &LeaseProtocol, state: &State, actions: &mut Vec<Action>) {
    for (user, customer) in state.customers.iter().enumerate() {
        let Some(attempt) = customer.attempt else { continue };
        if state.processes[attempt.instance].reaches_server(attempt.server) {
            actions.push(Action::Apply(user));
        }
        if attempt.age > 0 {
            actions.push(Action::GiveUpWaiting(user));
        }
    }
    for (instance, process) in state.processes.iter().enumerate() {
        if process.reaches(Place::Mysql) && process.pending.iter().any(|claim| is_settled_now(state, claim)) {
            actions.push(Action::Store(instance));
        }
        questions(protocol, state, instance, actions);
        if may_disconnect(protocol, state, process) {
            actions.push(Action::Disconnect(instance));
        }
        if may_connect(state, process) {
            actions.push(Action::Connect(instance));
        }
        recovery(protocol, state, instance, actions);
    }
    if state.lags() {
        actions.push(Action::Replicate);
    }
    for server in (0..SERVERS).filter(|server| state.is_primary(*server) && !time::is_renewed(state, *server)) {
        actions.push(Action::Expire(server));
    }
}

fn questions(protocol: &LeaseProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if time::may_beat(protocol, state, instance) {
        actions.push(Action::Beat(instance));
    }
    if time::may_beat_in_redis(state, instance) {
        actions.push(Action::BeatInRedis(instance));
    }
    if process.beat.is_some() {
        actions.push(Action::HearBeat(instance));
    }
    if time::may_ask(protocol, state, process) {
        actions.push(Action::AskMajority(instance));
    }
    if process.asked.is_some() {
        actions.push(Action::HearMajority(instance));
    }
}

/// Whether a transaction settles the claim. A claim of an old epoch waits while the shard is rebuilt.
fn is_settled_now(state: &State, claim: &Claim) -> bool {
    let row = state.mysql.loading.epoch;
    claim.loading.epoch == row || (state.mysql.is_live && claim.loading.epoch < row)
}

/// A connection to a replica, or to a server that the majority does not name.
pub fn may_disconnect(protocol: &LeaseProtocol, state: &State, process: &Process) -> bool {
    let Some(server) = process.at else { return false };
    let is_other = process.named != Some(server) && protocol.has(Guard::OtherGivenUp);
    (is_other || !state.is_primary(server)) && process.rebuild.is_none()
}

pub fn may_connect(state: &State, process: &Process) -> bool {
    let may = |server| process.reaches_server(server) && state.is_primary(server);
    process.at.is_none() && process.named.is_some_and(may)
}

fn recovery(protocol: &LeaseProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if compared(state, process) != process.gate {
        actions.push(Action::Compare(instance));
    }
    let epoch = epoch_to_acknowledge(state, instance);
    if process.reaches(Place::Mysql) && epoch.is_some_and(|epoch| epoch != process.acknowledged) {
        actions.push(Action::Acknowledge(instance));
    }
    let Some(rebuild) = process.rebuild else {
        if may_take_token(protocol, state, process) {
            actions.push(Action::TakeToken(instance));
        }
        return;
    };
    let owns = rebuild.stage == Stage::TokenTaken || state.mysql.token == rebuild.token;
    let server = &state.servers[rebuild.server];
    let writes = server.role == Role::Primary && server.live == Live::Rebuild(rebuild.token);
    if !owns || !writes || process.answering() != Some(rebuild.server) {
        actions.push(Action::End(instance));
        return;
    }
    if !process.reaches(Place::Mysql) {
        return;
    }
    let other = &state.processes[1 - instance];
    let is_awaited = rebuild.silence < DEAD && protocol.has(Guard::SilenceAwaited);
    let awaits_other = other.acknowledged < rebuild.next && is_awaited;
    match rebuild.stage {
        Stage::TokenTaken => actions.push(Action::Begin(instance)),
        Stage::Begun if process.acknowledged < rebuild.next || awaits_other => {}
        Stage::Begun => actions.push(Action::Load(instance)),
        Stage::Loaded => actions.push(Action::Finish(instance)),
    }
}

/// The gate after a comparison. Without MySQL, a gate is only closed.
fn compared(state: &State, process: &Process) -> Option<Loading> {
    let Some(server) = process.answering() else { return process.gate };
    let live = state.servers[server].live;
    if !process.reaches(Place::Mysql) {
        return process.gate.filter(|gate| live == Live::Loaded(*gate));
    }
    let is_open = state.is_loaded_into(server) && (process.gate.is_some() || process.named == Some(server));
    is_open.then_some(state.mysql.loading)
}

fn epoch_to_acknowledge(state: &State, instance: Instance) -> Option<u8> {
    if state.mysql.is_live {
        return Some(state.mysql.loading.epoch);
    }
    let process = &state.processes[instance];
    let is_current = |claim: &Claim| claim.loading.epoch >= state.mysql.loading.epoch;
    let drained = !process.pending.iter().any(is_current) && !state.has_attempt_in_flight(instance);
    (process.gate.is_none() && drained).then_some(state.mysql.next)
}

/// The majority is asked again, in the same step.
fn may_take_token(protocol: &LeaseProtocol, state: &State, process: &Process) -> bool {
    let Some(server) = process.answering().filter(|server| state.is_primary(*server)) else { return false };
    let is_named = if !protocol.has(Guard::NamedRebuilt) {
        true
    } else if protocol.has(Guard::AskedBeforeRebuild) {
        process.reaches(Place::Majority) && state.primary == server
    } else {
        process.named == Some(server)
    };
    let is_free = !matches!(state.servers[server].live, Live::Rebuild(_));
    is_named && is_free && process.gate.is_none() && process.reaches(Place::Mysql) && !state.is_loaded_into(server)
}

pub fn step(protocol: &LeaseProtocol, state: &mut State, action: Action) {
    match action {
        Action::Ask(user, instance) => {
            let Process { gate: Some(expected), at: Some(server), .. } = state.processes[instance] else { return };
            state.attempts += 1;
            state.customers[user].attempt = Some(Attempt { instance, server, expected, age: 0 });
        }
        Action::Apply(user) => apply(protocol, state, user),
        Action::GiveUpWaiting(user) => state.customers[user].attempt = None,
        Action::Store(instance) => store(state, instance),
        Action::Replicate => {
            let RedisServer { live, holders, .. } = state.servers[OLD].clone();
            (state.servers[NEW].live, state.servers[NEW].holders) = (live, holders);
        }
        Action::Tick => time::tick(state),
        Action::Beat(instance) => {
            time::beat(protocol, state, instance);
            time::hear_beat(protocol, &mut state.processes[instance]);
        }
        Action::HearBeat(instance) => time::hear_beat(protocol, &mut state.processes[instance]),
        Action::AskMajority(instance) => {
            time::ask(protocol, state, instance);
            time::hear_majority(protocol, &mut state.processes[instance]);
        }
        Action::HearMajority(instance) => time::hear_majority(protocol, &mut state.processes[instance]),
        Action::BeatInRedis(instance) => {
            state.processes[instance].away = 0;
            time::heard_by_rebuild(state, instance);
        }
        Action::Disconnect(instance) => {
            let process = &mut state.processes[instance];
            (process.at, process.gate) = (None, None);
        }
        Action::Connect(instance) => state.processes[instance].at = state.processes[instance].named,
        Action::Compare(instance) => state.processes[instance].gate = compared(state, &state.processes[instance]),
        Action::Acknowledge(instance) => {
            if let Some(epoch) = epoch_to_acknowledge(state, instance) {
                state.processes[instance].acknowledged = epoch;
            }
        }
        Action::TakeToken(instance) => take_token(state, instance),
        Action::Expire(server) => state.servers[server].live = Live::Nothing,
        Action::Begin(instance) | Action::Load(instance) | Action::Finish(instance) | Action::End(instance) => {
            let Some(mut rebuild) = state.processes[instance].rebuild.take() else { return };
            rebuild_step(state, &mut rebuild, action);
            let ends = matches!(action, Action::Finish(_) | Action::End(_));
            state.processes[instance].rebuild = (!ends).then_some(rebuild);
        }
        _ => {}
    }
}

/// `lua/claim.lua`, and the answer. A late reply is no answer.
fn apply(protocol: &LeaseProtocol, state: &mut State, user: User) {
    let Some(Attempt { instance, server, expected, .. }) = state.customers[user].attempt.take() else { return };
    if !state.is_primary(server) || state.servers[server].live != Live::Loaded(expected) {
        return;
    }
    let holders = &mut state.servers[server].holders;
    let is_free = |seq: &u8| !holders.contains(&Some(*seq));
    let Some(seq) = holders[user].or_else(|| (1..=protocol.bounds.units).find(is_free)) else { return };
    holders[user] = Some(seq);
    let away = state.processes[instance].away;
    state.customers[user].told = Some(Told { seq, by: instance, away, may_be_lost: false });
    state.processes[instance].pending.push(Claim { user, seq, loading: expected });
}

/// The transaction. A claim of an old epoch is in MySQL already, or is poisoned.
fn store(state: &mut State, instance: Instance) {
    let pending = std::mem::take(&mut state.processes[instance].pending);
    let (now, later): (Vec<Claim>, Vec<Claim>) = pending.into_iter().partition(|claim| is_settled_now(state, claim));
    state.processes[instance].pending = later;
    for claim in now {
        if claim.loading.epoch == state.mysql.loading.epoch {
            insert(state, claim.user, claim.seq);
        }
    }
}

/// Inserts a row, unless it contradicts another one.
fn insert(state: &mut State, user: User, seq: u8) {
    let claims = &mut state.mysql.claims;
    if claims[user].is_none() && !claims.contains(&Some(seq)) {
        claims[user] = Some(seq);
    }
}

fn take_token(state: &mut State, instance: Instance) {
    let Some(server) = state.processes[instance].at else { return };
    state.rebuilt_elsewhere |= state.primary != server;
    state.last_token += 1;
    let token = state.last_token;
    state.servers[server].live = Live::Rebuild(token);
    let rebuild = Rebuild { server, token, next: 0, stage: Stage::TokenTaken, silence: 0 };
    state.processes[instance].rebuild = Some(rebuild);
}

fn rebuild_step(state: &mut State, rebuild: &mut Rebuild, action: Action) {
    let Rebuild { server, token, .. } = *rebuild;
    match action {
        Action::Begin(_) => {
            (rebuild.next, rebuild.stage, rebuild.silence) = (state.mysql.loading.epoch + 1, Stage::Begun, 0);
            let row = &mut state.mysql;
            (row.is_live, row.token, row.next) = (false, token, rebuild.next);
        }
        Action::Load(_) => {
            let drained = state.servers[server].holders;
            for (user, seq) in drained.into_iter().enumerate() {
                if let Some(seq) = seq {
                    insert(state, user, seq);
                }
            }
            state.mysql.loading.epoch = rebuild.next;
            // With the drained outbox, MySQL has all claims that Redis has, and the rebuild loads the others.
            state.servers[server].holders = state.mysql.claims;
            rebuild.stage = Stage::Loaded;
        }
        Action::Finish(_) => {
            let loading = Loading { server, epoch: rebuild.next };
            (state.mysql.is_live, state.mysql.loading) = (true, loading);
            state.servers[server].live = Live::Loaded(loading);
        }
        _ if state.is_primary(server) && state.servers[server].live == Live::Rebuild(token) => {
            state.servers[server].live = Live::Nothing;
        }
        _ => {}
    }
}
