//! How much one merchant may have.

/// Limits of a merchant. A merchant above a limit may still change and stop what exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Open coupons.
    pub coupons: u32,
    /// Units of all open coupons, 0 for no limit. A unit takes up to 180 bytes of Redis.
    pub units: u64,
    /// Current and coming activities, 0 for no limit.
    pub sales: u32,
}

/// What a merchant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOffer {
    pub coupons: u64,
    /// Units of these coupons.
    pub units: u64,
    /// Whether none of them is sold, because the merchant may not sell at the moment.
    pub is_withheld: bool,
}

/// The limit that a merchant has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaReached {
    Coupons,
    Units,
}

impl Quotas {
    /// Checks that a merchant with `open` may have one more open coupon, with `units`.
    ///
    /// # Errors
    /// [`QuotaReached`]
    pub fn check_coupon(&self, open: OpenOffer, units: u64) -> Result<(), QuotaReached> {
        if open.coupons >= self.coupons.into() {
            return Err(QuotaReached::Coupons);
        }
        self.check_units(open, units)
    }

    /// Checks that a merchant with `open` may have `more` units.
    ///
    /// # Errors
    /// [`QuotaReached::Units`]
    pub fn check_units(&self, open: OpenOffer, more: u64) -> Result<(), QuotaReached> {
        let fits = self.units == 0 || open.units.saturating_add(more) <= self.units;
        if fits { Ok(()) } else { Err(QuotaReached::Units) }
    }

    /// Whether a merchant with this number of current and coming activities may have one more.
    pub fn allows_sale(&self, sales: u64) -> bool {
        self.sales == 0 || sales < self.sales.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_may_have_as_much_as_each_limit_says() {
        let quotas = Quotas { coupons: 2, units: 10, sales: 3 };
        let open = |coupons, units| OpenOffer { coupons, units, is_withheld: false };
        assert_eq!(quotas.check_coupon(open(1, 5), 5), Ok(()));
        assert_eq!(quotas.check_coupon(open(1, 5), 6), Err(QuotaReached::Units));
        assert_eq!(quotas.check_coupon(open(2, 0), 1), Err(QuotaReached::Coupons));
        assert_eq!(quotas.check_units(open(9, 5), 5), Ok(()));
        assert_eq!([2, 3, 4].map(|sales| quotas.allows_sale(sales)), [true, false, false]);
        let unlimited = Quotas { coupons: 1, units: 0, sales: 0 };
        assert_eq!(unlimited.check_coupon(open(0, u64::MAX), 7), Ok(()));
        assert!(unlimited.allows_sale(u64::MAX));
    }
}
