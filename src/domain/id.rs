//! Numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number!(
    /// A user's row in MySQL; at least 1.
    UserId(u64)
);
number!(
    /// A coupon's row in MySQL; at least 1. Coupons are numbered in the order of their creation.
    CouponId(u64)
);
number!(
    /// The activity a claim was made in; 0 means none.
    ActivityId(u32)
);
number!(
    /// How often a shard has been rebuilt. A claim is stored only under the epoch it was made in, or by the late path.
    Epoch(u32)
);
