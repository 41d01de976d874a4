//! The names of Redis keys.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use redis::{RedisWrite, ToRedisArgs};

use crate::domain::{ActivityId, CouponId, Nth, ShardId, UserId};

/// Builds keys. A key is a prefix, the tag of the shard, a word, and at most one number. Names chosen by users never
/// become part of a key. Cloning is cheap, because every attempt carries a clone.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    prefix: &'a str,
    word: &'static str,
    number: Option<u64>,
}

impl Keys {
    /// `prefix` is the setting of the operator, `cr:` by default. The tag of the shard, such as
    /// `{s0}:`, is added. All keys of a shard are in one slot of a Redis Cluster.
    pub fn new(prefix: &str, shard: ShardId) -> Self {
        Self { prefix: format!("{prefix}{{{shard}}}:").into() }
    }

    /// String. `run_id:epoch` while the shard is loaded, `rebuild:<token>` during a rebuild.
    pub fn live(&self) -> Key<'_> {
        self.key("live", None)
    }

    /// String. The id of the installation that the data belongs to.
    pub fn owner(&self) -> Key<'_> {
        self.key("owner", None)
    }

    /// Hash. Maps a process to its installation and to the number of its last beat in MySQL.
    pub fn beats(&self) -> Key<'_> {
        self.key("beats", None)
    }

    /// Stream. Claims that MySQL may not have stored yet.
    pub fn outbox(&self) -> Key<'_> {
        self.key("outbox", None)
    }

    /// Stream. Entries of the outbox that could not be read.
    pub fn unread(&self) -> Key<'_> {
        self.key("unread", None)
    }

    /// String. The number of claims in the outbox.
    pub fn waiting(&self) -> Key<'_> {
        self.key("waiting", None)
    }

    /// String with a TTL. The process that sweeps the outbox.
    pub fn sweeper(&self) -> Key<'_> {
        self.key("sweeper", None)
    }

    /// String with a TTL. Shows that the process is alive. `process` is a random id in hexadecimal digits.
    pub fn beat(&self, process: &str) -> String {
        format!("{}beat:{process}", self.prefix)
    }

    /// Never written. The check of the user's rights names it.
    pub fn rights(&self) -> Key<'_> {
        self.key("rights", None)
    }

    /// String. How often a coupon was archived in this loading.
    pub fn archivings(&self) -> Key<'_> {
        self.key("archivings", None)
    }

    /// Hash. Maps `saler/name` to the id of the coupon.
    pub fn names(&self) -> Key<'_> {
        self.key("names", None)
    }

    /// String. The loading in `live` before unfinished rebuilds.
    pub fn origin(&self) -> Key<'_> {
        self.key("origin", None)
    }

    /// Hash. The number of the last committed batch of each process, and the epoch of these numbers.
    pub fn counters(&self) -> Key<'_> {
        self.key("counters", None)
    }

    /// Hash. A coupon.
    pub fn coupon(&self, id: CouponId) -> Key<'_> {
        self.key("coupon:", Some(id.0))
    }

    /// List. The holes of a coupon, which are seqs up to `claimed` without a holder.
    pub fn holes(&self, id: CouponId) -> Key<'_> {
        self.key("holes:", Some(id.0))
    }

    /// Hash. The claims of an activity, in total and in the last second with a claim.
    pub fn activity(&self, id: ActivityId) -> Key<'_> {
        self.key("activity:", Some(id.0.into()))
    }

    /// Hash. The claims of a user.
    pub fn holder(&self, id: UserId) -> Key<'_> {
        self.key("holder:", Some(id.0))
    }

    /// The field of a holder for the n-th claim of a coupon.
    pub fn held_field(coupon: CouponId, nth: Nth) -> String {
        if nth == 1 { coupon.to_string() } else { format!("{coupon}:{nth}") }
    }

    /// Sorted set. The ids of a saler's coupons, in order of creation.
    pub fn saler(&self, id: UserId) -> Key<'_> {
        self.key("saler:", Some(id.0))
    }

    fn key(&self, word: &'static str, number: Option<u64>) -> Key<'_> {
        Key { prefix: &self.prefix, word, number }
    }

    /// String with a TTL. Marks a user's signed request as used. `digest` hashes the values that make a request unique.
    pub fn nonce(&self, user: UserId, digest: u128) -> String {
        format!("{}nonce:{user}:{digest:032x}", self.prefix)
    }

    /// The common prefix of coupon keys, for scripts that read several coupons.
    pub fn coupon_prefix(&self) -> String {
        format!("{}coupon:", self.prefix)
    }

    /// The common prefix of hole lists, for scripts that read several coupons.
    pub fn holes_prefix(&self) -> String {
        format!("{}holes:", self.prefix)
    }

    /// Pattern of all coupon keys, for `SCAN`.
    pub fn coupon_pattern(&self) -> String {
        format!("{}coupon:*", escape_glob(&self.prefix))
    }

    /// Pattern of all holder keys, for `SCAN`.
    pub fn holder_pattern(&self) -> String {
        format!("{}holder:*", escape_glob(&self.prefix))
    }

    /// Pattern of all keys of the shard, for `SCAN`.
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
            arg.write_all(part.as_bytes()).expect("a buffer in memory accepts every text");
        }
    }
}

/// Escapes glob characters, so a prefix matches only itself.
fn escape_glob(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\^".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
