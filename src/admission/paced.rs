//! Rates of keys, and of the networks around an address.

use std::hash::Hash;

use super::keyed::Keyed;
use super::pace::{Pace, Rates};
use crate::domain::{Address, Network};

/// Why the networks of an address gave no unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkRefusal {
    /// The address itself has used up its rate.
    Own { wait_ms: u64 },
    /// A wider network has, perhaps by others.
    Wider { wait_ms: u64 },
}

impl NetworkRefusal {
    /// Milliseconds until a unit is available.
    pub(super) fn wait_ms(self) -> u64 {
        match self {
            Self::Own { wait_ms } | Self::Wider { wait_ms } => wait_ms,
        }
    }
}

/// Takes a unit of the rate of `key`, or returns the milliseconds to wait.
pub(super) fn pace<K: Eq + Hash>(
    paces: &Keyed<K, Pace>,
    key: K,
    address: impl FnOnce() -> Address,
    rates: Rates,
    now_ms: u64,
) -> Result<(), u64> {
    if rates.are_unlimited() {
        return Ok(());
    }
    paces.change(key, address, now_ms, |pace, times| pace.take(rates.times(times), now_ms))
}

/// Takes a unit of the rate of every network that the address counts for, or of none. `rates` are of an address.
///
/// The wider networks are looked at before a unit is taken. Otherwise an address would lose its own units while others use
/// up the wider network. If concurrent requests use up a wider network in between, the own unit is lost.
pub(super) fn pace_networks<K: Eq + Hash>(
    paces: &Keyed<K, Pace>,
    key: impl Fn(Network) -> K,
    address: Address,
    rates: Rates,
    now_ms: u64,
) -> Result<(), NetworkRefusal> {
    if rates.are_unlimited() {
        return Ok(());
    }
    for (network, times) in address.counted_networks().filter(|(_, times)| *times > 1) {
        let look = |pace: &Pace, more: u32| {
            let mut pace = *pace;
            pace.take(rates.times(times.saturating_mul(more)), now_ms)
        };
        paces.look(&key(network), || address, look).map_err(|wait_ms| NetworkRefusal::Wider { wait_ms })?;
    }
    for (network, times) in address.counted_networks() {
        pace(paces, key(network), || address, rates.times(times), now_ms).map_err(|wait_ms| match times {
            1 => NetworkRefusal::Own { wait_ms },
            _ => NetworkRefusal::Wider { wait_ms },
        })?;
    }
    Ok(())
}
