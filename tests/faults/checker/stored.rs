//! Checks answers that promised that MySQL has the claim: MySQL had the row right afterwards (I2).

use super::Findings;
use super::run::Run;
use crate::history::{Event, EventKind};

/// The name of the fault by which MySQL loses commits.
const WENT_BACK: &str = "WentBack";

pub fn check(run: &Run, history: &[Event], found: &mut Findings) {
    let went_back: Vec<_> = run.faults.iter().filter(|fault| fault.name == WENT_BACK).collect();
    for event in history {
        let EventKind::Stored { attempt, found: Some(false) } = event.kind else { continue };
        let is_lost = went_back.iter().any(|fault| {
            fault.began.at_us <= event.at_us && fault.ended.is_none_or(|ended| event.at_us <= ended.at_us)
        });
        found.require("I2", is_lost, || format!("attempt {attempt} was told that MySQL has its claim; no such row"));
    }
}
