//! Classes of routes, by the cost of a request.

use crate::memory::Limits;

/// The class of a route. A request counts against the limits of the class before the handler runs. Every class has separate
/// buckets, so too many lists do not stop a till.
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
    /// The use of a claim at a till. Many tills may share an address.
    Redeem,
    /// The end of a session. Only users have a limit, so no neighbour keeps a user from ending a stolen session.
    Logout,
    /// A password hash: registration, login, change of a password.
    Account,
    /// The opening of an event stream.
    Stream,
    /// For admins.
    Operator,
    /// Health checks, which do no work.
    Free,
}

/// Requests per minute. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PerMinute {
    pub user: u32,
    pub address: u32,
}

impl Class {
    /// The limits of the class per minute. [`Admission::claim`](super::Admission::claim) has the limits of claims.
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

    /// Whether blocked users and addresses are refused. Handlers of claims and accounts look into the blacklist themselves.
    /// Blocked users may still read lists and log out.
    pub fn refuses_blocked(self) -> bool {
        match self {
            Self::Export | Self::Write | Self::Redeem | Self::Stream => true,
            Self::Claim | Self::Glance | Self::Read | Self::Logout | Self::Account | Self::Operator | Self::Free => {
                false
            }
        }
    }

    /// Whether requests count for the user of the token.
    pub fn counts_users(self) -> bool {
        match self {
            Self::Read | Self::Export | Self::Write | Self::Redeem | Self::Logout => true,
            Self::Claim | Self::Glance | Self::Stream | Self::Account | Self::Operator | Self::Free => false,
        }
    }

    /// Whether [`Admission::enter`](super::Admission::enter) must be asked.
    pub fn is_checked_before_the_handler(self) -> bool {
        !matches!(self, Self::Claim | Self::Operator | Self::Free)
    }
}
