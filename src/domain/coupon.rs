//! What a saler offers.

use super::{CouponId, CouponName, UserId, UserName};

/// How many units a coupon has: 1 to 10,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u32);

/// What one unit is worth, in the saler's own unit: 0 to 1,000,000,000. On the wire: `stock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaceValue(u32);

/// What a saler says about a coupon: up to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(String);

impl Amount {
    pub const MAX: u32 = 10_000_000;

    /// `None` outside 1 to [`Amount::MAX`].
    pub fn new(units: i64) -> Option<Self> {
        u32::try_from(units).ok().filter(|units| (1..=Self::MAX).contains(units)).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FaceValue {
    pub const MAX: u32 = 1_000_000_000;

    /// `None` outside 0 to [`FaceValue::MAX`].
    pub fn new(value: i64) -> Option<Self> {
        u32::try_from(value).ok().filter(|value| *value <= Self::MAX).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Description {
    pub const CHARS_MAX: usize = 255;

    /// `None` where the text is longer than [`Description::CHARS_MAX`].
    pub fn new(text: String) -> Option<Self> {
        text.chars().nth(Self::CHARS_MAX).is_none().then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A coupon as MySQL has it. How many of its units are claimed is not here: Redis knows first, the ledger follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupon {
    pub id: CouponId,
    pub saler_id: UserId,
    pub saler: UserName,
    pub name: CouponName,
    pub amount: Amount,
    pub face_value: FaceValue,
    pub description: Description,
    /// Sold only inside an activity.
    pub scheduled: bool,
    /// Raised by every change; Redis ignores a lower one.
    pub revision: u64,
    /// The revision that last changed one of its activities; 0: it never had one.
    pub activity_revision: u64,
}

/// Units nobody has: those above the highest seq handed out, and the holes below it (I8).
///
/// 0 where the amount is below what is claimed, which [`Amount`] changes never leave behind.
pub fn left(amount: u64, claimed: u64, holes: u64) -> u64 {
    (amount + holes).saturating_sub(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edges() {
        assert_eq!(Amount::new(0), None);
        assert_eq!(Amount::new(-1), None);
        assert_eq!(Amount::new(1).map(Amount::get), Some(1));
        assert_eq!(Amount::new(10_000_000).map(Amount::get), Some(10_000_000));
        assert_eq!(Amount::new(10_000_001), None);
        assert_eq!(Amount::new(i64::MAX), None);
        assert_eq!(FaceValue::new(0).map(FaceValue::get), Some(0));
        assert_eq!(FaceValue::new(1_000_000_001), None);
        assert_eq!(FaceValue::new(-1), None);
        assert!(Description::new("券".repeat(255)).is_some());
        assert!(Description::new("a".repeat(256)).is_none());
    }

    #[test]
    fn left_counts_holes_as_units() {
        assert_eq!(left(10, 4, 0), 6);
        assert_eq!(left(10, 10, 3), 3);
        assert_eq!(left(10, 10, 0), 0);
    }
}
