//! Time, in ticks of about five seconds, and the lease.
//!
//! A lease lasts until the first tick after the sending of the question that extends it. A script runs until the first
//! tick after its sending. So both together end before the second tick, and a rebuild waits for [`DEAD`] ticks.
//!
//! Between two ticks every instance takes its periodic steps with all stores that it reaches, and the replica receives the
//! data. A process that is frozen for longer does not, and is left out.

use super::protocol::{Guard, LeaseProtocol};
use super::state::{DEAD, Instance, LEASE, Live, Loading, NEW, OLD, Place, Process, Reply, State};
use super::steps;

/// Longest time away at an answer whose claim may be lost: no tick before the end of the lease, and one afterwards.
const ANSWERED_AFTER: u8 = LEASE;
/// Shortest time away that may cost claims. A rebuild may have heard the last beat almost a tick before the cut.
const AWAY_FOR: u8 = DEAD - 1;

/// Whether time may pass: no periodic step is due, and no script is older than its deadline.
pub fn may_tick(protocol: &LeaseProtocol, state: &State) -> bool {
    let is_over = |age: u8| age >= 1 && protocol.has(Guard::LateRepliesDropped);
    let waits = state.customers.iter().any(|customer| customer.attempt.is_some_and(|attempt| is_over(attempt.age)));
    let is_due = |(instance, process): (Instance, &Process)| {
        may_beat(protocol, state, instance)
            || may_beat_in_redis(state, instance)
            || (process.reaches(Place::Mysql) && process.beat.is_some())
            || (process.reaches(Place::Majority) && (process.asked.is_some() || process.named != Some(state.primary)))
            || steps::may_disconnect(protocol, state, process)
            || steps::may_connect(state, process)
    };
    !waits && !state.lags() && !state.processes.iter().enumerate().any(is_due)
}

pub fn tick(state: &mut State) {
    for customer in &mut state.customers {
        if let Some(attempt) = &mut customer.attempt {
            attempt.age = DEAD.min(attempt.age + 1);
        }
    }
    for process in &mut state.processes {
        process.lease = process.lease.saturating_sub(1);
        for left in process.beat.iter_mut().map(|reply| &mut reply.left) {
            *left = left.saturating_sub(1);
        }
        for left in process.asked.iter_mut().map(|reply| &mut reply.left) {
            *left = left.saturating_sub(1);
        }
        if let Some(rebuild) = &mut process.rebuild {
            rebuild.silence = DEAD.min(rebuild.silence + 1);
        }
        process.away = if process.is_away(state.primary) { DEAD.min(process.away + 1) } else { 0 };
    }
    for customer in &mut state.customers {
        if let Some(told) = &mut customer.told {
            let away_now = state.processes[told.by].away;
            told.may_be_lost |= told.away <= ANSWERED_AFTER && away_now >= AWAY_FOR;
        }
    }
}

/// A beat is possible while it changes anything.
pub fn may_beat(protocol: &LeaseProtocol, state: &State, instance: Instance) -> bool {
    let process = &state.processes[instance];
    let is_silent = state.processes[1 - instance].rebuild.is_some_and(|rebuild| rebuild.silence > 0);
    let has_row = row(state) == process.gate || !protocol.has(Guard::RowReadAfterBeat);
    let extends = process.gate.is_some() && process.lease < LEASE && has_row;
    process.reaches(Place::Mysql) && process.beat.is_none() && (extends || is_silent)
}

/// The loading in the row, if the shard is live.
fn row(state: &State) -> Option<Loading> {
    state.mysql.is_live.then_some(state.mysql.loading)
}

/// A beat in the server counts for a rebuild in that server.
pub fn may_beat_in_redis(state: &State, instance: Instance) -> bool {
    let process = &state.processes[instance];
    let other = state.processes[1 - instance].rebuild;
    process.answering() == Some(NEW) && other.is_some_and(|rebuild| rebuild.server == NEW && rebuild.silence > 0)
}

/// A question to the majority is possible while the answer changes anything.
pub fn may_ask(protocol: &LeaseProtocol, state: &State, process: &Process) -> bool {
    let is_reached = process.reaches(Place::Majority);
    let asks_one = !protocol.has(Guard::MajorityAsked) && process.at.is_some();
    let changes = process.lease < LEASE || process.named != Some(state.primary);
    (is_reached || asks_one) && process.asked.is_none() && changes
}

pub fn heard_by_rebuild(state: &mut State, instance: Instance) {
    if let Some(rebuild) = &mut state.processes[1 - instance].rebuild {
        rebuild.silence = 0;
    }
}

pub fn beat(protocol: &LeaseProtocol, state: &mut State, instance: Instance) {
    heard_by_rebuild(state, instance);
    let row = row(state);
    let process = &mut state.processes[instance];
    process.away = 0;
    process.beat = Some(Reply { left: lease(protocol), answer: row });
}

/// The beat extends the lease if the row, which is read after the beat, still has the loading of the gate.
pub fn hear_beat(protocol: &LeaseProtocol, process: &mut Process) {
    let Some(Reply { left, answer }) = process.beat.take() else { return };
    if answer == process.gate || !protocol.has(Guard::RowReadAfterBeat) {
        extend(protocol, process, left);
    }
}

/// Without the guard, the process asks one member alone. A server that is cut off names itself.
pub fn ask(protocol: &LeaseProtocol, state: &mut State, instance: Instance) {
    let primary = state.primary;
    let process = &mut state.processes[instance];
    if process.reaches(Place::Majority) && (primary, process.at) == (OLD, Some(OLD)) {
        process.away = 0;
    }
    let of_one = process.at.filter(|_| !process.reaches(Place::Majority));
    process.asked = Some(Reply { left: lease(protocol), answer: of_one.unwrap_or(primary) });
}

/// The answer extends the lease if it names the server of the gate.
pub fn hear_majority(protocol: &LeaseProtocol, process: &mut Process) {
    let Some(Reply { left, answer }) = process.asked.take() else { return };
    process.named = Some(answer);
    if process.at == Some(answer) {
        extend(protocol, process, left);
    }
}

fn extend(protocol: &LeaseProtocol, process: &mut Process, left: u8) {
    let left = if protocol.has(Guard::CountedFromSending) { left } else { lease(protocol) };
    process.lease = process.lease.max(left);
}

fn lease(protocol: &LeaseProtocol) -> u8 {
    if protocol.has(Guard::ShorterThanDeath) { LEASE } else { DEAD }
}

/// Whether the token in `live` of a server is renewed by a rebuild.
pub fn is_renewed(state: &State, server: usize) -> bool {
    let Live::Rebuild(token) = state.servers[server].live else { return true };
    let renews = |process: &Process| {
        process.rebuild.is_some_and(|rebuild| (rebuild.server, rebuild.token) == (server, token))
            && process.answering() == Some(server)
    };
    state.processes.iter().any(renews)
}
