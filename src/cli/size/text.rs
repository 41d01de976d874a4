//! The sentences and figures that `couponrush size` prints.

use indicatif::HumanCount;

use super::plan::{
    BACKLOG_DEFAULT, Breaking, BreakingPart, FILLED, LOGIN_SECONDS, PlannedSale, SPARE_INSTANCES, SalePlan,
};

/// Width of the column of names.
const NAMES_WIDTH: usize = 26;

/// The whole output for a sale.
pub fn report(sale: &PlannedSale, plan: &SalePlan) -> String {
    let mut text = format!("{}:\n\n", described(sale));
    for (name, figure) in figures(plan) {
        text += &format!("{name:NAMES_WIDTH$}{figure}\n");
    }
    let Breaking { part, .. } = plan.breaks_first;
    text + "\n" + why(part) + "\n\n" + &assumptions() + "\n"
}

fn described(sale: &PlannedSale) -> String {
    let coupons = if sale.coupons > 1.0 { format!("{} coupons", exact(sale.coupons)) } else { "one coupon".to_owned() };
    let (claims, users, attempts) = (exact(sale.claims), exact(sale.users), exact(sale.attempts));
    format!("A sale of {claims} units of {coupons} to {users} users, with {attempts} attempts a second at the peak")
}

/// The figures by name, in the order of the table in `docs/SIZING.md`.
fn figures(plan: &SalePlan) -> Vec<(&'static str, String)> {
    let rest = if plan.refused > 0.0 { ", the others get 503" } else { "" };
    vec![
        ("instances", format!("{} + {} spare", exact(plan.instances), exact(SPARE_INSTANCES))),
        ("cores of an instance", exact(plan.instance_cores)),
        ("memory of an instance", bytes(plan.instance_bytes)),
        ("cores for logins", rounded(plan.login_cores)),
        ("shards, Redis primaries", exact(plan.shards)),
        ("busy core of a primary", percent(plan.redis_load)),
        ("memory of a primary", bytes(plan.redis_bytes)),
        ("decided attempts", format!("{} a second{rest}", rounded(plan.decided))),
        ("sold out after", seconds(plan.sold_out_after)),
        ("MySQL: rows", format!("{} a second", rounded(plan.stored))),
        ("MySQL: busy core", percent(plan.mysql_cores)),
        ("MySQL: all stored after", seconds(plan.stored_after)),
        ("MySQL: waiting claims", waiting(plan)),
        ("MySQL: disk", bytes(plan.mysql_bytes)),
        ("MySQL: connections", exact(plan.mysql_connections)),
        ("users' bandwidth", both_ways(plan.from_users, plan.to_users)),
        ("Redis' bandwidth", both_ways(plan.to_redis, plan.from_redis)),
        ("MySQL's bandwidth", bits(plan.with_mysql)),
        ("breaks first", breaking(plan.breaks_first)),
    ]
}

fn waiting(plan: &SalePlan) -> String {
    let claims = rounded(plan.waiting);
    let of_shard = plan.waiting / plan.shards;
    if of_shard > BACKLOG_DEFAULT { format!("{claims}, above COUPONRUSH_BACKLOG_MAX") } else { claims }
}

fn breaking(Breaking { part, at }: Breaking) -> String {
    let (part, of) = match part {
        BreakingPart::Instances => ("instances", "attempts a second"),
        BreakingPart::Primaries => ("Redis primaries", "attempts a second"),
        BreakingPart::Coupons => ("Redis of a coupon", "attempts a second"),
        BreakingPart::Shards => ("64 shards", "attempts a second"),
        BreakingPart::Logins => ("logins", "users"),
        BreakingPart::Backlog => ("waiting claims", "attempts a second"),
    };
    format!("{part}, at {} {of}", rounded(at))
}

/// Why this part breaks, how the break shows, and what helps.
const fn why(part: BreakingPart) -> &'static str {
    match part {
        BreakingPart::Instances => {
            "The cores of the instances are full first, because signatures and HTTP cost more than Redis and MySQL.\n\
             Answers then take longer. More instances help."
        }
        BreakingPart::Primaries => {
            "Redis runs the claim script on one core, so the core of a primary is full first. Attempts then get 503\n\
             `overloaded`, and nothing has happened. More shards on more primaries help, if more coupons are sold."
        }
        BreakingPart::Coupons => {
            "A coupon is never split over shards, and Redis runs the claim script on one core. So the core of the\n\
             coupon's primary is full first. Attempts then get 503 `overloaded`, and nothing has happened. More\n\
             instances or shards do not help. A faster core does, or the same units as several coupons."
        }
        BreakingPart::Shards => {
            "There are at most 64 shards, and Redis runs the claim script on one core. So the cores of the 64 primaries\n\
             are full first. Attempts then get 503 `overloaded`, and nothing has happened. Faster cores help."
        }
        BreakingPart::Logins => {
            "A login costs a password hash, which takes as long as hundreds of attempts. Logins then wait in a queue, and\n\
             the last get 503. Let customers log in earlier, because a token lasts a day, or add instances."
        }
        BreakingPart::Backlog => {
            "MySQL stores claims more slowly than Redis grants them, and the others wait in Redis. When as many wait as\n\
             COUPONRUSH_BACKLOG_MAX allows, attempts get 503 `overloaded`. More shards or a faster MySQL help."
        }
    }
}

fn assumptions() -> String {
    format!(
        "Assumed: {} % of every core, and of memory and disk, stays free. A call of Redis carries one attempt, the worst\n\
         case. Coupons are asked for equally often. Users log in within {} minutes before the sale. Each keeps a\n\
         connection open. One core of MySQL stores claims. Bandwidth is the content of HTTP, Redis and MySQL alone.\n\
         The costs were measured on a slow machine. --costs takes the costs of yours. See docs/SIZING.md.",
        (1.0 - FILLED) * 100.0,
        LOGIN_SECONDS / 60.0
    )
}

fn exact(number: f64) -> String {
    HumanCount(number.round() as u64).to_string()
}

/// Two significant digits.
fn rounded(number: f64) -> String {
    if number <= 0.0 {
        return "0".to_owned();
    }
    // Rounding may add a digit, as in 996 and 1,000.
    let rough = (number / last_digit(number)).round() * last_digit(number);
    let last = last_digit(rough);
    if last >= 1.0 { exact(rough) } else { format!("{rough:.*}", (-last.log10()).round() as usize) }
}

/// The unit of the second significant digit.
fn last_digit(number: f64) -> f64 {
    10_f64.powf(number.log10().floor() - 1.0)
}

fn percent(share: f64) -> String {
    format!("{} %", rounded(share * 100.0))
}

fn seconds(seconds: f64) -> String {
    format!("{} s", rounded(seconds))
}

fn bytes(bytes: f64) -> String {
    with_unit(bytes, [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")])
}

fn bits(bytes: f64) -> String {
    with_unit(bytes * 8.0, [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")])
}

fn both_ways(there: f64, back: f64) -> String {
    format!("{} in, {} out", bits(there), bits(back))
}

fn with_unit(number: f64, units: [(f64, &str); 3]) -> String {
    let (size, unit) = units.into_iter().find(|(size, _)| number >= *size).unwrap_or(units[2]);
    format!("{} {unit}", rounded(number / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_two_digits_and_a_unit() {
        let shown = [0.0, 0.0217, 0.217, 2.17, 21.7, 217.0, 21_717.0].map(rounded);
        assert_eq!(shown, ["0", "0.022", "0.22", "2.2", "22", "220", "22,000"]);
        assert_eq!([996.0, 0.0996].map(rounded), ["1,000", "0.10"]);
        assert_eq!([12.3e6, 1.5e9, 2e12, 4e5].map(bytes), ["12 MB", "1.5 GB", "2.0 TB", "0.40 MB"]);
        assert_eq!([125.0, 125e3, 125e6].map(bits), ["1.0 kbit/s", "1.0 Mbit/s", "1.0 Gbit/s"]);
    }
}
