//! Judges a run: a pure function of its history and of what the stores held in the end.
//!
//! It knows nothing of the program but what the wire says of it, and it never asks for more than can be known: where an
//! outcome is unknown, or a change under way, whatever may have been is allowed.

mod answers;
mod excused;
mod refusals;
mod run;
mod settled;
#[cfg(test)]
mod tests;
mod total;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Event, What};
use crate::stores::Settled;
use run::Run;
pub use total::Total;

/// How far two readings of one clock may lie apart, and how long a refusal from memory may outlive its reason.
const SLACK_MS: u64 = 50;
const MEMORY_MS: u64 = 200;
/// An unknown outcome is final after this.
const UNKNOWN_FINAL_MS: u64 = 1_000;
/// Sales resume within this after a fault: a dead instance is waited for 10 s, and a rebuild's token expires after 10 s.
const RESUME_MS: u64 = 30_000;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

/// What the checker has to say.
#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Answers by kind.
    pub answers: BTreeMap<String, u64>,
    pub faults: u64,
    /// Of each kind of fault, how often, and the longest time until every instance answered well again.
    pub resumed_ms: BTreeMap<String, (u64, u64)>,
    /// Claims in MySQL, and such that could not be stored.
    pub rows: usize,
    pub poisoned: usize,
    /// Claims lost as it is said that they may be.
    pub excused: usize,
}

/// Judges by all invariants.
pub fn check(history: &[Event], settled: &Settled) -> Verdict {
    let (history, excused) = &excused::without(history, &settled.mysql.poisoned);
    let run = Run::new(history);
    let mut verdict =
        Verdict { rows: settled.mysql.rows.len(), poisoned: settled.mysql.poisoned.len(), ..Verdict::default() };
    verdict.excused = *excused;
    for attempt in &run.attempts {
        *verdict.answers.entry(attempt.answer.kind()).or_default() += 1;
    }
    verdict.faults = history.iter().filter(|event| matches!(event.what, What::FaultBegins { .. })).count() as u64;
    let mut found = Findings::default();
    answers::check(&run, &settled.mysql.rows, &mut found);
    refusals::check(&run, &settled.mysql, &mut found);
    settled::check(&run, settled, &mut found);
    settled::check_poisoned(history, settled, &mut found);
    settled::check_samples(&run, history, &mut found);
    verdict.resumed_ms = settled::check_resumption(&run, &mut found);
    verdict.violations = found.0;
    verdict
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn note(&mut self, invariant: &'static str, what: String) {
        self.0.push(Violation { invariant, what });
    }

    fn require(&mut self, invariant: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.note(invariant, what());
        }
    }
}

impl Verdict {
    /// The invariants that are violated, and how often each.
    pub fn broken(&self) -> BTreeMap<&'static str, usize> {
        let mut broken = BTreeMap::new();
        for violation in &self.violations {
            *broken.entry(violation.invariant).or_default() += 1;
        }
        broken
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Violations of one invariant that are written out.
        const SHOWN_MAX: usize = 5;
        write!(f, "{} faults, {} claims stored, {} poisoned; answers:", self.faults, self.rows, self.poisoned)?;
        for (kind, count) in &self.answers {
            write!(f, " {kind} {count}")?;
        }
        if self.excused > 0 {
            write!(f, "\n  {} claims lost that are promised to nobody", self.excused)?;
        }
        for (name, (count, longest)) in &self.resumed_ms {
            write!(f, "\n  {name} x{count}: sold again after {longest} ms at the latest")?;
        }
        for (invariant, count) in self.broken() {
            write!(f, "\n  VIOLATED {invariant}: {count} times")?;
            let shown = self.violations.iter().filter(|violation| violation.invariant == invariant);
            for violation in shown.take(SHOWN_MAX) {
                write!(f, "\n    {}", violation.what)?;
            }
        }
        Ok(())
    }
}
