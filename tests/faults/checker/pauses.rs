//! The time without sales around each fault, shard by shard.

use std::collections::{BTreeMap, BTreeSet};

use super::run::{Attempt, Run};
use super::{Findings, RESUME_MS};

/// For each shard: the longest time in ms without a granted or confirmed claim, from the begin of a fault on.
pub type Pauses = BTreeMap<usize, u64>;

/// Returns the longest pause of each shard by the faults' names. A shard must sell again after each fault (I10).
pub fn check(run: &Run, found: &mut Findings) -> BTreeMap<String, Pauses> {
    let mut pauses: BTreeMap<String, Pauses> = BTreeMap::new();
    let claimed: Vec<&Attempt> = run.attempts.iter().filter(|attempt| attempt.answer.is_claim()).collect();
    // Customers stop shortly before all faults are healed.
    let healed_us = run.healed.map_or(run.ended_us, |healed| healed.at_us);
    let last_us = claimed.iter().map(|attempt| attempt.ended.at_us).filter(|at| *at < healed_us).max().unwrap_or(0);
    for (place, fault) in run.faults.iter().enumerate() {
        let (began, ended) = (fault.began.at_us, fault.ended.map_or(u64::MAX, |ended| ended.at_us));
        let until = run.faults.get(place + 1).map_or(last_us, |next| next.began.at_us);
        for shard in run.shards.values().copied().collect::<BTreeSet<_>>() {
            let of_shard = claimed.iter().filter(|attempt| run.shards.get(&attempt.coupon) == Some(&shard));
            let mut times: Vec<u64> =
                of_shard.map(|attempt| attempt.ended.at_us).filter(|at| (began..until).contains(at)).collect();
            times.push(until);
            times.sort_unstable();
            let (mut before, mut longest) = (began, 0);
            for at in times {
                longest = longest.max(at.saturating_sub(before));
                let after_the_end = at.saturating_sub(before.max(ended)) / 1_000;
                found.require("I10", after_the_end <= RESUME_MS, || {
                    format!("shard {shard} sold nothing for {after_the_end} ms after {}", fault.name)
                });
                before = at;
            }
            let known = pauses.entry(fault.name.clone()).or_default().entry(shard).or_default();
            *known = (*known).max(longest / 1_000);
        }
    }
    pauses
}
