//! The ledger and the sweep. The ledger runs a transaction and then deletes the entries of its claims.

use crate::action::Action;
use crate::guard::Guard;
use crate::protocol::Protocol;
use crate::state::{Batch, Claim, Instance, Live, MySql, State};

pub fn actions(protocol: &Protocol, state: &State, instance: Instance, actions: &mut Vec<Action>) {
    let process = &state.processes[instance];
    if process.batch.is_some() {
        actions.push(Action::Commit(instance));
    } else if !process.stored.is_empty() {
        actions.push(Action::Delete(instance));
    } else {
        if !process.pending.is_empty() {
            actions.push(Action::Begin(instance));
        }
        if protocol.has(Guard::OutboxSwept) && sweepable_entries(state, instance).next().is_some() {
            actions.push(Action::Sweep(instance));
        }
    }
    if !process.late.is_empty() && state.mysql.is_live {
        actions.push(Action::SettleLate(instance));
    }
}

/// Outbox entries not brought by any channel. No running process holds them, and no handler waits for them.
fn sweepable_entries(state: &State, instance: Instance) -> impl Iterator<Item = &Claim> {
    let is_live = state.processes[instance].gate.is_some_and(|gate| state.redis.data.live == Live::Loaded(gate));
    let outbox = if is_live { state.redis.data.outbox.as_slice() } else { &[] };
    outbox.iter().filter(|entry| {
        let is_entry = |claim: &Claim| claim.entry == entry.entry && claim.user == entry.user;
        !state.is_awaited(entry)
            && !state
                .processes
                .iter()
                .any(|process| !process.frozen && process.unstored_claims().chain(&process.stored).any(is_entry))
    })
}

pub fn sweep(state: &mut State, instance: Instance) {
    let epoch = state.processes[instance].gate.map_or(0, |gate| gate.epoch);
    let found: Vec<Claim> =
        sweepable_entries(state, instance).map(|entry| Claim { epoch, swept: true, ..*entry }).collect();
    let pending = &mut state.processes[instance].pending;
    pending.extend(found);
    pending.sort_unstable();
}

/// `START TRANSACTION`, then a read of the shard's row in share mode, for the claims of a single epoch.
pub fn begin(protocol: &Protocol, state: &mut State, instance: Instance) {
    let mysql = &state.mysql;
    let process = &mut state.processes[instance];
    let epoch = process.pending[0].epoch;
    let swept = process.pending[0].swept;
    let count = process.pending.iter().take_while(|claim| (claim.epoch, claim.swept) == (epoch, swept)).count();
    let claims: Vec<Claim> = process.pending.drain(..count).collect();
    let compared = protocol.has(Guard::EpochComparedByLedger) && (protocol.has(Guard::SweptKeepEpoch) || !swept);
    let is_late = compared && mysql.loading.epoch != epoch;
    let may_wait = protocol.has(Guard::LateWaitForLive);
    if is_late && may_wait && (!mysql.is_live || mysql.loading.epoch < epoch) {
        process.late.extend(claims);
        return;
    }
    if !protocol.has(Guard::DeletedAfterCommit) {
        let ids: Vec<_> = claims.iter().map(|claim| claim.entry).collect();
        state.redis.data.outbox.retain(|claim| !ids.contains(&claim.entry));
    }
    process.batch = Some(Batch { claims, is_late });
}

pub fn commit(state: &mut State, instance: Instance) {
    let Some(Batch { claims, is_late }) = state.processes[instance].batch.take() else { return };
    settle(state, instance, &claims, is_late);
    state.processes[instance].stored = claims;
}

/// Applies the transaction and records poisoned claims.
pub fn settle(state: &mut State, instance: Instance, claims: &[Claim], is_late: bool) {
    for claim in claims {
        if store(&mut state.mysql, claim, is_late) == Stored::Poisoned {
            state.false_alarm |= is_late && state.redis.data.outbox.iter().any(|entry| is_same(entry, claim));
            let contradicted = &mut state.processes[instance].contradicted;
            *contradicted = claim.epoch.max(*contradicted);
        }
    }
}

fn is_same(entry: &Claim, claim: &Claim) -> bool {
    (entry.epoch, entry.entry, entry.user, entry.seq) == (claim.epoch, claim.entry, claim.user, claim.seq)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Done,
    Poisoned,
}

/// Stores a claim by both unique keys of the table. A late claim is either stored already, or poisoned.
pub fn store(mysql: &mut MySql, claim: &Claim, is_late: bool) -> Stored {
    let row = usize::from(claim.seq) - 1;
    if mysql.rows[row] == Some(claim.user) {
        return Stored::Done;
    }
    if is_late || mysql.rows[row].is_some() || mysql.rows.contains(&Some(claim.user)) {
        return Stored::Poisoned;
    }
    mysql.rows[row] = Some(claim.user);
    Stored::Done
}

/// Deletes entries from the outbox, only under the loading of their claims.
pub fn delete(protocol: &Protocol, state: &mut State, instance: Instance) {
    let process = &mut state.processes[instance];
    let stored = std::mem::take(&mut process.stored);
    let Some(gate) = process.gate else { return };
    let data = &mut state.redis.data;
    let is_live = data.live == Live::Loaded(gate) || !protocol.has(Guard::LiveComparedByDeletion);
    if gate.epoch != stored[0].epoch || !is_live {
        return;
    }
    let ids: Vec<_> = stored.iter().map(|claim| claim.entry).collect();
    let highest = ids.iter().copied().max().unwrap_or(0);
    let by_id = protocol.has(Guard::DeletedById);
    data.outbox.retain(|claim| if by_id { !ids.contains(&claim.entry) } else { claim.entry > highest });
}

/// Settles late claims. Claims stored by the rebuild are done, and the rest are poisoned. No entry is deleted.
pub fn settle_late(state: &mut State, instance: Instance) {
    let late = std::mem::take(&mut state.processes[instance].late);
    settle(state, instance, &late, true);
}
