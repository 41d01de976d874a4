//! Users and their kinds.

use super::{UserId, UserName};

/// The role of a user. `Saler` is the spelling of merchant on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Customer,
    Saler,
    /// Acts for a saler, with the rights of a [`Mandate`](super::Mandate).
    Staff,
    /// Created only by the command line.
    Admin,
}

impl Kind {
    /// The spelling on the wire, in tokens and in MySQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Saler => "saler",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Saler, Self::Staff, Self::Admin].into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether users of this kind may enrol a second factor.
    pub const fn may_have_factor(self) -> bool {
        match self {
            Self::Staff | Self::Admin => true,
            Self::Customer | Self::Saler => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: UserName,
    pub kind: Kind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_back_as_it_was_written_and_nothing_else_does() {
        for kind in [Kind::Customer, Kind::Saler, Kind::Staff, Kind::Admin] {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("seller"), None);
        assert_eq!(Kind::parse("Customer"), None);
    }
}
