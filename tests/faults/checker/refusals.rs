//! Checks that every refusal was true when it was given (I7). Also checks claims against their windows, totals and
//! quotas (I1, I4, I7).

use std::collections::BTreeMap;

use super::answers::{is_unknown, may_have_made};
use super::run::{Answer, Attempt, Run};
use super::{Findings, SLACK_MS};
use crate::history::{Coupon, Sale};
use crate::stores::{InMysql, Row};

/// Known times of a coupon's units.
#[derive(Default)]
struct Units {
    /// When units were claimed, sorted.
    claimed_ms: Vec<u64>,
    /// The begins of attempts with an unknown outcome and no row. Each may have taken a unit and lost it with Redis.
    possibly_lost_ms: Vec<u64>,
}

impl Units {
    /// The highest possible number of units gone by `ms`.
    fn max_gone_at(&self, ms: u64) -> usize {
        let ms = ms + SLACK_MS;
        self.claimed_ms.partition_point(|at| *at <= ms) + self.possibly_lost_ms.partition_point(|at| *at <= ms)
    }
}

pub fn check(run: &Run, mysql: &InMysql, found: &mut Findings) {
    let units = units(run, mysql);
    for attempt in &run.attempts {
        if let Answer::Refused(reason) = &attempt.answer {
            let truthful = is_true(run, attempt, reason, units.get(&attempt.coupon));
            found.require("I7", truthful, || {
                format!("attempt {} of coupon {}: the refusal {reason} was not true", attempt.number, attempt.coupon)
            });
        }
    }
    for coupon in run.amounts.keys() {
        let rows = mysql.rows.iter().filter(|row| row.coupon == *coupon);
        let mut rows: Vec<(Vec<u64>, &Row)> = rows.map(|row| (run.granted_ms(row), row)).collect();
        rows.sort_unstable_by_key(|(moments, _)| moments.last().copied());
        check_terms(run, *coupon, &rows, found);
    }
}

fn units(run: &Run, mysql: &InMysql) -> BTreeMap<Coupon, Units> {
    let mut units: BTreeMap<Coupon, Units> = BTreeMap::new();
    let mut of_user: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for row in &mysql.rows {
        let moments = run.granted_ms(row);
        units.entry(row.coupon).or_default().claimed_ms.push(moments[0]);
        of_user.entry((row.user, row.coupon)).or_default().extend(moments);
    }
    for attempt in run.attempts.iter().filter(|attempt| is_unknown(attempt)) {
        let rows = of_user.get(&(attempt.user, attempt.coupon)).map_or(&[][..], Vec::as_slice);
        if !may_have_made(attempt, rows) {
            units.entry(attempt.coupon).or_default().possibly_lost_ms.push(attempt.began.wall_ms);
        }
    }
    for units in units.values_mut() {
        units.claimed_ms.sort_unstable();
        units.possibly_lost_ms.sort_unstable();
    }
    units
}

fn is_true(run: &Run, attempt: &Attempt, reason: &str, units: Option<&Units>) -> bool {
    let (from, to) = (attempt.began.wall_ms, attempt.ended.wall_ms);
    let (Some(amounts), Some(sales)) = (run.amounts.get(&attempt.coupon), run.sales.get(&attempt.coupon)) else {
        return reason == "no-such-coupon";
    };
    let mut sales = sales.possible_between(from, to);
    match reason {
        "sold-out" => {
            let gone = units.map_or(0, |units| units.max_gone_at(to));
            let reached = |limit: u32| gone >= limit as usize;
            amounts.possible_between(from, to).any(reached)
                || sales.flatten().any(|sale| sale.total > 0 && reached(sale.total))
        }
        // Windows follow the clock of Redis.
        "not-started" => {
            let shown = from.saturating_add_signed(run.clock.known_between(from, to).min().unwrap_or(0));
            sales.flatten().any(|sale| shown < sale.start * 1_000 + SLACK_MS)
        }
        "ended" => {
            let shown = to.saturating_add_signed(run.clock.known_between(from, to).max().unwrap_or(0));
            run.archived[&attempt.coupon].possible_between(from, to).any(|archived| archived)
                || sales.flatten().any(|sale| shown + SLACK_MS >= sale.end * 1_000)
        }
        // The suite has quotas and no draws.
        "try-again" => sales.flatten().any(|sale| sale.speed > 0),
        // True only while the coupon's first activity is being published. The suite never disables an activity.
        "not-on-sale" => {
            sales.any(|sale| sale.is_none()) && run.sales[&attempt.coupon].all_values().any(|sale| sale.is_some())
        }
        _ => false,
    }
}

/// Checks claims against the terms that may have been in force at the time of the claim. `rows` are with the moments at
/// which they may have been granted, sorted by the last moment.
fn check_terms(run: &Run, coupon: Coupon, rows: &[(Vec<u64>, &Row)], found: &mut Findings) {
    let (amounts, sales) = (&run.amounts[&coupon], &run.sales[&coupon]);
    let (mut in_second, mut of_activity) = (BTreeMap::new(), 0);
    for (place, (moments, row)) in rows.iter().enumerate() {
        // A row counts as earlier only if it certainly is.
        let before = place.min(rows.partition_point(|(other, _)| other.last() <= moments.first()));
        let amount = moments.iter().flat_map(|at| amounts.possible_between(*at, *at)).max().unwrap_or(0);
        found.require("I1", before < amount as usize, || {
            format!("{row:?} is claim {} of coupon {coupon}, which had {amount} units at that time", before + 1)
        });
        let mut archived = moments.iter().flat_map(|at| run.archived[&coupon].possible_between(*at, *at));
        found.require("I7", archived.any(|archived| !archived), || {
            format!("{row:?} was claimed while its coupon was archived")
        });
        let mut possible = moments.iter().flat_map(|at| sales.possible_between(*at, *at));
        if row.claim.activity == 0 {
            let plain = possible.any(|sale| sale.is_none());
            found.require("I7", plain, || format!("{row:?} was claimed outside the sale of its coupon"));
            continue;
        }
        let possible: Vec<Sale> = possible.flatten().collect();
        // Windows and quotas follow the clock of Redis. If it shows a second again, the second has its quota again.
        let at = row.claim.claimed_at_ms;
        let second = match moments[..] {
            [moment] => in_second.entry((at / 1_000, at.wrapping_sub(moment))).or_insert(0),
            _ => &mut 0,
        };
        (*second, of_activity) = (*second + 1, of_activity + 1);
        let within = |sale: &Sale| sale.start * 1_000 <= at && at < sale.end * 1_000;
        found.require("I7", possible.iter().any(within), || {
            format!("{row:?} was claimed outside the window: {possible:?}")
        });
        let total = possible.iter().all(|sale| sale.total > 0 && of_activity > sale.total);
        found.require("I1", !total, || format!("{row:?} is claim {of_activity} of its activity: {possible:?}"));
        let quota = possible.iter().all(|sale| sale.speed > 0 && *second > sale.speed);
        found.require("I4", !quota, || format!("{row:?} is claim {second} of its second: {possible:?}"));
        let limit = possible.iter().all(|sale| row.claim.nth > sale.buy_limit);
        found.require("I4", !limit, || format!("{row:?} is above the user's limit: {possible:?}"));
    }
}
