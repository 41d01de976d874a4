//! The names of Redis keys.

use crate::domain::{ActivityId, CouponId, Nth, UserId};

/// Makes keys: a prefix, the shard's tag, a word, and at most one number. No name ever shapes a key.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` is the operator's, `cr:` by default; the only shard there is adds `{s0}:`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}{{s0}}:") }
    }

    /// String: `run_id:epoch` while the shard is loaded, `rebuild:<token>` while somebody loads it.
    pub fn live(&self) -> String {
        format!("{}live", self.prefix)
    }

    /// Stream: claims that MySQL may not have yet.
    pub fn outbox(&self) -> String {
        format!("{}outbox", self.prefix)
    }

    /// String: the process that sweeps the outbox.
    pub fn sweeper(&self) -> String {
        format!("{}sweeper", self.prefix)
    }

    /// String, expiring: the process, named by hexadecimal digits, is alive.
    pub fn beat(&self, process: &str) -> String {
        format!("{}beat:{process}", self.prefix)
    }

    /// Hash: `saler/name` -> coupon id.
    pub fn names(&self) -> String {
        format!("{}names", self.prefix)
    }

    /// Hash: a coupon.
    pub fn coupon(&self, id: CouponId) -> String {
        format!("{}coupon:{id}", self.prefix)
    }

    /// List: seqs of a coupon, up to its `claimed`, that nobody has.
    pub fn holes(&self, id: CouponId) -> String {
        format!("{}holes:{id}", self.prefix)
    }

    /// Hash: what an activity has sold, and in which second how many.
    pub fn activity(&self, id: ActivityId) -> String {
        format!("{}activity:{id}", self.prefix)
    }

    /// Hash: what a user holds.
    pub fn holder(&self, id: UserId) -> String {
        format!("{}holder:{id}", self.prefix)
    }

    /// A holder's field for his nth claim of a coupon.
    pub fn held_field(coupon: CouponId, nth: Nth) -> String {
        if nth == 1 { coupon.to_string() } else { format!("{coupon}:{nth}") }
    }

    /// Sorted set: a saler's coupon ids, in order of creation.
    pub fn saler(&self, id: UserId) -> String {
        format!("{}saler:{id}", self.prefix)
    }

    /// String: a signed request of this user was seen; `digest` is a hash of what he made it unique with.
    pub fn nonce(&self, user: UserId, digest: u128) -> String {
        format!("{}nonce:{user}:{digest:032x}", self.prefix)
    }

    /// What the key of every coupon begins with, for scripts that read several.
    pub fn coupon_prefix(&self) -> String {
        format!("{}coupon:", self.prefix)
    }

    /// What the key of every list of holes begins with.
    pub fn holes_prefix(&self) -> String {
        format!("{}holes:", self.prefix)
    }

    /// Matches the key of every holder, for `SCAN`.
    pub fn holder_pattern(&self) -> String {
        format!("{}holder:*", escape_glob(&self.prefix))
    }

    /// Matches every key of the shard, for `SCAN`.
    pub fn shard_pattern(&self) -> String {
        format!("{}*", escape_glob(&self.prefix))
    }
}

/// So that a prefix with glob characters matches itself only.
fn escape_glob(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\^".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
