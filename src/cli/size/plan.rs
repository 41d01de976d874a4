//! How many servers a sale needs. Pure arithmetic on measured costs.

use super::costs::SizingCosts;
use crate::domain::{ShardId, Terms};

/// The share of every core and of all memory that a plan fills. The rest is for bursts, an uneven load and the rewrite of
/// Redis' append-only file, which copies the memory that changes meanwhile.
pub const FILLED: f64 = 0.5;
/// Attempts in a call of Redis: the fewest possible. Calls only carry more while a worker is busy, and a plan leaves half
/// of every core free.
const ATTEMPTS_A_CALL: f64 = 1.0;
/// Claims in a transaction of the ledger, of up to 4,000.
const CLAIMS_A_TRANSACTION: f64 = 100.0;
/// Cores that MySQL needs for claims. The transactions of one coupon wait for each other, because each changes its row.
const MYSQL_CORES: f64 = 1.0;
/// Time in which all customers log in before the sale, in seconds. A token lasts a day.
pub const LOGIN_SECONDS: f64 = 3_600.0;
/// Instances that may fail at the same time.
pub const SPARE_INSTANCES: f64 = 1.0;
/// Cores of an instance, from small to large sales. A plan takes the first with which few instances are enough.
const INSTANCE_CORES: [f64; 4] = [2.0, 4.0, 8.0, 16.0];
const FEW_INSTANCES: f64 = 4.0;
/// Connections of users per worker, and claims that may wait for MySQL in a shard: `CONNECTIONS_MAX`, and the default
/// and the maximum of `COUPONRUSH_BACKLOG_MAX` (`src/config`).
const CONNECTIONS_A_CORE: f64 = 100_000.0;
pub const BACKLOG_DEFAULT: f64 = 1_000_000.0;
pub const BACKLOG_MAX: f64 = 10_000_000.0;
/// Holders that an instance knows of each shard, to refuse attempts without Redis: `KNOWN_HOLDERS_MAX`
/// (`src/claim/refusals.rs`). The table and its successor take 8 bytes each.
const HOLDERS_MAX: f64 = 4_000_000.0;
const HOLDER_BYTES: f64 = 2.0 * 8.0;
/// Keys in the table of rates (`RATE_KEYS_MAX`), and memory of a key and of a waiting claim, as `src/config` documents.
const RATE_KEYS_MAX: f64 = 900_000.0;
const RATE_KEY_BYTES: f64 = 50.0;
const WAITING_CLAIM_BYTES: f64 = 50.0;
/// Connections to MySQL of an instance: both pools (`src/config/bounds.rs`), and the ledger and a reading of each shard.
const MYSQL_POOLS: f64 = 20.0;
const MYSQL_CONNECTIONS_A_SHARD: f64 = 2.0;

/// The largest sale that can be sized.
pub const ATTEMPTS_MAX: u64 = 1_000_000;
pub const CLAIMS_MAX: u64 = 1_000_000_000;
pub const USERS_MAX: u64 = 1_000_000_000;
pub const COUPONS_MAX: u64 = 100_000;
const CLAIMS_A_USER: u64 = Terms::BUY_LIMIT_MAX as u64;

/// A sale to be sized. Created by [`PlannedSale::new`], which checks the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannedSale {
    /// Attempts a second at the peak.
    pub attempts: f64,
    pub claims: f64,
    pub users: f64,
    /// Coupons that are sold at the same time and asked for equally often.
    pub coupons: f64,
}

/// Numbers that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("{name}: {value} is not between 1 and {max}")]
    Range { name: &'static str, value: u64, max: u64 },
    #[error("{coupons} coupons with {claims} claims: a coupon has at least one")]
    EmptyCoupons { coupons: u64, claims: u64 },
    #[error("{users} users cannot make {claims} claims, because a user gets a coupon at most {CLAIMS_A_USER} times")]
    TooFewUsers { users: u64, claims: u64 },
}

impl PlannedSale {
    /// # Errors
    /// Returns a [`SizeError`], which says what is wrong in one sentence.
    pub fn new(attempts: u64, claims: u64, users: u64, coupons: u64) -> Result<Self, SizeError> {
        let numbers = [
            ("attempts-per-second", attempts, ATTEMPTS_MAX),
            ("claims", claims, CLAIMS_MAX),
            ("users", users, USERS_MAX),
            ("coupons", coupons, COUPONS_MAX),
        ];
        for (name, value, max) in numbers {
            if !(1..=max).contains(&value) {
                return Err(SizeError::Range { name, value, max });
            }
        }
        if coupons > claims {
            return Err(SizeError::EmptyCoupons { coupons, claims });
        }
        if claims > users * coupons * CLAIMS_A_USER {
            return Err(SizeError::TooFewUsers { users, claims });
        }
        let [attempts, claims, users, coupons] = [attempts, claims, users, coupons].map(|number| number as f64);
        Ok(Self { attempts, claims, users, coupons })
    }
}

/// What a sale needs. Rates are per second, times in seconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct SalePlan {
    /// Instances without the spare one, and the cores of each.
    pub instances: f64,
    pub instance_cores: f64,
    pub instance_bytes: f64,
    /// Shards. Each has a Redis primary of its own.
    pub shards: f64,
    /// The share of its core that each primary uses at the peak.
    pub redis_load: f64,
    pub redis_bytes: f64,
    /// Attempts that Redis decides at the peak, and attempts for which Redis has no time.
    pub decided: f64,
    pub refused: f64,
    pub sold_out_after: f64,
    /// Claims stored, the cores for them, and the time from the start until MySQL has all claims.
    pub stored: f64,
    pub mysql_cores: f64,
    pub stored_after: f64,
    /// The most claims that wait for MySQL at the same time.
    pub waiting: f64,
    pub mysql_bytes: f64,
    pub mysql_connections: f64,
    /// Bytes a second: from users, to users, to Redis, from Redis, between the instances and MySQL.
    pub from_users: f64,
    pub to_users: f64,
    pub to_redis: f64,
    pub from_redis: f64,
    pub with_mysql: f64,
    /// Cores for logins, while all customers log in.
    pub login_cores: f64,
    pub breaks_first: Breaking,
}

/// The part of an installation that reaches its limit first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breaking {
    pub part: BreakingPart,
    /// Attempts a second at which the part is full. For [`BreakingPart::Logins`], users.
    pub at: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakingPart {
    Instances,
    /// The Redis primaries. More shards help.
    Primaries,
    /// The Redis primaries. Each has one coupon, so more shards do not help.
    Coupons,
    /// The Redis primaries. There are as many as shards are possible.
    Shards,
    Logins,
    /// The bound of claims that wait for MySQL.
    Backlog,
}

impl SalePlan {
    pub fn of(sale: &PlannedSale, costs: &SizingCosts) -> Self {
        let redis_us = costs.redis_attempt_us + costs.redis_call_us / ATTEMPTS_A_CALL;
        let service_us = costs.service_attempt_us + costs.service_call_us / ATTEMPTS_A_CALL;
        let wanted = (sale.attempts * redis_us / 1e6 / FILLED).ceil();
        let shards = wanted.min(sale.coupons).min(ShardId::MAX as f64);
        let decided = sale.attempts.min(shards * 1e6 / redis_us);

        let selling_cores = (decided * service_us + (sale.attempts - decided) * costs.service_refusal_us) / 1e6;
        let busy_cores = selling_cores.max(sale.attempts * costs.service_refusal_us / 1e6);
        let login_cores = sale.users * costs.login_us / 1e6 / LOGIN_SECONDS;
        let (instances, instance_cores) = instances(sale, busy_cores.max(login_cores));

        let mysql_us = costs.mysql_row_us + costs.mysql_transaction_us / CLAIMS_A_TRANSACTION;
        let stored = decided.min(MYSQL_CORES * FILLED * 1e6 / mysql_us);
        let waiting = sale.claims * (1.0 - stored / decided);
        let cores = instances * instance_cores;
        let loads = [
            (limit_of_primaries(sale, shards, wanted), sale.attempts * redis_us / 1e6 / shards),
            (BreakingPart::Instances, busy_cores / cores),
            (BreakingPart::Logins, login_cores / cores),
            (BreakingPart::Backlog, sale.attempts / backlog_rate(sale, stored, shards)),
        ];
        let redis_claims = sale.claims * costs.redis_claim_bytes + waiting * costs.redis_waiting_bytes;
        Self {
            instances,
            instance_cores,
            instance_bytes: instance_bytes(sale, costs, instances, shards, waiting),
            shards,
            redis_load: decided * redis_us / 1e6 / shards,
            redis_bytes: (costs.redis_bytes + redis_claims / shards) / FILLED,
            decided,
            refused: sale.attempts - decided,
            sold_out_after: sale.claims / decided,
            stored,
            mysql_cores: stored * mysql_us / 1e6,
            stored_after: sale.claims / stored,
            waiting,
            mysql_bytes: (sale.claims * costs.mysql_claim_bytes + sale.users * costs.mysql_user_bytes) / FILLED,
            mysql_connections: (instances + SPARE_INSTANCES) * (MYSQL_POOLS + MYSQL_CONNECTIONS_A_SHARD * shards),
            from_users: sale.attempts * costs.request_bytes,
            to_users: sale.attempts * costs.answer_bytes,
            to_redis: decided * costs.redis_request_bytes,
            from_redis: decided * costs.redis_answer_bytes,
            with_mysql: stored * costs.mysql_network_bytes,
            login_cores,
            breaks_first: first_of(sale, &loads),
        }
    }
}

/// Why there are no more primaries than `shards`, of `wanted`.
fn limit_of_primaries(sale: &PlannedSale, shards: f64, wanted: f64) -> BreakingPart {
    match (shards < wanted, shards < sale.coupons) {
        (false, _) if shards < sale.coupons => BreakingPart::Primaries,
        (_, true) => BreakingPart::Shards,
        (_, false) => BreakingPart::Coupons,
    }
}

/// The attempts a second at which so many claims wait for MySQL, which stores `stored` a second, that no more may wait.
fn backlog_rate(sale: &PlannedSale, stored: f64, shards: f64) -> f64 {
    let stored_meanwhile = sale.claims - shards * BACKLOG_MAX;
    if stored_meanwhile > 0.0 { stored * sale.claims / stored_meanwhile } else { f64::INFINITY }
}

/// The part with the highest load. A load of 1 is a full part.
fn first_of(sale: &PlannedSale, loads: &[(BreakingPart, f64)]) -> Breaking {
    let mut first = loads[0];
    for load in loads {
        if load.1 > first.1 {
            first = *load;
        }
    }
    let (part, load) = first;
    let of = if part == BreakingPart::Logins { sale.users } else { sale.attempts };
    Breaking { part, at: of / load }
}

/// Instances without the spare one, and the cores of each, for `busy` cores that are filled to [`FILLED`].
fn instances(sale: &PlannedSale, busy: f64) -> (f64, f64) {
    let number = |cores: f64| {
        let for_work = busy / FILLED / cores;
        let for_connections = sale.users / (cores * CONNECTIONS_A_CORE);
        for_work.max(for_connections).ceil().max(1.0)
    };
    let last = INSTANCE_CORES[INSTANCE_CORES.len() - 1];
    let cores = INSTANCE_CORES.into_iter().find(|cores| number(*cores) <= FEW_INSTANCES).unwrap_or(last);
    (number(cores), cores)
}

fn instance_bytes(sale: &PlannedSale, costs: &SizingCosts, instances: f64, shards: f64, waiting: f64) -> f64 {
    let users = sale.users / instances;
    let holders = (sale.claims / shards).min(HOLDERS_MAX) * shards;
    let bytes = costs.instance_bytes
        + (shards - 1.0) * costs.instance_shard_bytes
        + users * costs.connection_bytes
        + users.min(RATE_KEYS_MAX) * RATE_KEY_BYTES
        + waiting / instances * WAITING_CLAIM_BYTES
        + holders * HOLDER_BYTES;
    bytes / FILLED
}

#[cfg(test)]
mod tests;
