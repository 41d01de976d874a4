//! The first statement of every transaction of a ledger: `UPDATE ledgers SET counter = :number WHERE process, epoch
//! match AND counter >= :committed`. If no row matches, the row is read.

use super::protocol::{FenceProtocol, Guard};
use super::state::{Epoch, INSTANCES, Instance, LedgerRow, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The row matched and is locked.
    Passed,
    /// The row has a later epoch.
    Late,
    /// The row is behind the process.
    WentBack,
    /// The process has no row, and Redis is not ahead. A rebuild took the process for dead. It adds its row again.
    Unknown,
}

pub fn check(protocol: &FenceProtocol, state: &State, instance: Instance, epoch: Epoch) -> Fence {
    let process = &state.processes[instance];
    let Some(LedgerRow { epoch: held, counter }) = state.mysql.ledgers[process.id] else {
        return if state.is_redis_ahead() { Fence::WentBack } else { Fence::Unknown };
    };
    let is_epoch = held == epoch || !protocol.has(Guard::EpochCompared);
    let is_counter = counter >= process.committed || !protocol.has(Guard::CounterCompared);
    if is_epoch && is_counter {
        Fence::Passed
    } else if held > epoch {
        Fence::Late
    } else {
        Fence::WentBack
    }
}

/// Writes a new number into the row. The transaction is not committed yet.
pub fn next_number(state: &mut State, instance: Instance) -> u8 {
    let process = &mut state.processes[instance];
    process.used += 1;
    process.used
}

/// Commits the number, with the rest of its transaction.
pub fn commit_number(state: &mut State, instance: Instance, number: u8) {
    let process = &mut state.processes[instance];
    process.committed = number;
    if let Some(row) = &mut state.mysql.ledgers[process.id] {
        row.counter = number;
    }
}

/// Writes the number into Redis, by the script that deletes entries.
pub fn raise_in_redis(protocol: &FenceProtocol, state: &mut State, instance: Instance, number: u8) {
    if protocol.has(Guard::CounterRaisedByScript) {
        let counter = &mut state.redis.counters[state.processes[instance].id];
        *counter = (*counter).max(Some(number));
    }
}

/// Raises the alarm. The counter in Redis lets every other instance see it, too.
pub fn raise_alarm(protocol: &FenceProtocol, state: &mut State, instance: Instance) {
    raise_in_redis(protocol, state, instance, state.processes[instance].committed);
    state.alarm = true;
}

/// Every living process tells Redis its last number, within a second of the alarm. An operator needs longer than that
/// to type the repair.
pub fn all_tell(protocol: &FenceProtocol, state: &mut State) {
    if protocol.has(Guard::EveryProcessTells) {
        for instance in (0..INSTANCES).filter(|instance| !state.processes[*instance].frozen).collect::<Vec<_>>() {
            raise_in_redis(protocol, state, instance, state.processes[instance].committed);
        }
    }
}
