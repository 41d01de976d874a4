//! The steps. Each is atomic in the real system as well, or is a sequence that another model splits.

use std::fmt;

use super::protocol::{Guard, SlotProtocol};
use super::state::{INSTANCES, Instance, KEYS, Key, Live, Loading, Process, Rebuild, State, USERS, User, place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Claim(User, Instance),
    Store(Instance),
    Look(Instance),
    Compare(Instance),
    Begin(Instance),
    Load(Instance),
    Finish(Instance),
    End(Instance),
    Expire,
    // The operator.
    BeginMove,
    MoveKey(Key),
    EndMove,
    CancelMove,
    /// Forgets what was seen of moves.
    Restart(Instance),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(user, instance) => write!(f, "user {user} claims at instance {instance}"),
            Self::Store(instance) => write!(f, "instance {instance}'s ledger stores its claims"),
            Self::Look(instance) => write!(f, "instance {instance} hears that the slot moves, and closes its gate"),
            Self::Compare(instance) => write!(f, "instance {instance} compares, and sets its gate"),
            Self::Begin(instance) => write!(f, "rebuild of {instance}: puts its token into `live`, and begins"),
            Self::Load(instance) => write!(f, "rebuild of {instance}: raises the epoch and loads"),
            Self::Finish(instance) => write!(f, "rebuild of {instance}: sets the row to live, and writes `live`"),
            Self::End(instance) => write!(f, "rebuild of {instance}: ends without success"),
            Self::Expire => f.write_str("the token expires"),
            Self::BeginMove => f.write_str("the slot begins to move to the other node"),
            Self::MoveKey(key) => write!(f, "{key:?} is moved"),
            Self::EndMove => f.write_str("the other node gets the slot, and the keys left behind are deleted"),
            Self::Restart(instance) => write!(f, "instance {instance} stops, and starts again"),
            Self::CancelMove => f.write_str("the move is cancelled, and the moved keys are lost"),
        }
    }
}

pub fn claims(protocol: &SlotProtocol, state: &State, actions: &mut Vec<Action>) {
    if state.attempts >= protocol.bounds.attempts {
        return;
    }
    for user in 0..USERS {
        let may = |instance: &Instance| may_claim(state, user, *instance);
        actions.extend((0..INSTANCES).filter(may).map(|instance| Action::Claim(user, instance)));
    }
}

/// Whether the script of the claim runs and answers.
pub fn may_claim(state: &State, user: User, instance: Instance) -> bool {
    let Some(gate) = state.processes[instance].gate else { return false };
    let runs = state.slot.runs(gate.node, &[Key::Live, Key::Coupon, Key::Holder(user)]);
    runs && state.slot.live == Live::Loaded(gate) && state.slot.claimed.is_some()
}

pub fn background(protocol: &SlotProtocol, state: &State, actions: &mut Vec<Action>) {
    for (instance, process) in state.processes.iter().enumerate() {
        if !process.pending.is_empty() {
            actions.push(Action::Store(instance));
        }
        if state.slot.is_moving && !has_seen(state, process) {
            actions.push(Action::Look(instance));
        }
        if compared(protocol, state, process) != process.gate {
            actions.push(Action::Compare(instance));
        }
        rebuild(protocol, state, instance, actions);
    }
    if let Live::Rebuild(instance) = state.slot.live
        && state.processes[instance].rebuild.is_none()
    {
        actions.push(Action::Expire);
    }
}

/// Whether the process has heard of this move, in the epoch of the row.
fn has_seen(state: &State, process: &Process) -> bool {
    process.moves_seen == state.moves && process.moved_in >= state.mysql.loading.epoch
}

/// The operator. A move goes on until every instance has heard of it, because the majority is asked every second.
pub fn moves(protocol: &SlotProtocol, state: &State, actions: &mut Vec<Action>) {
    let slot = &state.slot;
    if !slot.is_moving {
        let is_elsewhere = slot.owner != state.mysql.loading.node;
        let may_restart = |process: &Process| process.pending.is_empty() && process.rebuild.is_none();
        if is_elsewhere && state.restarts < protocol.bounds.restarts && may_restart(&state.processes[0]) {
            actions.push(Action::Restart(0));
        }
        if state.moves < protocol.bounds.moves {
            actions.push(Action::BeginMove);
        }
        return;
    }
    let left = KEYS.into_iter().filter(|key| slot.exists(*key) && !slot.has_moved[place(*key)]);
    actions.extend(left.map(Action::MoveKey));
    if state.processes.iter().all(|process| has_seen(state, process)) {
        actions.extend([Action::EndMove, Action::CancelMove]);
    }
}

fn is_moved(protocol: &SlotProtocol, state: &State, process: &Process) -> bool {
    protocol.has(Guard::MoveRemembered) && process.moved_in >= state.mysql.loading.epoch
}

fn compared(protocol: &SlotProtocol, state: &State, process: &Process) -> Option<Loading> {
    if state.slot.is_moving {
        let seen = process.moves_seen == state.moves && protocol.has(Guard::ClosedWhileMoving);
        return process.gate.filter(|_| !seen);
    }
    let is_open = state.is_loaded() && !is_moved(protocol, state, process);
    is_open.then_some(state.mysql.loading)
}

fn rebuild(protocol: &SlotProtocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    let slot = &state.slot;
    let Some(rebuild) = process.rebuild else {
        let is_needed = !state.is_loaded() || is_moved(protocol, state, process);
        let is_free = !matches!(slot.live, Live::Rebuild(_)) && slot.runs(slot.owner, &[Key::Live]);
        if is_needed && is_free && !slot.is_moving && process.gate.is_none() {
            actions.push(Action::Begin(instance));
        }
        return;
    };
    let has_token = slot.live == Live::Rebuild(instance) && slot.runs(rebuild.node, &[Key::Live]);
    if !has_token {
        actions.push(Action::End(instance));
    } else if rebuild.is_loaded {
        actions.push(Action::Finish(instance));
    } else {
        let is_drained = |process: &Process| process.gate.is_none() && process.pending.is_empty();
        let loads = slot.runs(rebuild.node, &KEYS);
        if state.processes.iter().all(is_drained) {
            actions.push(if loads { Action::Load(instance) } else { Action::End(instance) });
        }
    }
}

pub fn step(protocol: &SlotProtocol, state: &mut State, action: Action) {
    match action {
        Action::Claim(user, instance) => claim(protocol, state, user, instance),
        Action::Store(instance) => {
            for (user, seq) in std::mem::take(&mut state.processes[instance].pending) {
                if state.mysql.claims[user].is_none() && !state.mysql.claims.contains(&Some(seq)) {
                    state.mysql.claims[user] = Some(seq);
                }
            }
        }
        Action::Look(instance) => {
            let (moves, epoch) = (state.moves, state.mysql.loading.epoch);
            let process = &mut state.processes[instance];
            (process.moves_seen, process.moved_in) = (moves, epoch);
            if protocol.has(Guard::ClosedWhileMoving) {
                process.gate = None;
            }
        }
        Action::Compare(instance) => {
            state.processes[instance].gate = compared(protocol, state, &state.processes[instance]);
        }
        Action::Begin(instance) => {
            state.rebuilds += 1;
            let keeps = keeps(protocol, state, instance);
            state.slot.live = Live::Rebuild(instance);
            state.mysql.is_live = false;
            let node = state.slot.owner;
            state.processes[instance].rebuild = Some(Rebuild { node, keeps, is_loaded: false });
        }
        Action::Load(instance) => load(state, instance),
        Action::Finish(instance) => {
            let Some(rebuild) = state.processes[instance].rebuild.take() else { return };
            state.mysql.is_live = true;
            state.mysql.loading.node = rebuild.node;
            state.slot.live = Live::Loaded(state.mysql.loading);
        }
        Action::End(instance) => state.processes[instance].rebuild = None,
        Action::Expire => state.slot.live = Live::Nothing,
        Action::BeginMove => {
            state.moves += 1;
            state.slot.is_moving = true;
        }
        Action::MoveKey(key) => state.slot.has_moved[place(key)] = true,
        Action::Restart(instance) => {
            state.restarts += 1;
            state.processes[instance] = Process { moves_seen: state.moves, ..Process::default() };
        }
        Action::EndMove => {
            end_move(state, false);
            state.slot.owner = 1 - state.slot.owner;
        }
        Action::CancelMove => end_move(state, true),
    }
}

/// `lua/claim.lua`, and the answer.
fn claim(protocol: &SlotProtocol, state: &mut State, user: User, instance: Instance) {
    state.attempts += 1;
    let (slot, units) = (&mut state.slot, protocol.bounds.units);
    let seq = match (slot.holders[user], slot.claimed) {
        (Some(seq), _) => seq,
        (None, Some(claimed)) if claimed < units => {
            (slot.claimed, slot.holders[user]) = (Some(claimed + 1), Some(claimed + 1));
            claimed + 1
        }
        _ => return,
    };
    state.granted_twice |= state.told[user].is_some_and(|told| told != seq);
    state.told[user] = Some(seq);
    state.processes[instance].pending.push((user, seq));
}

/// Whether a rebuild keeps the data that it finds.
fn keeps(protocol: &SlotProtocol, state: &State, instance: Instance) -> bool {
    let is_last = state.slot.live == Live::Loaded(state.mysql.loading);
    let is_other = state.slot.owner != state.mysql.loading.node && protocol.has(Guard::LoadedFromNothing);
    is_last && !is_other && !is_moved(protocol, state, &state.processes[instance])
}

/// Data that is kept is taken for complete, if the coupon has as many claims as in MySQL.
fn load(state: &mut State, instance: Instance) {
    let Some(rebuild) = &mut state.processes[instance].rebuild else { return };
    rebuild.is_loaded = true;
    let keeps = rebuild.keeps;
    let rows = state.mysql.claims;
    let highest = rows.iter().flatten().max().copied().unwrap_or(0);
    let slot = &mut state.slot;
    if !keeps || slot.claimed.is_none_or(|claimed| claimed < highest) {
        slot.holders = rows;
        slot.claimed = Some(highest);
    }
    state.mysql.loading.epoch += 1;
}

/// Keys at the node without the slot are lost.
fn end_move(state: &mut State, is_cancelled: bool) {
    let slot = &mut state.slot;
    for key in KEYS {
        if slot.has_moved[place(key)] == is_cancelled {
            slot.lose(key);
        }
    }
    (slot.is_moving, slot.has_moved) = (false, [false; KEYS.len()]);
}
