//! The format of the data that instances share.

use std::fmt;

/// The version of keys in Redis, of outbox entries, and of script arguments. A release knows two formats, and writes the
/// lower one until an operator raises it, so that an upgrade can be taken back until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Format(pub u8);

impl Format {
    /// The format of release 0.1.0.
    pub const PREVIOUS: Self = Self(1);
    /// Adds archived coupons, and the stream of entries that cannot be read.
    pub const NEWEST: Self = Self(2);
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
