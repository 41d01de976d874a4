//! Coupons: the offers of salers.

use super::{CouponId, CouponName, UserId, UserName};

/// Number of units of a coupon: 1 to 10,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u32);

/// Value of one unit in the saler's currency unit, 0 to 1,000,000,000. The field `stock` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaceValue(u32);

/// The saler's description of a coupon, up to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(String);

impl Amount {
    pub const MAX: u32 = 10_000_000;

    /// Returns `None` outside 1 to [`Amount::MAX`].
    pub fn new(units: i64) -> Option<Self> {
        u32::try_from(units).ok().filter(|units| (1..=Self::MAX).contains(units)).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FaceValue {
    pub const MAX: u32 = 1_000_000_000;

    /// Returns `None` outside 0 to [`FaceValue::MAX`].
    pub fn new(value: i64) -> Option<Self> {
        u32::try_from(value).ok().filter(|value| *value <= Self::MAX).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Description {
    pub const CHARS_MAX: usize = 255;

    /// Returns `None` for a text longer than [`Description::CHARS_MAX`].
    pub fn new(text: String) -> Option<Self> {
        text.chars().nth(Self::CHARS_MAX).is_none().then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A coupon as stored in MySQL. The number of claimed units is absent, because Redis knows the number before MySQL.
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
    /// Raised by every change. Redis ignores lower revisions.
    pub revision: u64,
    /// Revision of the last change to an activity of the coupon. 0 means that the coupon never had an activity.
    pub activity_revision: u64,
    /// Not sold. Redis has a tombstone of the coupon, without its claims.
    pub archived: bool,
    /// Not sold, because the saler may not sell at the moment.
    pub withheld: bool,
}

impl Coupon {
    /// Whether the coupon is only sold inside activities. A withheld coupon is published as scheduled, and none of its
    /// activities is in memory. So Redis answers holders, and tells all others that the coupon is not on sale.
    pub const fn needs_activity(&self) -> bool {
        self.scheduled || self.withheld
    }
}

/// The units of a coupon by the rows of MySQL, which may lag behind Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredUnits {
    /// Units without a claim.
    pub left: u64,
    pub claims: u64,
}

/// A coupon as Redis has it. The values were checked when the coupon was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCoupon {
    pub id: CouponId,
    pub revision: u64,
    /// The saler's name.
    pub saler: String,
    pub name: String,
    pub amount: u32,
    pub face_value: u32,
    pub description: String,
    pub scheduled: bool,
    /// Redis has a tombstone of the coupon.
    pub archived: bool,
    /// Redis lacks claims of the coupon, because it is archived or comes back.
    pub unloaded: bool,
}

/// Unclaimed units: the units above the highest granted seq, and the holes below the highest seq (I8).
/// Returns 0 if the amount is below the claims. A change of [`Amount`] never leads to fewer units than claims.
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
