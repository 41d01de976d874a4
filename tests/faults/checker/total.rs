//! The sums over several runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Verdict;

#[derive(Default)]
pub struct Total {
    pub runs: u64,
    /// The folders of the runs that violated an invariant.
    pub broken: Vec<PathBuf>,
    pub faults: u64,
    rows: usize,
    poisoned: usize,
    excused: usize,
    answers: BTreeMap<String, u64>,
    violated: BTreeMap<&'static str, usize>,
    longest: Option<(u64, String)>,
}

impl Total {
    pub fn add(&mut self, verdict: &Verdict, folder: &Path) {
        self.runs += 1;
        self.faults += verdict.faults;
        self.rows += verdict.rows;
        self.poisoned += verdict.poisoned;
        self.excused += verdict.excused;
        for (kind, count) in &verdict.answers {
            *self.answers.entry(kind.clone()).or_default() += count;
        }
        for (invariant, count) in verdict.broken() {
            *self.violated.entry(invariant).or_default() += count;
        }
        if !verdict.violations.is_empty() {
            self.broken.push(folder.to_owned());
        }
        let longest = verdict.resumed_ms.iter().map(|(name, (_, ms))| (*ms, name.clone())).max();
        self.longest = self.longest.take().max(longest);
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violated = |invariant| self.violated.get(invariant).copied().unwrap_or(0);
        write!(f, "{} runs, {} faults injected; answers:", self.runs, self.faults)?;
        for (kind, count) in &self.answers {
            write!(f, " {kind} {count}")?;
        }
        let (stored, poisoned) = (self.rows, self.poisoned);
        write!(
            f,
            "\n  {stored} claims stored, {poisoned} poisoned; lost {}, oversold {}",
            violated("I2"),
            violated("I1")
        )?;
        write!(f, ", duplicated {}", violated("I4") + violated("I5"))?;
        if self.excused > 0 {
            write!(f, " (and {} lost that are not promised)", self.excused)?;
        }
        if let Some((ms, name)) = &self.longest {
            write!(f, "; longest time to recover {:.1} s, after {name}", *ms as f64 / 1_000.0)?;
        }
        if !self.violated.is_empty() {
            write!(f, "\n  violations of each invariant: {:?}", self.violated)?;
        }
        Ok(())
    }
}
