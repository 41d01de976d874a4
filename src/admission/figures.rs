//! What admission has counted, for metrics.

use std::sync::atomic::Ordering;

use super::Admission;

/// Counters since the start, and current table sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionFigures {
    pub refused_off: u64,
    pub refused_blocked: u64,
    pub refused_too_fast: u64,
    /// Offenders blocked by this instance.
    pub offenders: u64,
    /// Blocks dropped because the blacklist was full.
    pub blocks_refused: u64,
    /// Requests counted by crowd because a table was full.
    pub by_crowd: u64,
    pub blocks: u64,
    /// Keys in the tables: users, merchants' keys, addresses and names. A key with rate refusals in the last minute counts twice.
    pub keys: u64,
}

impl Admission {
    pub fn figures(&self) -> AdmissionFigures {
        let (offenders, blocks_refused) = self.blacklist.counted();
        let (attempts, attempts_by_crowd) = self.attempts.counted();
        let claims = [(self.users.count(), self.users.by_crowd()), (self.networks.count(), self.networks.by_crowd())];
        let others = [
            (self.class_users.count(), self.class_users.by_crowd()),
            (self.class_keys.count(), self.class_keys.by_crowd()),
            (self.class_networks.count(), self.class_networks.by_crowd()),
            (self.offences.count(), self.offences.by_crowd()),
            (attempts, attempts_by_crowd),
        ];
        let (keys, by_crowd) =
            claims.into_iter().chain(others).fold((0, 0), |(keys, all), (key, one)| (keys + key, all + one));
        AdmissionFigures {
            refused_off: self.off.load(Ordering::Relaxed),
            refused_blocked: self.blocked.load(Ordering::Relaxed),
            refused_too_fast: self.too_fast.load(Ordering::Relaxed),
            offenders,
            blocks_refused,
            by_crowd,
            blocks: self.blacklist.count() as u64,
            keys: keys as u64,
        }
    }
}
