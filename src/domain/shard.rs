//! Shards: sets of coupons. A shard is in one Redis, is loaded by itself, and has keys of its own.

use std::fmt;
use std::sync::LazyLock;

/// The number of a shard, from 0. Its name in MySQL and Redis is `s` and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShardId(u8);

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (0..ShardId::MAX).map(|number| format!("s{number}")).collect());

impl ShardId {
    /// The shard of every database.
    pub const FIRST: Self = Self(0);
    /// The maximum number of shards.
    pub const MAX: usize = 64;

    /// The shard with this number, or `None` for [`Self::MAX`] and above.
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number).ok().filter(|_| number < Self::MAX).map(Self)
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| known == name).and_then(Self::new)
    }

    pub const fn number(self) -> usize {
        self.0 as usize
    }

    pub fn name(self) -> &'static str {
        &NAMES[self.number()]
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_other_texts_are_no_names() {
        let last = ShardId::new(ShardId::MAX - 1).expect("a number below the maximum");
        assert_eq!((ShardId::FIRST.name(), last.name()), ("s0", "s63"));
        assert_eq!(ShardId::parse("s63"), Some(last));
        for text in ["s64", "s00", "S0", "0", "s", "s-1", ""] {
            assert_eq!(ShardId::parse(text), None, "{text}");
        }
        assert_eq!(ShardId::new(ShardId::MAX), None);
    }
}
