//! Calls of one script that leave together as one.
//!
//! A script that takes any number of cases, each with its own keys and arguments behind those that all of them share, and
//! replies with an array of one reply a case. What Redis does for a call besides the case itself is then done once for many:
//! under load that is more than half of its work.

use super::{Command, Script};

/// Cases of one call at most: Redis does nothing else meanwhile.
pub(super) const CASES_MAX: usize = 32;

/// A call that others may still join.
pub(super) struct Together {
    script: Script,
    /// What its cases share; only a case with the same joins.
    shared: String,
    /// The ticket of the first case, and how many there are.
    pub(super) first: u64,
    pub(super) cases: usize,
    keys: Command,
    arguments: Command,
}

impl Together {
    /// A call without a case. `begin` adds the keys and the arguments that `shared` stands for.
    pub(super) fn new(
        script: Script,
        shared: &str,
        first: u64,
        begin: impl FnOnce(&mut Command, &mut Command),
    ) -> Self {
        let (mut keys, mut arguments) = (Command::begin(0, &[]), Command::begin(0, &[]));
        begin(&mut keys, &mut arguments);
        Self { script, shared: shared.to_owned(), first, cases: 0, keys, arguments }
    }

    /// Whether one more case may join.
    pub(super) fn takes(&self, script: Script, shared: &str) -> bool {
        self.cases < CASES_MAX && self.script == script && self.shared == shared
    }

    /// Adds a case by its keys and arguments.
    pub(super) fn add(&mut self, case: impl FnOnce(&mut Command, &mut Command)) {
        self.cases += 1;
        case(&mut self.keys, &mut self.arguments);
    }

    /// Appends the whole call to `buffer`.
    pub(super) fn write_to(&self, buffer: &mut Vec<u8>) {
        self.script.write_call(&self.keys, &self.arguments, buffer);
    }
}
