//! The names of Redis keys.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use redis::{RedisWrite, ToRedisArgs};

use crate::domain::{ActivityId, CouponId, Nth, UserId};

/// Makes keys: a prefix, the shard's tag, a word, and at most one number. Names chosen by users never shape a key. Cloning is cheap,
/// because every attempt carries a clone.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

/// The name of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    prefix: &'a str,
    word: &'static str,
    number: Option<u64>,
}

impl Keys {
    /// `prefix` is the operator's, `cr:` by default; the only shard there is adds `{s0}:`.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: format!("{prefix}{{s0}}:").into() }
    }

    /// String: `run_id:epoch` while the shard is loaded, `rebuild:<token>` while somebody loads it.
    pub fn live(&self) -> Key<'_> {
        self.key("live", None)
    }

    /// Stream: claims that MySQL may not have yet.
    pub fn outbox(&self) -> Key<'_> {
        self.key("outbox", None)
    }

    /// String: how many claims the outbox holds.
    pub fn waiting(&self) -> Key<'_> {
        self.key("waiting", None)
    }

    /// String: the process that sweeps the outbox.
    pub fn sweeper(&self) -> Key<'_> {
        self.key("sweeper", None)
    }

    /// String, expiring: the process, named by hexadecimal digits, is alive.
    pub fn beat(&self, process: &str) -> String {
        format!("{}beat:{process}", self.prefix)
    }

    /// Hash: `saler/name` -> coupon id.
    pub fn names(&self) -> Key<'_> {
        self.key("names", None)
    }

    /// Hash: a coupon.
    pub fn coupon(&self, id: CouponId) -> Key<'_> {
        self.key("coupon:", Some(id.0))
    }

    /// List: seqs of a coupon, up to its `claimed`, that nobody has.
    pub fn holes(&self, id: CouponId) -> Key<'_> {
        self.key("holes:", Some(id.0))
    }

    /// Hash: what an activity has sold, and in which second how many.
    pub fn activity(&self, id: ActivityId) -> Key<'_> {
        self.key("activity:", Some(id.0.into()))
    }

    /// Hash: what a user holds.
    pub fn holder(&self, id: UserId) -> Key<'_> {
        self.key("holder:", Some(id.0))
    }

    /// A holder's field for his nth claim of a coupon.
    pub fn held_field(coupon: CouponId, nth: Nth) -> String {
        if nth == 1 { coupon.to_string() } else { format!("{coupon}:{nth}") }
    }

    /// Sorted set: a saler's coupon ids, in order of creation.
    pub fn saler(&self, id: UserId) -> Key<'_> {
        self.key("saler:", Some(id.0))
    }

    fn key(&self, word: &'static str, number: Option<u64>) -> Key<'_> {
        Key { prefix: &self.prefix, word, number }
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

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.word)?;
        self.number.map_or(Ok(()), |number| write!(f, "{number}"))
    }
}

impl ToRedisArgs for Key<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut arg = out.writer_for_next_arg();
        let mut digits = itoa::Buffer::new();
        let number = self.number.map_or("", |number| digits.format(number));
        for part in [self.prefix, self.word, number] {
            arg.write_all(part.as_bytes()).expect("memory takes every text");
        }
    }
}

/// So that a prefix with glob characters matches itself only.
fn escape_glob(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\^".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
