//! The protocol of claims, outbox, ledger and recovery as a small model, searched exhaustively: in every order of steps, with
//! faults between any two of them, the invariants hold, and each guard is there for a reason (docs/MODEL.md).
//!
//! Two instances, one shard, one coupon, two or three users. Every step is what is atomic in the real system: a script of
//! Redis, a statement or `COMMIT` of MySQL, what a process does without waiting. There is no time: a deadline may pass at
//! any moment, a token that nobody renews may expire, and whoever is away is one who does nothing. So what the code leaves
//! to clocks (the *not after*, the age of a swept entry) cannot be relied on here, which is more than the code asks.
//!
//! Outside, as docs/RELIABILITY.md says what is not promised: an instance that dies or is cut off while Redis has lost memory and
//! has answered what MySQL lacks; MySQL going back in time. Left out for the size of it: activities, limits above one,
//! refusals from memory, changed amounts, poisoned entries that do not parse, a third instance.

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

/// The steps that lead to the last state, and what is there.
fn tell(property: &str, path: Path<State, Action>) -> String {
    let last = format!("{:?}", path.last_state());
    let steps: Vec<String> =
        path.into_actions().iter().enumerate().map(|(step, action)| format!("  {:2}. {action}\n", step + 1)).collect();
    format!("{property}:\n{}  then: {last}\n", steps.concat())
}

/// Searches all there is within the bounds.
fn search(bounds: Bounds) {
    let started = Instant::now();
    let checker = Protocol { bounds, without: None }.checker().threads(THREADS).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), started.elapsed());
    println!("{}: {states} states, {} steps deep, {took:.1?}", bounds.name, checker.max_depth());
    let mut found = checker.discoveries();
    assert!(found.remove(SOLD_AFTER_ALL).is_some(), "{}: nothing is sold once all has broken", bounds.name);
    let violations: Vec<String> = found.into_iter().map(|(property, path)| tell(property, path)).collect();
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
        let path = found.unwrap_or_else(|| panic!("without {guard:?} nothing breaks {property}: {}", bounds.name));
        println!("without {guard:?} ({:.1?}), {}", started.elapsed(), tell(property, path));
    }
}
