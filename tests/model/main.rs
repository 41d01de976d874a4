//! A model of the protocol of claims, outbox, ledger and recovery, searched exhaustively (docs/MODEL.md). The search
//! tries every order of steps, with faults between any two steps. The invariants must hold in every state. A second
//! test removes the guards, one after the other, and requires a counter-example for every guard.
//!
//! The model has two instances, one shard, one coupon, and two or three users. A step is atomic in the real system as
//! well: a Redis script, a MySQL statement or `COMMIT`, or work of a process without waiting. The model has no time: a
//! deadline may pass at any moment, a token without renewal may expire, and an unreachable server is a server that
//! takes no steps. Therefore the protocol cannot rely on clocks here. The code can: on the *not after* and on the age
//! of swept entries.
//!
//! Faults outside the promises (docs/RELIABILITY.md) are left out: an instance that dies or is cut off after Redis has
//! lost memory, with answered claims missing in MySQL; and MySQL going back in time. To keep the search small, the
//! model also leaves out activities, limits above one, refusals from memory, changed amounts, unreadable outbox
//! entries, and a third instance.

mod action;
mod bounds;
mod claiming;
mod faults;
mod guard;
mod healing;
mod ledger;
mod protocol;
mod rebuild;
mod recovery;
mod state;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Path};

use action::Action;
use bounds::{Bounds, SEARCHED, SEARCHED_LONG};
use guard::NEEDED;
use protocol::{Protocol, SOLD_AFTER_ALL};
use state::State;

const THREADS: usize = 2;

/// Describes a path: its steps and its last state.
fn describe(property: &str, path: Path<State, Action>) -> String {
    let last = format!("{:?}", path.last_state());
    let steps: Vec<String> =
        path.into_actions().iter().enumerate().map(|(step, action)| format!("  {:2}. {action}\n", step + 1)).collect();
    format!("{property}:\n{}  then: {last}\n", steps.concat())
}

/// Searches all states within the bounds.
fn search(bounds: Bounds) {
    let started = Instant::now();
    let checker = Protocol { bounds, without: None }.checker().threads(THREADS).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), started.elapsed());
    println!("{}: {states} states, {} steps deep, {took:.1?}", bounds.name, checker.max_depth());
    let mut found = checker.discoveries();
    assert!(found.remove(SOLD_AFTER_ALL).is_some(), "{}: no state has all faults and all units sold", bounds.name);
    let violations: Vec<String> = found.into_iter().map(|(property, path)| describe(property, path)).collect();
    assert!(violations.is_empty(), "{}:\n{}", bounds.name, violations.concat());
}

#[test]
fn the_invariants_hold_whatever_breaks_between_any_two_steps() {
    SEARCHED.into_iter().for_each(search);
    if std::env::var_os("COUPONRUSH_TEST_LONG").is_some() {
        SEARCHED_LONG.into_iter().for_each(search);
    }
}

#[test]
fn without_any_one_of_its_guards_the_protocol_breaks() {
    for (guard, bounds, property) in NEEDED {
        let started = Instant::now();
        let until = HasDiscoveries::AnyOf([property].into());
        let protocol = Protocol { bounds, without: Some(guard) };
        let checker = protocol.checker().threads(THREADS).finish_when(until).spawn_bfs().join();
        let found = checker.discovery(property);
        let path = found.unwrap_or_else(|| panic!("without {guard:?}, {property} still holds: {}", bounds.name));
        println!("without {guard:?} ({:.1?}), {}", started.elapsed(), describe(property, path));
    }
}
