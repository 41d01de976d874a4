//! A model of the protocol of claims, outbox, ledger and recovery, searched exhaustively (docs/MODEL.md). The search
//! tries every order of steps, with faults between any two steps. The invariants must hold in every state. A second
//! test removes the guards, one after the other, and requires a counter-example for every guard.
//!
//! Smaller models stand beside it: [`promoted`], a replica that is promoted behind one address;
//! [`lease`], an old primary that is cut off together with an instance; [`slots`], a slot of a cluster that moves;
//! [`ledgers`], the fence of
//! the ledger and a MySQL that goes back in time; [`formats`], two releases side by side; [`owner`], installations and
//! copied databases; [`archive`], a coupon that is archived and comes back; and [`archive_list`], a customer's list
//! meanwhile.
//!
//! The model has two instances, one shard, one coupon, and two or three users. A step is atomic in the real system as
//! well: a Redis script, a MySQL statement or `COMMIT`, or work of a process without waiting. The model has no time: a
//! deadline may pass at any moment, a token without renewal may expire, and an unreachable server is a server that
//! takes no steps. Therefore the protocol cannot rely on clocks here. The code can: on the *not after* and on the age
//! of swept entries.
//!
//! Faults outside the promises (docs/RELIABILITY.md) are left out: an instance that dies or is cut off after Redis has
//! lost memory, with answered claims missing in MySQL. To keep the search small, the model also leaves out activities,
//! limits above one, refusals from memory, changed amounts, unreadable outbox entries, and a third instance.

mod action;
mod archive;
mod archive_list;
mod bounds;
mod claiming;
mod faults;
mod formats;
mod guard;
mod healing;
mod lease;
mod ledger;
mod ledgers;
mod owner;
mod promoted;
mod protocol;
mod rebuild;
mod recovery;
mod slots;
mod state;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path};

use bounds::{Bounds, SEARCHED, SEARCHED_LONG};
use guard::NEEDED;
use protocol::{Protocol, SOLD_AFTER_ALL};

const THREADS: usize = 2;

/// Describes a path: its steps and its last state.
fn describe<S: Debug, A: Display>(property: &str, path: Path<S, A>) -> String {
    let last = format!("{:?}", path.last_state());
    let steps: Vec<String> =
        path.into_actions().iter().enumerate().map(|(step, action)| format!("  {:2}. {action}\n", step + 1)).collect();
    format!("{property}:\n{}  then: {last}\n", steps.concat())
}

/// Searches all states of a model. No property may be violated, and a state with `reached` must be found.
fn search<M>(name: &str, model: M, reached: &'static str)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static> + Send + Sync + 'static,
    M::Action: Clone + Display + PartialEq,
{
    let started = Instant::now();
    let checker = model.checker().threads(THREADS).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), started.elapsed());
    println!("{name}: {states} states, {} steps deep, {took:.1?}", checker.max_depth());
    let mut found = checker.discoveries();
    let is_reached = found.remove(reached).is_some();
    let violations: Vec<String> = found.into_iter().map(|(property, path)| describe(property, path)).collect();
    assert!(violations.is_empty(), "{name}:\n{}", violations.concat());
    assert!(is_reached, "{name}: not found: {reached}");
}

/// Searches a model without a guard. The property must be violated.
fn require_violation<M>(guard: impl Debug, name: &str, model: M, property: &'static str)
where
    M: Model<State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static> + Send + Sync + 'static,
    M::Action: Clone + Display + PartialEq,
{
    let started = Instant::now();
    let until = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(THREADS).finish_when(until).spawn_bfs().join();
    let path =
        checker.discovery(property).unwrap_or_else(|| panic!("without {guard:?}, {property} still holds: {name}"));
    println!("without {guard:?} ({:.1?}), {}", started.elapsed(), describe(property, path));
}

#[test]
fn the_invariants_hold_whatever_breaks_between_any_two_steps() {
    let search = |bounds: Bounds| search(bounds.name, Protocol { bounds, without: None }, SOLD_AFTER_ALL);
    SEARCHED.into_iter().for_each(search);
    if std::env::var_os("COUPONRUSH_TEST_LONG").is_some() {
        SEARCHED_LONG.into_iter().for_each(search);
    }
}

#[test]
fn without_any_one_of_its_guards_the_protocol_breaks() {
    for (guard, bounds, property) in NEEDED {
        require_violation(guard, bounds.name, Protocol { bounds, without: Some(guard) }, property);
    }
}
