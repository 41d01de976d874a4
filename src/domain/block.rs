//! Blocks of users and addresses.

use std::fmt;

use super::{Address, UserId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    User(UserId),
    Address(Address),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockReason {
    Admin,
    /// Too many attempts were refused by rate limits.
    Offender,
}

/// A block in the form shown to admins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub until: Until,
    /// Seconds since 1970.
    pub since: u64,
    /// The admin's name, or empty for an automatic block.
    pub by: String,
    pub reason: BlockReason,
}

/// End of a block in seconds since 1970. `None` means no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until(pub Option<u64>);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

impl Until {
    /// The end of a removed block, already past.
    pub const OVER: Self = Self(Some(0));

    /// Whether the block is in force at `now_seconds`.
    pub fn holds(self, now_seconds: u64) -> bool {
        self.0.is_none_or(|end| now_seconds < end)
    }
}

impl BlockReason {
    /// The spelling on the wire and in MySQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Offender => "offender",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Admin, Self::Offender].into_iter().find(|reason| reason.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_until_its_last_second_is_over_or_for_ever() {
        assert!(Until(Some(10)).holds(9));
        assert!(!Until(Some(10)).holds(10));
        assert!(Until(None).holds(u64::MAX));
        assert!(!Until(Some(0)).holds(0), "taken away");
    }
}
