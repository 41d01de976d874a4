//! The choice among Redis processes, when instances reach different ones.
//!
//! After a failover some instances may still reach the earlier primary, or the network may separate two primaries. Both
//! primaries take writes, and a rebuild at one primary closes the other. Without a choice, two instances would rebuild by
//! turns for ever. The beat of an instance in MySQL names the Redis process that the instance reaches. All instances
//! make the same choice from the beats.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::mysql::instances::RedisReport;
use crate::mysql::shards::ShardRow;

/// How long living instances must report different processes before a choice. A failover takes less time.
const DISPUTED_FOR: Duration = Duration::from_secs(10);

/// What an instance may do with the process that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The process has the shard. The instance may rebuild the shard in the process.
    Ours,
    /// Another process has the shard.
    Theirs,
    /// The instances have not disagreed for [`DISPUTED_FOR`] yet.
    Open,
}

/// The processes that living instances report, while the reports differ.
#[derive(Debug, Default)]
pub(super) struct Dispute(Mutex<Option<Disputed>>);

#[derive(Debug)]
struct Disputed {
    run_ids: Vec<String>,
    since: Instant,
    is_reported: bool,
}

impl Dispute {
    /// Chooses by the reports of all living instances, the calling instance included. `ours` is the process that the
    /// calling instance reaches. Logs a choice among several processes once.
    pub(super) fn choose(&self, reports: &[RedisReport], row: &ShardRow, ours: &str) -> Choice {
        let mut disputed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run_ids: Vec<String> = counts(reports).into_keys().map(str::to_owned).collect();
        if run_ids.iter().all(|run_id| run_id == ours) {
            *disputed = None;
            return Choice::Ours;
        }
        if disputed.as_ref().is_none_or(|disputed| disputed.run_ids != run_ids) {
            *disputed = Some(Disputed { run_ids, since: Instant::now(), is_reported: false });
        }
        let Some(disputed) = disputed.as_mut().filter(|disputed| disputed.since.elapsed() >= DISPUTED_FOR) else {
            return Choice::Open;
        };
        let chosen = chosen(reports, row);
        if !disputed.is_reported {
            disputed.is_reported = true;
            let seen: Vec<String> = reports.iter().map(ToString::to_string).collect();
            log::error!(
                "recovery: ALARM: instances reach different Redis processes; {chosen} has the shard: {}",
                seen.join(", ")
            );
        }
        if chosen == ours { Choice::Ours } else { Choice::Theirs }
    }
}

/// The number of instances that report each process.
fn counts(reports: &[RedisReport]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for report in reports {
        *counts.entry(report.run_id.as_str()).or_default() += 1;
    }
    counts
}

/// The process that most instances report. A tie chooses a process that the shard's row does not name, because the row
/// names the primary before the failover. `previous_run_id` comes last in a tie. So the choice does not alternate.
fn chosen<'a>(reports: &'a [RedisReport], row: &ShardRow) -> &'a str {
    let rank = |run_id: &str| (run_id != row.previous_run_id, run_id != row.run_id);
    let most = counts(reports).into_iter().max_by_key(|(run_id, count)| (*count, rank(run_id), Reverse(*run_id)));
    most.map_or("", |(run_id, _)| run_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Format};

    fn reports(run_ids: &[&str]) -> Vec<RedisReport> {
        let report = |run_id: &&str| RedisReport {
            label: "host/127.0.0.1:1".to_owned(),
            run_id: (*run_id).to_owned(),
            address: "127.0.0.1:2".to_owned(),
        };
        run_ids.iter().map(report).collect()
    }

    fn row(run_id: &str, previous_run_id: &str) -> ShardRow {
        ShardRow {
            epoch: Epoch(1),
            run_id: run_id.to_owned(),
            previous_run_id: previous_run_id.to_owned(),
            redis_address: String::new(),
            is_live: true,
            token: String::new(),
            next_epoch: Epoch(1),
            found_live: None,
            format: Format::NEWEST,
            wanted_format: Format::NEWEST,
        }
    }

    #[test]
    fn the_process_of_most_instances_is_chosen_and_in_a_tie_the_new_one_once() {
        let chosen = |seen: &[&str], row: ShardRow| chosen(&reports(seen), &row).to_owned();
        assert_eq!(chosen(&["a", "a", "b"], row("b", "")), "a");
        assert_eq!(chosen(&["a", "b", "b"], row("b", "")), "b");
        assert_eq!(chosen(&["a", "b"], row("a", "")), "b", "the row names the process before the failover");
        assert_eq!(chosen(&["a", "b"], row("b", "a")), "b", "the choice does not alternate");
        assert_eq!(chosen(&["a", "b", "c"], row("b", "a")), "c");
        assert_eq!(chosen(&["b", "a"], row("", "")), "a", "every instance chooses alike");
    }

    #[test]
    fn a_dispute_is_decided_after_a_while_and_ends_with_agreement() {
        let (dispute, row) = (Dispute::default(), row("a", ""));
        assert_eq!(dispute.choose(&reports(&["b", "b"]), &row, "b"), Choice::Ours);
        assert_eq!(dispute.choose(&reports(&["a", "b"]), &row, "b"), Choice::Open);
        let age = |dispute: &Dispute| {
            let mut disputed = dispute.0.lock().unwrap_or_else(PoisonError::into_inner);
            disputed.as_mut().expect("there is a dispute").since -= DISPUTED_FOR;
        };
        age(&dispute);
        assert_eq!(dispute.choose(&reports(&["a", "b"]), &row, "b"), Choice::Ours);
        assert_eq!(dispute.choose(&reports(&["a", "b"]), &row, "a"), Choice::Theirs);
        assert_eq!(dispute.choose(&reports(&["a", "b", "c"]), &row, "b"), Choice::Open, "the processes are others");
        assert_eq!(dispute.choose(&reports(&["b", "b"]), &row, "b"), Choice::Ours);
        assert_eq!(dispute.choose(&reports(&["a", "b"]), &row, "b"), Choice::Open, "the earlier dispute is over");
    }
}
