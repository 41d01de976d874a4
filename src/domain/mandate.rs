//! Mandates: what staff and keys may do for their merchant.

use super::User;

/// Staff accounts of a merchant, and keys of a merchant.
pub const STAFF_MAX: u32 = 50;
pub const KEYS_MAX: u32 = 20;

/// A kind of work for a merchant. No right includes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MerchantRight {
    /// Redeem claims.
    Redeem,
    /// Read lists and exports.
    View,
    /// Create and change coupons, products and activities.
    Manage,
}

/// A set of rights, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights(u8);

/// The authority of staff or of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mandate {
    /// The merchant for whom they act.
    pub saler: User,
    pub rights: Rights,
}

/// The SHA-256 of the random part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl MerchantRight {
    const ALL: [Self; 3] = [Self::Redeem, Self::View, Self::Manage];

    /// The spelling on the wire.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Redeem => "redeem",
            Self::View => "view",
            Self::Manage => "manage",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Redeem => 1,
            Self::View => 2,
            Self::Manage => 4,
        }
    }
}

impl Rights {
    /// The rights with these names. `None` without names, and for an unknown name.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Option<Self> {
        let bit = |name: &T| {
            MerchantRight::ALL.into_iter().find(|right| right.as_str() == name.as_ref()).map(MerchantRight::bit)
        };
        let bits = names.iter().try_fold(0, |bits, name| Some(bits | bit(name)?))?;
        Self::from_bits(bits)
    }

    /// The rights by their number in MySQL and in tokens. `None` for 0 and for unknown bits.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let all = MerchantRight::ALL.into_iter().fold(0, |all, right| all | right.bit());
        (bits != 0 && bits & !all == 0).then_some(Self(bits))
    }

    pub const fn bits(self) -> u8 {
        self.0
    }

    pub const fn include(self, right: MerchantRight) -> bool {
        self.0 & right.bit() != 0
    }

    /// The spelling on the wire.
    pub fn names(self) -> Vec<&'static str> {
        MerchantRight::ALL.into_iter().filter(|right| self.include(*right)).map(MerchantRight::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_back_as_they_were_written() {
        for bits in 1..8 {
            let rights = Rights::from_bits(bits).expect("rights");
            assert_eq!((Rights::parse(&rights.names()), rights.bits()), (Some(rights), bits));
        }
        assert_eq!(Rights::parse(&["redeem", "view", "redeem"]).map(Rights::names), Some(vec!["redeem", "view"]));
        assert_eq!((Rights::from_bits(0), Rights::from_bits(8), Rights::from_bits(9)), (None, None, None));
        assert_eq!((Rights::parse::<&str>(&[]), Rights::parse(&["view", "Manage"])), (None, None));
    }

    #[test]
    fn no_right_includes_another_one() {
        for right in MerchantRight::ALL {
            let rights = Rights::parse(&[right.as_str()]).expect("a right");
            assert!(MerchantRight::ALL.into_iter().all(|other| rights.include(other) == (other == right)));
        }
    }
}
