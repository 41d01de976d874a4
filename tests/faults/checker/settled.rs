//! Checks the contents of the stores, during the run and at the end: I1, I4, I5, I8, I9, I10, I11.

use std::collections::{BTreeMap, BTreeSet};

use super::excused::{Excused, LATE, UNPROMISED, parse};
use super::run::{Moment, Run};
use super::{Findings, RESUME_MS};
use crate::history::{Coupon, Event, EventKind, Sample};
use crate::stores::{Row, Settled};

/// After a fault of this name, Redis may apply data again that a truncated file had lost (docs/RELIABILITY.md).
const TRUNCATED: &str = "Truncated";

/// Checks the final contents of both stores.
pub fn check(run: &Run, settled: &Settled, found: &mut Findings) {
    let counts = &settled.mysql.counts;
    for coupon in run.amounts.keys() {
        let rows: Vec<&Row> = settled.mysql.rows.iter().filter(|row| row.coupon == *coupon).collect();
        let Some(row) = counts.coupons.get(coupon) else {
            found.note("I2", format!("coupon {coupon} is not in MySQL"));
            continue;
        };
        let seqs: BTreeSet<u32> = rows.iter().map(|row| row.claim.seq).collect();
        let count = u32::try_from(rows.len()).expect("few claims");
        found.require("I1", count <= row.amount, || format!("coupon {coupon}: {count} claims of {} units", row.amount));
        found.require("I5", seqs.len() == rows.len(), || format!("coupon {coupon}: a seq occurs twice"));
        let dense = count < row.amount || seqs.iter().copied().eq(1..=row.amount);
        found.require("I5", dense, || format!("coupon {coupon} is sold out, and its seqs are not 1 to {}", row.amount));
        let bound = seqs.first().is_none_or(|first| *first >= 1) && seqs.last().is_none_or(|last| *last <= row.amount);
        found.require("I5", bound, || format!("coupon {coupon}: a seq is outside 1 to {}", row.amount));
        let left = i64::from(row.amount) - i64::from(count);
        found.require("I8", row.left == left, || {
            format!("coupon {coupon}: {left} are left, left_count is {}", row.left)
        });
        check_held(run, *coupon, &rows, found);
        check_sold(run, *coupon, (count, row.amount), found);
    }
    check_redis(settled, found);
}

/// Checks claims granted but not stored: the unit or the place belongs to another claim, or the shard was rebuilt
/// meanwhile. Perhaps no user was told, because the reply came too late or the connection was gone. But every poisoned
/// claim raises an alarm and counts as a violation.
pub fn check_poisoned(excused: &Excused, settled: &Settled, found: &mut Findings) {
    let history = &excused.history;
    let has_fault = |part: &str| {
        let is_named =
            |event: &Event| matches!(&event.kind, EventKind::FaultBegins { name, .. } if name.contains(part));
        history.iter().any(is_named)
    };
    if has_fault(TRUNCATED) {
        return;
    }
    for line in &settled.mysql.poisoned {
        let late = line.contains(LATE);
        let is_of_cut_off = parse(line).is_some_and(|(coupon, user, ..)| excused.may_be_late.contains(&(coupon, user)));
        if !late || !has_fault(UNPROMISED) && !is_of_cut_off {
            found.note(if late { "I2" } else { "I1" }, format!("granted and not stored: {line}"));
        }
    }
}

fn check_held(run: &Run, coupon: Coupon, rows: &[&Row], found: &mut Findings) {
    let limit = run.limit(coupon);
    let mut held: BTreeMap<_, BTreeSet<u8>> = BTreeMap::new();
    for row in rows {
        let is_new = held.entry(row.user).or_default().insert(row.claim.nth);
        found.require("I4", is_new, || format!("{row:?}: the user has two claims with this nth"));
    }
    for (user, nths) in held {
        // An earlier claim may be missing: an unknown outcome, lost with Redis before MySQL stored it.
        let numbered = nths.first().is_some_and(|first| *first >= 1) && nths.last().is_some_and(|last| *last <= limit);
        found.require("I4", numbered, || {
            format!("user {user} holds the nths {nths:?} of coupon {coupon}; the limit is {limit}")
        });
    }
}

/// After all faults are healed and more units are asked for than exist, all units are sold.
fn check_sold(run: &Run, coupon: Coupon, (count, amount): (u32, u32), found: &mut Findings) {
    if run.healed.is_none() {
        return;
    }
    let least = |total: u32| if total == 0 { amount } else { total.min(amount) };
    let totals = run.sales[&coupon].possible_at_end().map(|sale| least(sale.map_or(0, |sale| sale.total)));
    let expected = totals.min().unwrap_or(amount);
    found.require("I9", count >= expected, || {
        format!("coupon {coupon}: {count} of {expected} units are sold at the end")
    });
}

/// Redis and MySQL agree.
fn check_redis(settled: &Settled, found: &mut Findings) {
    let (redis, mysql) = (&settled.redis, &settled.mysql);
    found.require("I8", redis.counts.outbox == 0, || format!("{} entries are left in the outbox", redis.counts.outbox));
    let (held, stored): (BTreeSet<Row>, BTreeSet<Row>) =
        (redis.rows.iter().copied().collect(), mysql.rows.iter().copied().collect());
    for row in held.difference(&stored) {
        found.note("I8", format!("{row:?} is in Redis and not in MySQL"));
    }
    for row in stored.difference(&held) {
        found.note("I8", format!("{row:?} is in MySQL and not in Redis"));
    }
    for (coupon, in_mysql) in &mysql.counts.coupons {
        let count = stored.iter().filter(|row| row.coupon == *coupon).count() as u64;
        let Some(in_redis) = redis.counts.coupons.get(coupon) else {
            found.note("I8", format!("coupon {coupon} is not in Redis"));
            continue;
        };
        let gone = u64::from(in_redis.claimed).checked_sub(in_redis.holes.into());
        let agrees = gone == Some(count) && in_redis.amount == in_mysql.amount;
        found.require("I8", agrees, || format!("coupon {coupon}: {in_redis:?}, {in_mysql:?}, {count} rows"));
        let of_activity = stored.iter().filter(|row| row.coupon == *coupon && row.claim.activity != 0).count();
        let sold = redis.sold.get(coupon).copied().unwrap_or(0) as usize;
        found.require("I8", sold == of_activity, || {
            format!("coupon {coupon}: its activity has {of_activity} rows and a sold count of {sold}")
        });
    }
}

/// Checks the invariants that must hold at every observation.
pub fn check_samples(run: &Run, history: &[Event], found: &mut Findings) {
    for event in history {
        if let EventKind::Sample(sample) = &event.kind {
            check_sample(run, event.at_us / 1_000, sample, found);
        }
    }
}

fn check_sample(run: &Run, at_ms: u64, sample: &Sample, found: &mut Findings) {
    let max = sample.backlogs.iter().map(|backlog| backlog.max).max();
    for backlog in &sample.backlogs {
        found.require("I11", backlog.waiting <= backlog.max, || format!("at {at_ms} ms: {backlog:?}"));
    }
    if let Some(redis) = &sample.redis {
        let bounded = max.is_none_or(|max| redis.outbox <= max);
        found.require("I11", bounded, || format!("at {at_ms} ms: {} entries in the outbox of {max:?}", redis.outbox));
        for (coupon, counts) in &redis.coupons {
            found.require("I1", counts.claimed <= counts.amount, || {
                format!("at {at_ms} ms, coupon {coupon} in Redis: {counts:?}")
            });
        }
    }
    for (coupon, counts) in sample.mysql.iter().flat_map(|mysql| &mysql.coupons) {
        let details = || format!("at {at_ms} ms, coupon {coupon} in MySQL: {counts:?}");
        found.require("I1", counts.rows <= counts.amount, details);
        found.require("I5", counts.highest <= counts.amount, details);
        found.require("I4", counts.most_held <= u32::from(run.limit(*coupon)), details);
        found.require("I8", counts.left + i64::from(counts.rows) == i64::from(counts.amount), details);
    }
}

/// After a fault, every instance with customers must grant or confirm a claim again. Returns the times by the faults'
/// names.
pub fn check_resumption(run: &Run, found: &mut Findings) -> BTreeMap<String, (u64, u64)> {
    let mut resumed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (place, fault) in run.faults.iter().enumerate() {
        let Some(ended) = fault.ended else { continue };
        let until_us = run.faults.get(place + 1).map_or(run.ended_us, |next| next.began.at_us);
        let mut longest = 0;
        for instance in run.attempts.iter().map(|attempt| attempt.instance).collect::<BTreeSet<_>>() {
            let took = first_claim_after(run, instance, ended).unwrap_or(u64::MAX);
            let known = took.min(until_us.saturating_sub(ended.at_us) / 1_000);
            found.require("I10", known <= RESUME_MS, || {
                format!("instance {instance} granted or confirmed no claim within {RESUME_MS} ms after {}", fault.name)
            });
            longest = longest.max(known);
        }
        let (count, before) = resumed.entry(fault.name.clone()).or_default();
        (*count, *before) = (*count + 1, longest.max(*before));
    }
    resumed
}

/// The time in ms from `after` until the instance granted or confirmed a claim requested after it.
fn first_claim_after(run: &Run, instance: usize, after: Moment) -> Option<u64> {
    let asked =
        run.attempts.iter().filter(|attempt| attempt.instance == instance && attempt.began.at_us >= after.at_us);
    let ended = asked.filter(|attempt| attempt.answer.is_claim()).map(|attempt| attempt.ended.at_us).min()?;
    Some((ended - after.at_us) / 1_000)
}
