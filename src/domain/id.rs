//! Ids as separate types, so the compiler finds a mix-up.

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
    /// Id of a user's row in MySQL, at least 1.
    UserId(u64)
);
number!(
    /// Id of a coupon's row in MySQL, at least 1. Ids follow the order of creation.
    CouponId(u64)
);
number!(
    /// Id of the activity of a claim. 0 means a claim without an activity.
    ActivityId(u32)
);
number!(
    /// Id of a merchant's key, at least 1.
    KeyId(u32)
);
number!(
    /// Number of rebuilds of a shard. A claim is stored only under the epoch of its grant, or by the late path.
    Epoch(u32)
);
