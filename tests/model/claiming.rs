//! An attempt: gate, script, reply, answer.

use crate::action::Action;
use crate::guard::Guard;
use crate::protocol::Protocol;
use crate::state::{Attempt, Claim, Command, Instance, Live, Loading, Pending, Reply, State, Told, USERS, User};

/// The steps of attempts in progress.
pub fn actions(state: &State, actions: &mut Vec<Action>) {
    for user in 0..USERS {
        let customer = &state.customers[user];
        match customer.attempt {
            Attempt::None => {}
            Attempt::Sent { command, .. } if command.run == state.redis.run => actions.push(Action::Apply(user)),
            Attempt::Sent { .. } => {}
            Attempt::Replied { instance, .. } if state.processes[instance].frozen => {}
            Attempt::Replied { .. } => actions.push(Action::Answer(user)),
        }
        if customer.abandoned.is_some_and(|command| command.run == state.redis.run) {
            actions.push(Action::ApplyStray(user));
        }
    }
}

/// Whether the gate is open and the connection belongs to the Redis process of that loading.
pub fn may_ask(protocol: &Protocol, state: &State, user: User, instance: Instance) -> bool {
    let process = &state.processes[instance];
    let is_same_process =
        |loading: Loading| loading.run == state.redis.run || !protocol.has(Guard::ProcessComparedByClaims);
    state.customers[user].attempt == Attempt::None && !process.frozen && process.gate.is_some_and(is_same_process)
}

pub fn ask(state: &mut State, user: User, instance: Instance) {
    let expected = state.processes[instance].gate.expect("an attempt needs an open gate");
    let command = Command { run: state.redis.run, expected };
    state.customers[user].attempts += 1;
    state.customers[user].attempt = Attempt::Sent { instance, command, late: false };
}

pub fn apply(protocol: &Protocol, state: &mut State, user: User) {
    let Attempt::Sent { instance, command, late } = state.customers[user].attempt else { return };
    let reply = script(protocol, state, user, command.expected);
    state.customers[user].attempt = Attempt::Replied { instance, reply, late };
}

pub fn apply_stray(protocol: &Protocol, state: &mut State, user: User) {
    if let Some(command) = state.customers[user].abandoned.take() {
        script(protocol, state, user, command.expected);
    }
}

/// `lua/claim.lua`.
fn script(protocol: &Protocol, state: &mut State, user: User, expected: Loading) -> Reply {
    let data = &mut state.redis.data;
    let is_live = data.live == Live::Loaded(expected) || !protocol.has(Guard::LiveComparedByClaims);
    if !is_live || !data.published {
        return Reply::Unavailable;
    }
    if let Some((seq, entry)) = data.holders[user]
        && protocol.has(Guard::HolderCheckedFirst)
    {
        let pending = if data.outbox.iter().any(|claim| claim.entry == entry) { Pending::Yes } else { Pending::No };
        return Reply::Already(Claim { epoch: expected.epoch, entry, user, seq, swept: false }, pending);
    }
    let seq = if data.claimed < protocol.bounds.units {
        data.claimed += 1;
        data.claimed
    } else if data.holes.is_empty() {
        return Reply::SoldOut;
    } else {
        data.holes.remove(0)
    };
    data.last_entry += 1;
    let claim = Claim { epoch: expected.epoch, entry: data.last_entry, user, seq, swept: false };
    if protocol.has(Guard::EntryWithClaim) {
        data.outbox.push(claim);
    }
    data.holders[user] = Some((seq, claim.entry));
    Reply::Claimed(claim)
}

pub fn answer(protocol: &Protocol, state: &mut State, user: User) {
    let Attempt::Replied { instance, reply, late } = state.customers[user].attempt else { return };
    let customer = &mut state.customers[user];
    customer.attempt = Attempt::None;
    if late && protocol.has(Guard::LateReplyIgnored) {
        customer.unknown = true;
        return;
    }
    match reply {
        Reply::Claimed(claim) => {
            note_told(&mut customer.told, claim.seq);
            hand_over(state, instance, claim);
        }
        Reply::Already(claim, pending) => {
            note_told(&mut customer.told, claim.seq);
            if pending == Pending::Yes && protocol.has(Guard::PendingClaimHandedOver) {
                hand_over(state, instance, claim);
            }
        }
        Reply::SoldOut if customer.told != Told::Nothing => customer.told = Told::Changed,
        Reply::SoldOut | Reply::Unavailable => {}
    }
}

fn note_told(told: &mut Told, seq: u8) {
    *told = match *told {
        Told::Nothing => Told::Claim(seq),
        Told::Claim(before) if before == seq => Told::Claim(seq),
        Told::Claim(_) | Told::Changed => Told::Changed,
    };
}

/// Puts the claim into the channel, unless the process has it already.
fn hand_over(state: &mut State, instance: Instance, claim: Claim) {
    let process = &mut state.processes[instance];
    let known = process
        .unstored_claims()
        .chain(&process.stored)
        .any(|held| (held.entry, held.epoch) == (claim.entry, claim.epoch));
    if !known {
        process.pending.push(claim);
        process.pending.sort_unstable();
    }
}

/// The handler ends without a reply. Redis may still run its command.
pub fn give_up(protocol: &Protocol, state: &mut State, user: User) {
    let customer = &mut state.customers[user];
    match customer.attempt {
        Attempt::Sent { command, late, .. } => {
            customer.abandoned = Some(command);
            state.faults.given_up += u8::from(!late);
        }
        Attempt::Replied { .. } => state.faults.given_up += 1,
        Attempt::None => {}
    }
    customer.attempt = Attempt::None;
    customer.unknown = customer.unknown || protocol.has(Guard::UnknownOutcomeReported);
}
