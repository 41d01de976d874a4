//! The faults. Faults outside the design's promises are left out, see the first page of the model.

use crate::action::Action;
use crate::bounds::Older;
use crate::protocol::Protocol;
use crate::state::{Attempt, Data, INSTANCES, Instance, Process, State, Told, USERS};

pub fn actions(protocol: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let (allowed, had) = (&protocol.bounds.faults, &state.faults);
    for user in 0..USERS {
        let customer = &state.customers[user];
        let (waits, late) = match customer.attempt {
            Attempt::None => (None, false),
            Attempt::Sent { instance, late, .. } => (Some(instance), late),
            Attempt::Replied { instance, .. } => (Some(instance), false),
        };
        let runs = waits.is_some_and(|instance| !state.processes[instance].frozen);
        if runs && customer.abandoned.is_none() && (late || had.given_up < allowed.given_up) {
            actions.push(Action::GiveUp(user));
        }
    }
    for instance in 0..INSTANCES {
        let process = &state.processes[instance];
        // A stop would lose the claims known only to this instance and Redis.
        let may_stop = !(state.memory_lost && state.holds_answered_claim(instance));
        if may_stop && had.crashes < allowed.crashes {
            actions.push(Action::Crash(instance));
        }
        if process.frozen {
            actions.push(Action::Thaw(instance));
        } else if may_stop && had.freezes < allowed.freezes {
            actions.push(Action::Freeze(instance));
        }
        // MySQL ends the transaction of a frozen client after a few seconds.
        if process.batch.is_some() && (process.frozen || had.hung_up < allowed.hung_up) {
            actions.push(Action::HangUpBeforeCommit(instance));
        }
        if process.batch.is_some() && !process.frozen && had.hung_up < allowed.hung_up {
            actions.push(Action::HangUpAfterCommit(instance));
        }
    }
    if had.restarts < allowed.restarts {
        actions.push(Action::Restart);
    }
    if had.losses < allowed.losses && is_loss_covered(state) {
        actions.extend([Action::LoseAll, Action::Flush]);
        if state.redis.older.is_some() {
            actions.push(Action::GoBack);
        }
    }
    if protocol.bounds.older == Older::Kept && state.redis.older.is_none() {
        actions.push(Action::Save);
    }
}

/// Whether a loss of Redis is covered by the promises: no dead or frozen instance has answered a claim that MySQL
/// lacks.
fn is_loss_covered(state: &State) -> bool {
    let orphaned = (0..USERS).any(|user| match state.customers[user].told {
        Told::Claim(seq) => state.customers[user].orphan && !state.has_row(user, seq),
        Told::Nothing | Told::Changed => false,
    });
    !orphaned
        && !(0..INSTANCES).any(|instance| state.processes[instance].frozen && state.holds_answered_claim(instance))
}

pub fn step(state: &mut State, action: Action) {
    match action {
        Action::Crash(instance) => crash(state, instance),
        Action::Freeze(instance) => freeze(state, instance),
        Action::Thaw(instance) => state.processes[instance].frozen = false,
        Action::Restart => {
            state.faults.restarts += 1;
            restart(state);
        }
        Action::LoseAll => lose(state, Data::empty()),
        Action::GoBack => {
            let older = state.redis.older.clone().unwrap_or_else(Data::empty);
            lose(state, older);
        }
        Action::Flush => {
            state.faults.losses += 1;
            state.memory_lost = true;
            state.redis.data = Data::empty();
        }
        Action::Save => state.redis.older = Some(state.redis.data.clone()),
        Action::HangUpBeforeCommit(instance) => {
            let frozen = state.processes[instance].frozen;
            state.faults.hung_up += u8::from(!frozen);
            roll_back(&mut state.processes[instance]);
        }
        Action::HangUpAfterCommit(instance) => {
            state.faults.hung_up += 1;
            if let Some(batch) = state.processes[instance].batch.clone() {
                crate::ledger::settle(state, instance, &batch.claims, batch.is_late);
            }
            roll_back(&mut state.processes[instance]);
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

fn crash(state: &mut State, instance: Instance) {
    state.faults.crashes += 1;
    let held: Vec<_> = state.processes[instance].unstored_claims().copied().collect();
    for claim in held.iter().filter(|claim| state.is_answered_and_unstored(claim)).copied().collect::<Vec<_>>() {
        state.customers[claim.user].orphan = true;
    }
    for customer in &mut state.customers {
        match customer.attempt {
            Attempt::Sent { instance: through, command, .. } if through == instance => {
                customer.abandoned = Some(command)
            }
            Attempt::Replied { instance: through, .. } if through == instance => {}
            _ => continue,
        }
        customer.attempt = Attempt::None;
        customer.unknown = true;
    }
    state.processes[instance] = Process::new();
}

/// Freezes an instance until all its deadlines have passed and the others no longer wait for it.
fn freeze(state: &mut State, instance: Instance) {
    state.faults.freezes += 1;
    state.processes[instance].frozen = true;
    for customer in &mut state.customers {
        match &mut customer.attempt {
            Attempt::Sent { instance: through, late, .. } | Attempt::Replied { instance: through, late, .. }
                if *through == instance =>
            {
                *late = true;
            }
            _ => {}
        }
    }
}

/// Starts another Redis process. Commands on their way to the old process are lost, and their handlers notice.
fn restart(state: &mut State) {
    state.redis.run += 1;
    for customer in &mut state.customers {
        customer.abandoned = None;
        if let Attempt::Sent { .. } = customer.attempt {
            customer.attempt = Attempt::None;
            customer.unknown = true;
        }
    }
}

fn lose(state: &mut State, data: Data) {
    state.faults.losses += 1;
    state.memory_lost = true;
    state.redis.data = data;
    restart(state);
}
