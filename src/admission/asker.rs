//! Admission of a request by the class of its route.

use super::paced::{NetworkRefusal, pace, pace_networks};
use super::{Admission, Class, TurnedAway, too_fast};
use crate::domain::{Address, KeyId, Subject, UserId};

/// The sender of a request with a valid token or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub account: RateOwner,
    /// The saler for whom staff or a key work.
    pub saler: Option<UserId>,
}

/// The owner of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateOwner {
    User(UserId),
    Key(KeyId),
}

impl Admission {
    /// Decides whether a request of `class` may be answered. `asker` is `None` without a valid token or key.
    ///
    /// The asker's rate comes first, so that a refused user takes nothing from the rate of his address. Every staff account and
    /// every key has a rate of its own, and none of them takes from the saler's. Requests without a valid token have buckets of
    /// their own, because they must not keep out the users of the same address. A refusal by address is no offence: others would
    /// be blocked with the one who sends too much. A refusal of a key is none either, because only its saler could be blocked.
    ///
    /// # Errors
    /// [`TurnedAway::Blocked`], also if the saler of staff or of a key is blocked, and [`TurnedAway::TooFast`].
    pub fn enter(&self, class: Class, asker: Option<Asker>, address: Address, now_ms: u64) -> Result<(), TurnedAway> {
        if class.refuses_blocked() {
            let user = match asker.map(|asker| asker.account) {
                Some(RateOwner::User(user)) => Some(user),
                Some(RateOwner::Key(_)) | None => None,
            };
            self.not_blocked(user, Some(address), now_ms)?;
            self.not_blocked(asker.and_then(|asker| asker.saler), None, now_ms)?;
        }
        let limits = self.settings.limits();
        let per_minute = class.per_minute(&limits);
        let rates = self.rates(0, per_minute.user);
        match asker.map(|asker| asker.account) {
            Some(RateOwner::User(user)) => pace(&self.class_users, (class, user), || address, rates, now_ms)
                .map_err(|wait_ms| self.offence(Subject::User(user), || address, wait_ms, &limits, now_ms))?,
            Some(RateOwner::Key(key)) => pace(&self.class_keys, (class, key), || address, rates, now_ms)
                .map_err(|wait_ms| self.turned(too_fast(wait_ms)))?,
            None => {}
        }
        let rates = self.rates(0, per_minute.address);
        if rates.are_unlimited() || !limits.counts(address) {
            return Ok(());
        }
        let key = |network| (class, asker.is_some(), network);
        let paced = pace_networks(&self.class_networks, key, address, rates, now_ms);
        self.wait(paced.err().map(NetworkRefusal::wait_ms))
    }
}
