//! The numbers of committed batches, by which a MySQL that has lost commits is noticed.

use std::collections::HashMap;

use super::Epoch;

/// The number of the last committed batch of each process in an epoch of a shard. MySQL has these numbers in the table
/// `ledgers`, and Redis has them in the hash `counters`. Redis gets a number after its batch was committed, so Redis is
/// ahead only of a MySQL that has lost commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits {
    /// 0 if the shard was never loaded, or if Redis has lost its data.
    pub epoch: Epoch,
    pub counters: HashMap<String, u64>,
}

impl Commits {
    /// Whether `self`, read from Redis first, has a commit that `mysql` lacks. Counters of an earlier epoch do not count,
    /// because the rebuild that raised the epoch has compared them.
    pub fn are_ahead_of(&self, mysql: &Self) -> bool {
        let is_above = |(process, counter): (&String, &u64)| mysql.counters.get(process) < Some(counter);
        self.epoch > mysql.epoch || (self.epoch == mysql.epoch && self.counters.iter().any(is_above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(epoch: u32, counters: &[(&str, u64)]) -> Commits {
        let counters = counters.iter().map(|(process, counter)| ((*process).to_owned(), *counter)).collect();
        Commits { epoch: Epoch(epoch), counters }
    }

    #[test]
    fn redis_is_ahead_only_with_a_commit_that_mysql_lacks() {
        let mysql = commits(3, &[("a", 5), ("b", 1)]);
        for (redis, ahead) in [
            (commits(3, &[("a", 5), ("b", 1)]), false),
            (commits(3, &[("a", 4)]), false),
            (commits(3, &[("a", 6)]), true),
            (commits(3, &[("c", 1)]), true),
            (commits(2, &[("a", 9), ("c", 9)]), false),
            (commits(4, &[]), true),
            (Commits::default(), false),
        ] {
            assert_eq!(redis.are_ahead_of(&mysql), ahead, "{redis:?}");
        }
    }
}
