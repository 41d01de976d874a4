//! What a request costs, by its route.

use crate::memory::Limits;

/// The class of a route. It decides which limits a request counts against before its handler runs. Each class has buckets
/// of its own, so that too many lists do not stop a till.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An attempt to claim. The handler asks [`Admission::claim`](super::Admission::claim).
    Claim,
    /// An answer from memory.
    Glance,
    /// A bounded read of Redis or MySQL.
    Read,
    /// A long read that is streamed.
    Export,
    /// A change in a store.
    Write,
    /// A claim that is used at a till. Many tills may share an address.
    Redeem,
    /// The end of a session. No address may keep a user from ending a stolen one.
    Logout,
    /// A request that hashes a password.
    Account,
    /// The opening of a connection that stays open.
    Stream,
    /// For admins.
    Operator,
    /// Health, and what costs nothing.
    Free,
}

/// Requests per minute. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PerMinute {
    pub user: u32,
    pub address: u32,
}

impl Class {
    /// The limits of the class in a minute. Claims have their own, by second and by minute.
    pub(super) fn per_minute(self, limits: &Limits) -> PerMinute {
        let (user, address) = match self {
            Self::Glance | Self::Stream => (0, limits.ip_glances_per_minute),
            Self::Read => (limits.user_reads_per_minute, limits.ip_reads_per_minute),
            Self::Export => (limits.user_exports_per_minute, limits.ip_exports_per_minute),
            Self::Write => (limits.user_writes_per_minute, limits.ip_writes_per_minute),
            Self::Redeem | Self::Logout => (limits.user_writes_per_minute, 0),
            Self::Account => (0, limits.ip_hashes_per_minute),
            Self::Claim | Self::Operator | Self::Free => (0, 0),
        };
        PerMinute { user, address }
    }

    /// Whether a user or an address on the blacklist is refused. Handlers of claims and accounts check it themselves, and
    /// whoever is blocked may still see and end what is his.
    pub fn refuses_blocked(self) -> bool {
        match self {
            Self::Export | Self::Write | Self::Redeem | Self::Stream => true,
            Self::Claim | Self::Glance | Self::Read | Self::Logout | Self::Account | Self::Operator | Self::Free => {
                false
            }
        }
    }

    /// Whether the token is looked at. Elsewhere nobody needs one.
    pub fn counts_users(self) -> bool {
        match self {
            Self::Read | Self::Export | Self::Write | Self::Redeem | Self::Logout => true,
            Self::Claim | Self::Glance | Self::Stream | Self::Account | Self::Operator | Self::Free => false,
        }
    }

    /// Whether [`Admission::enter`](super::Admission::enter) has anything to check.
    pub fn is_checked_before_the_handler(self) -> bool {
        !matches!(self, Self::Claim | Self::Operator | Self::Free)
    }
}
