//! What an attempt, a claim, a user and a connection cost, as measured.

use serde::Deserialize;

/// Measured costs. Times are CPU time in microseconds. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizingCosts {
    /// Service: an attempt that Redis decides, without its call of Redis.
    pub service_attempt_us: f64,
    /// Service: a call of the claim script, whatever number of attempts it carries.
    pub service_call_us: f64,
    /// Service: an attempt that is refused from memory.
    pub service_refusal_us: f64,
    /// Service: a login, nearly all of it for the password hash.
    pub login_us: f64,
    /// Redis: an attempt.
    pub redis_attempt_us: f64,
    /// Redis: a call of the claim script.
    pub redis_call_us: f64,
    /// MySQL: a stored claim.
    pub mysql_row_us: f64,
    /// MySQL: a transaction of the ledger, without its rows.
    pub mysql_transaction_us: f64,
    /// Memory of an idle instance with one shard.
    pub instance_bytes: f64,
    /// Memory of an instance for each further shard.
    pub instance_shard_bytes: f64,
    /// Memory of an instance for an idle connection of a user.
    pub connection_bytes: f64,
    /// Memory of a Redis with one coupon and no claim.
    pub redis_bytes: f64,
    /// Memory of Redis for a claim that MySQL has.
    pub redis_claim_bytes: f64,
    /// Memory of Redis for a claim that waits for MySQL, on top of `redis_claim_bytes`.
    pub redis_waiting_bytes: f64,
    /// Disk of MySQL for a claim.
    pub mysql_claim_bytes: f64,
    /// Disk of MySQL for a user.
    pub mysql_user_bytes: f64,
    /// An attempt over HTTP, and the answer to a granted attempt.
    pub request_bytes: f64,
    pub answer_bytes: f64,
    /// An attempt on its way to Redis, and the answer of Redis, in a call of one attempt.
    pub redis_request_bytes: f64,
    pub redis_answer_bytes: f64,
    /// A stored claim between the instance and MySQL, both directions together.
    pub mysql_network_bytes: f64,
}

/// The object `constants` of `docs/benchmarks/cost.json`, which `scripts/cost` has measured. `docs/benchmarks/cost.md`
/// describes the machine and the method. A test compares both.
pub const MEASURED: SizingCosts = SizingCosts {
    service_attempt_us: 14.4,
    service_call_us: 29.9,
    service_refusal_us: 9.7,
    login_us: 14_314.3,
    redis_attempt_us: 6.0,
    redis_call_us: 30.9,
    mysql_row_us: 5.6,
    mysql_transaction_us: 436.8,
    instance_bytes: 43_720_704.0,
    instance_shard_bytes: 35_226.0,
    connection_bytes: 10_038.0,
    redis_bytes: 1_762_344.0,
    redis_claim_bytes: 152.0,
    redis_waiting_bytes: 30.0,
    mysql_claim_bytes: 129.0,
    mysql_user_bytes: 182.0,
    request_bytes: 439.0,
    answer_bytes: 650.0,
    redis_request_bytes: 331.0,
    redis_answer_bytes: 45.0,
    mysql_network_bytes: 49.0,
};

/// A file that `scripts/cost` has written.
#[derive(Deserialize)]
struct CostFile {
    constants: SizingCosts,
}

/// Reads the constants in the text of a `cost.json`.
///
/// # Errors
/// Returns the error of the parser, which names the missing or unknown field.
pub fn parse(text: &str) -> Result<SizingCosts, serde_json::Error> {
    serde_json::from_str(text).map(|CostFile { constants }| constants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_costs_are_the_published_ones() {
        let published = parse(include_str!("../../../docs/benchmarks/cost.json")).expect("the file has all constants");
        assert_eq!(MEASURED, published);
    }

    #[test]
    fn a_file_without_a_cost_or_with_an_unknown_one_is_refused() {
        let text = include_str!("../../../docs/benchmarks/cost.json");
        for changed in [text.replace("\"login_us\"", "\"logins_us\""), "{}".to_owned(), String::new()] {
            assert!(parse(&changed).is_err());
        }
    }
}
