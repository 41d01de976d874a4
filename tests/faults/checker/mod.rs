//! Judges a run: a pure function of the history and of the final contents of the stores.
//!
//! The checker knows only the wire contract of the program, and demands only certain facts: after an unknown outcome,
//! or during a change, every possible state is allowed.

mod answers;
mod clock;
mod excused;
mod pauses;
mod refusals;
mod run;
mod settled;
mod stored;
#[cfg(test)]
mod tests;
mod total;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Event, EventKind};
use crate::stores::Settled;
use pauses::Pauses;
use run::Run;
pub use total::Total;

/// The largest difference between two readings of a clock, and the longest time for a refusal from memory to outlive
/// its reason.
const SLACK_MS: u64 = 50;
const MEMORY_MS: u64 = 200;
/// Until an unknown outcome is final.
const UNKNOWN_FINAL_MS: u64 = 1_000;
/// Until sales resume after a fault. A dead instance is waited for 10 s, and a rebuild's token expires after 10 s.
const RESUME_MS: u64 = 30_000;

/// A violated invariant with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub invariant: &'static str,
    pub details: String,
}

/// The result of a check.
#[derive(Debug, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Answers by kind.
    pub answers: BTreeMap<String, u64>,
    pub faults: u64,
    /// By kind of fault: the number of faults, and the longest time until every instance granted or confirmed a claim
    /// again.
    pub resumed_ms: BTreeMap<String, (u64, u64)>,
    /// By name of a fault and by shard, the longest time without a granted or confirmed claim.
    pub pauses_ms: BTreeMap<String, Pauses>,
    /// Claims in MySQL, and claims refused by MySQL.
    pub rows: usize,
    pub poisoned: usize,
    /// Lost claims that were not promised.
    pub excused: usize,
}

/// Checks all invariants.
pub fn check(history: &[Event], settled: &Settled) -> Verdict {
    let excused = excused::without_excused_claims(history, &settled.mysql);
    let history = &excused.history;
    let run = Run::new(history);
    let mut verdict =
        Verdict { rows: settled.mysql.rows.len(), poisoned: settled.mysql.poisoned.len(), ..Verdict::default() };
    verdict.excused = excused.claims;
    for attempt in &run.attempts {
        *verdict.answers.entry(attempt.answer.kind()).or_default() += 1;
    }
    verdict.faults = history.iter().filter(|event| matches!(event.kind, EventKind::FaultBegins { .. })).count() as u64;
    let mut found = Findings::default();
    answers::check(&run, &settled.mysql.rows, &mut found);
    stored::check(&run, history, &mut found);
    refusals::check(&run, &settled.mysql, &mut found);
    settled::check(&run, settled, &mut found);
    settled::check_poisoned(&excused, settled, &mut found);
    settled::check_samples(&run, history, &mut found);
    verdict.resumed_ms = settled::check_resumption(&run, &mut found);
    verdict.pauses_ms = pauses::check(&run, &mut found);
    verdict.violations = found.0;
    verdict
}

/// The violations found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn note(&mut self, invariant: &'static str, details: String) {
        self.0.push(Violation { invariant, details });
    }

    fn require(&mut self, invariant: &'static str, holds: bool, details: impl FnOnce() -> String) {
        if !holds {
            self.note(invariant, details());
        }
    }
}

impl Verdict {
    /// The violated invariants with the number of violations.
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
        /// Printed violations for an invariant.
        const SHOWN_MAX: usize = 5;
        write!(f, "{} faults, {} claims stored, {} poisoned; answers:", self.faults, self.rows, self.poisoned)?;
        for (kind, count) in &self.answers {
            write!(f, " {kind} {count}")?;
        }
        if self.excused > 0 {
            write!(f, "\n  {} claims lost that are not promised", self.excused)?;
        }
        for (name, (count, longest)) in &self.resumed_ms {
            write!(f, "\n  {name} x{count}: sales resumed within {longest} ms; longest time without sales:")?;
            for (shard, pause) in self.pauses_ms.get(name).into_iter().flatten() {
                write!(f, " s{shard} {pause} ms")?;
            }
        }
        for (invariant, count) in self.broken() {
            write!(f, "\n  VIOLATED {invariant}: {count} times")?;
            let shown = self.violations.iter().filter(|violation| violation.invariant == invariant);
            for violation in shown.take(SHOWN_MAX) {
                write!(f, "\n    {}", violation.details)?;
            }
        }
        Ok(())
    }
}
