//! The steps of attempts, ledgers, connections and recovery.

use super::action::Action;
use super::protocol::{FailoverProtocol, Guard};
use super::state::{
    Attempt, Claim, Data, Instance, Line, Live, Loading, Process, Rebuild, Role, SERVERS, Server, Stage, State, USERS,
    User,
};

/// New attempts. Users are alike, and so are instances, so the first attempt is user A's at instance 0.
pub fn attempts(protocol: &FailoverProtocol, state: &State, actions: &mut Vec<Action>) {
    if state.attempts >= protocol.bounds.attempts {
        return;
    }
    for user in 0..USERS {
        let has_asked = state.customers[user].told.is_some() || state.customers[user].attempt.is_some();
        if has_asked || (user == 1 && state.attempts == 0) {
            continue;
        }
        let instances = if state.attempts == 0 { 1 } else { state.processes.len() };
        let may = |instance: &Instance| may_ask(protocol, state, *instance);
        actions.extend((0..instances).filter(may).map(|instance| Action::Ask(user, instance)));
    }
}

/// Whether the gate is open and the connection for attempts leads to the process of that loading.
pub fn may_ask(protocol: &FailoverProtocol, state: &State, instance: Instance) -> bool {
    let Process { gate: Some(gate), claims: Some(server), .. } = &state.processes[instance] else { return false };
    gate.server == *server || !protocol.has(Guard::ProcessComparedByClaims)
}

/// All steps without new attempts and without faults.
pub fn background(protocol: &FailoverProtocol, state: &State, actions: &mut Vec<Action>) {
    let waiting = (0..USERS).filter(|user| state.customers[*user].attempt.is_some());
    actions.extend(waiting.map(Action::Apply));
    for (instance, process) in state.processes.iter().enumerate() {
        if process.pending.iter().any(|claim| is_settled_now(state, claim)) {
            actions.push(Action::Store(instance));
        }
        connections(protocol, state, instance, actions);
        recovery(protocol, state, instance, actions);
    }
    for server in 0..SERVERS {
        let (here, other) = (&state.servers[server], &state.servers[1 - server]);
        if !state.is_primary(server) && state.is_primary(1 - server) && here.data != other.data {
            actions.push(Action::Replicate(server));
        }
        if let Live::Rebuild(token) = here.data.live {
            let renews = |rebuild: &Rebuild| (rebuild.server, rebuild.token) == (server, token);
            let renewed = state.processes.iter().any(|process| process.rebuild.as_ref().is_some_and(renews));
            if state.is_primary(server) && !renewed {
                actions.push(Action::Expire(server));
            }
        }
    }
}

/// Whether a transaction settles the claim. A claim of an old epoch waits while the shard is rebuilt.
fn is_settled_now(state: &State, claim: &Claim) -> bool {
    let row = state.mysql.loading.epoch;
    claim.loading.epoch == row || (state.mysql.is_live && claim.loading.epoch < row)
}

fn connections(protocol: &FailoverProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    for (line, held) in [(Line::Link, process.link), (Line::Claims, process.claims)] {
        match held {
            Some(server) if is_dropped(protocol, state, process, line, server) => {
                actions.push(Action::Drop(instance, line));
            }
            None if state.is_primary(process.route) => actions.push(Action::Connect(instance, line)),
            Some(_) | None => {}
        }
    }
    if process.link.is_none() && !state.is_primary(process.route) && state.mysql.reported[instance].is_some() {
        actions.push(Action::ForgetReport(instance));
    }
}

fn is_dropped(protocol: &FailoverProtocol, state: &State, process: &Process, line: Line, server: Server) -> bool {
    let is_other = match line {
        Line::Claims => process.gate.is_some_and(|gate| gate.server != server),
        Line::Link if process.rebuild.is_some() => false,
        Line::Link => process.gate.is_none() || process.claims.is_some_and(|claims| claims != server),
    };
    // To drop a connection that would lead to the same server again changes nothing.
    let is_other = is_other && process.route != server;
    (!state.is_primary(server) && protocol.has(Guard::DroppedWhenReadonly))
        || (is_other && protocol.has(Guard::OtherProcessDropped))
}

fn recovery(protocol: &FailoverProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if compared(protocol, state, process) != (process.gate, process.found) {
        actions.push(Action::Compare(instance));
    }
    if epoch_to_acknowledge(state, instance).is_some_and(|epoch| epoch != process.acknowledged) {
        actions.push(Action::Acknowledge(instance));
    }
    let Some(rebuild) = &process.rebuild else {
        if may_take_token(protocol, state, process) {
            actions.push(Action::TakeToken(instance));
        }
        return;
    };
    let owns = rebuild.stage == Stage::TokenTaken || state.mysql.token == rebuild.token;
    let writes = state.is_primary(rebuild.server) && state.servers[rebuild.server].data.live == token_of(rebuild);
    if !owns || !writes {
        actions.push(Action::End(instance));
        return;
    }
    let awaits = |(other, process): (Instance, &Process)| {
        process.acknowledged < rebuild.next && (other == instance || protocol.has(Guard::OthersAwaited))
    };
    match rebuild.stage {
        Stage::TokenTaken => actions.push(Action::Begin(instance)),
        Stage::Begun if state.processes.iter().enumerate().any(awaits) => {}
        Stage::Begun => actions.push(Action::Load(instance)),
        Stage::Loaded => actions.push(Action::Finish(instance)),
        Stage::Finished => actions.push(Action::PutLive(instance)),
    }
}

fn token_of(rebuild: &Rebuild) -> Live {
    Live::Rebuild(rebuild.token)
}

/// The gate and the value found, after a comparison over the link.
fn compared(protocol: &FailoverProtocol, state: &State, process: &Process) -> (Option<Loading>, Option<Live>) {
    let Some(server) = process.link else {
        return (process.gate.filter(|_| state.mysql.is_live), None);
    };
    let live = state.servers[server].data.live;
    match live {
        Live::Loaded(loading) if state.is_loaded_into(server) => (Some(loading), None),
        Live::Loaded(loading) if loading.server == server && !protocol.has(Guard::RowCompared) => (Some(loading), None),
        Live::Rebuild(_) => (None, None),
        Live::Loaded(_) | Live::Nothing => (None, Some(live)),
    }
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

/// The server that may be rebuilt: the one that most instances report. In a tie, the one that the row does not name,
/// unless the shard was last moved away from that one.
fn chosen(protocol: &FailoverProtocol, state: &State) -> Server {
    let count = |server| state.mysql.reported.iter().filter(|reported| **reported == Some(server)).count();
    let named = state.mysql.loading.server;
    let other = 1 - named;
    let tie = if state.mysql.left == Some(other) && protocol.has(Guard::TieDecidedOnce) { named } else { other };
    match count(named).cmp(&count(other)) {
        std::cmp::Ordering::Greater => named,
        std::cmp::Ordering::Less => other,
        std::cmp::Ordering::Equal => tie,
    }
}

fn may_take_token(protocol: &FailoverProtocol, state: &State, process: &Process) -> bool {
    let (Some(found), own) = (process.found, process.route) else { return false };
    if !state.is_primary(own) {
        return false;
    }
    let live = state.servers[own].data.live;
    let compared = if protocol.has(Guard::ComparedOnOwnConnection) { Some(own) } else { process.link };
    let is_chosen = compared == Some(chosen(protocol, state)) || !protocol.has(Guard::ChosenRebuilt);
    let is_needed = if protocol.has(Guard::ComparedOnOwnConnection) {
        !state.is_loaded_into(own) && !matches!(live, Live::Rebuild(_))
    } else {
        live == found
    };
    is_chosen && is_needed
}

pub fn step(protocol: &FailoverProtocol, state: &mut State, action: Action) {
    match action {
        Action::Ask(user, instance) => {
            let Process { gate: Some(expected), claims: Some(server), .. } = state.processes[instance] else { return };
            state.attempts += 1;
            state.customers[user].attempt = Some(Attempt { instance, server, expected });
        }
        Action::Apply(user) => apply(protocol, state, user),
        Action::Store(instance) => store(state, instance),
        Action::Replicate(server) => state.servers[server].data = state.servers[1 - server].data.clone(),
        Action::Drop(instance, line) => *state.processes[instance].line(line) = None,
        Action::Connect(instance, line) => {
            let route = state.processes[instance].route;
            *state.processes[instance].line(line) = Some(route);
            if line == Line::Link {
                state.mysql.reported[instance] = Some(route);
            }
        }
        Action::ForgetReport(instance) => state.mysql.reported[instance] = None,
        Action::Compare(instance) => {
            let (gate, found) = compared(protocol, state, &state.processes[instance]);
            let process = &mut state.processes[instance];
            (process.gate, process.found) = (gate, found);
        }
        Action::Acknowledge(instance) => {
            if let Some(epoch) = epoch_to_acknowledge(state, instance) {
                state.processes[instance].acknowledged = epoch;
            }
        }
        Action::TakeToken(instance) => take_token(state, instance),
        Action::Expire(server) => state.servers[server].data.live = Live::Nothing,
        Action::Begin(instance)
        | Action::Load(instance)
        | Action::Finish(instance)
        | Action::PutLive(instance)
        | Action::End(instance) => {
            let Some(mut rebuild) = state.processes[instance].rebuild.take() else { return };
            rebuild_step(state, &mut rebuild, action);
            let ends = matches!(action, Action::PutLive(_) | Action::End(_));
            state.processes[instance].rebuild = (!ends).then_some(rebuild);
        }
        _ => {}
    }
}

/// `lua/claim.lua`, and the answer. A replica refuses the script, and nothing happens.
fn apply(protocol: &FailoverProtocol, state: &mut State, user: User) {
    let Some(Attempt { instance, server, expected }) = state.customers[user].attempt.take() else { return };
    let is_live = state.servers[server].data.live == Live::Loaded(expected);
    if !state.is_primary(server) || !is_live {
        return;
    }
    let Data { holders, outbox, .. } = &mut state.servers[server].data;
    let is_free = |seq: &u8| !holders.contains(&Some(*seq));
    let Some(seq) = holders[user].or_else(|| (1..=protocol.bounds.units).find(is_free)) else { return };
    if holders[user].is_none() {
        (holders[user], outbox[user]) = (Some(seq), true);
    }
    state.customers[user].told = Some(seq);
    if outbox[user] {
        state.processes[instance].pending.push(Claim { user, seq, loading: expected });
    }
}

/// The transaction, and the deletion of the entries. A claim of an old epoch is in MySQL already, or is poisoned.
fn store(state: &mut State, instance: Instance) {
    let pending = std::mem::take(&mut state.processes[instance].pending);
    let (now, later): (Vec<Claim>, Vec<Claim>) = pending.into_iter().partition(|claim| is_settled_now(state, claim));
    state.processes[instance].pending = later;
    for claim in now {
        if claim.loading.epoch == state.mysql.loading.epoch {
            insert(state, claim.user, claim.seq);
        }
        let server = &mut state.servers[claim.loading.server];
        let is_live = server.data.live == Live::Loaded(claim.loading);
        if server.role == Role::Primary && is_live {
            server.data.outbox[claim.user] = false;
        }
    }
}

/// Inserts a row. Returns `false` for a claim that contradicts a row.
fn insert(state: &mut State, user: User, seq: u8) -> bool {
    let claims = &mut state.mysql.claims;
    if claims[user].is_none() && !claims.contains(&Some(seq)) {
        claims[user] = Some(seq);
    }
    claims[user] == Some(seq)
}

fn take_token(state: &mut State, instance: Instance) {
    let server = state.processes[instance].route;
    state.rebuilt_needlessly |= state.is_loaded_into(server);
    state.last_token += 1;
    let (token, last) = (state.last_token, state.mysql.loading);
    let found = std::mem::replace(&mut state.servers[server].data.live, Live::Rebuild(token));
    let rebuild = Rebuild { server, token, found, last, next: 0, stage: Stage::TokenTaken };
    state.processes[instance].rebuild = Some(rebuild);
}

fn rebuild_step(state: &mut State, rebuild: &mut Rebuild, action: Action) {
    let server = rebuild.server;
    match action {
        Action::Begin(_) => {
            let found = if let Live::Loaded(loading) = rebuild.found { loading.epoch } else { 0 };
            rebuild.last = state.mysql.loading;
            rebuild.next = rebuild.last.epoch.max(found) + 1;
            rebuild.stage = Stage::Begun;
            let row = &mut state.mysql;
            (row.is_live, row.token, row.next) = (false, rebuild.token, rebuild.next);
        }
        Action::Load(_) => load(state, rebuild),
        Action::Finish(_) => {
            let row = &mut state.mysql;
            if row.loading.server != server {
                row.left = Some(row.loading.server);
            }
            (row.is_live, row.loading) = (true, Loading { server, epoch: rebuild.next });
            rebuild.stage = Stage::Finished;
        }
        Action::PutLive(_) => {
            state.servers[server].data.live = Live::Loaded(Loading { server, epoch: rebuild.next });
        }
        _ if state.is_primary(server) && state.servers[server].data.live == token_of(rebuild) => {
            state.servers[server].data.live = Live::Nothing;
        }
        _ => {}
    }
}

/// Drains the outbox under the old epoch, raises the epoch, and loads. Data of the last loading is kept, and the rows
/// that it lacks are added.
fn load(state: &mut State, rebuild: &mut Rebuild) {
    let Data { holders, outbox, .. } = state.servers[rebuild.server].data.clone();
    let mut contradicted = false;
    for user in (0..USERS).filter(|user| outbox[*user]) {
        contradicted |= holders[user].is_some_and(|seq| !insert(state, user, seq));
    }
    state.mysql.loading.epoch = rebuild.next;
    let keeps = rebuild.found == Live::Loaded(rebuild.last) && !contradicted;
    let rows = state.mysql.claims;
    let loaded = |user: User| rows[user].or(if keeps { holders[user] } else { None });
    let data = &mut state.servers[rebuild.server].data;
    (data.holders, data.outbox) = (std::array::from_fn(loaded), [false; USERS]);
    rebuild.stage = Stage::Loaded;
}
