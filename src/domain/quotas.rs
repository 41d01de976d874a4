//! How much one merchant, and all merchants together, may have.

/// Limits of a merchant. A merchant above a limit may still change and stop what exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Open coupons.
    pub coupons: u32,
    /// Units of all open coupons, 0 for no limit. A unit takes up to 180 bytes of Redis.
    pub units: u64,
    /// Current and coming activities, 0 for no limit.
    pub sales: u32,
    pub totals: OfferTotals,
}

/// Limits of all merchants together, 0 for no limit. The last tenth is for merchants with fewer than 20 open coupons, so
/// merchants with many cannot keep out new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferTotals {
    pub coupons: u64,
    pub units: u64,
}

/// The limits, with what all merchants have now.
#[derive(Debug, Clone, Copy)]
pub struct QuotaCheck {
    quotas: Quotas,
    all: OpenOffer,
}

/// A merchant with fewer open coupons may use the last tenth of the totals.
const SMALL_MERCHANT: u64 = 20;

/// What a merchant has, or all of them.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOffer {
    pub coupons: u64,
    /// Units of these coupons.
    pub units: u64,
}

/// The limit that a merchant has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaReached {
    Coupons,
    Units,
    /// A limit of all merchants.
    Total,
}

impl Quotas {
    /// The limits while all merchants have `all`.
    pub const fn given(self, all: OpenOffer) -> QuotaCheck {
        QuotaCheck { quotas: self, all }
    }

    /// Whether there is a limit of units, of a merchant or of all.
    pub const fn limits_units(&self) -> bool {
        self.units > 0 || self.totals.units > 0
    }

    /// Whether a merchant with this number of current and coming activities may have one more.
    pub fn allows_sale(&self, sales: u64) -> bool {
        self.sales == 0 || sales < self.sales.into()
    }
}

impl OfferTotals {
    /// Whether `max` allows a merchant with `open` one more, when all merchants have `count` with it.
    fn allows(max: u64, count: u64, open: OpenOffer) -> bool {
        let kept = if open.coupons < SMALL_MERCHANT { 0 } else { max / 10 };
        max == 0 || count <= max - kept
    }
}

impl QuotaCheck {
    /// Checks that a merchant with `open` may have one more open coupon, with `units`.
    ///
    /// # Errors
    /// [`QuotaReached`]
    pub fn check_coupon(&self, open: OpenOffer, units: u64) -> Result<(), QuotaReached> {
        if open.coupons >= self.quotas.coupons.into() {
            return Err(QuotaReached::Coupons);
        }
        if !OfferTotals::allows(self.quotas.totals.coupons, self.all.coupons + 1, open) {
            return Err(QuotaReached::Total);
        }
        self.check_units(open, units)
    }

    /// Checks that a merchant with `open` may have `more` units.
    ///
    /// # Errors
    /// [`QuotaReached::Units`] or [`QuotaReached::Total`]
    pub fn check_units(&self, open: OpenOffer, more: u64) -> Result<(), QuotaReached> {
        if self.quotas.units > 0 && open.units.saturating_add(more) > self.quotas.units {
            return Err(QuotaReached::Units);
        }
        let fits = OfferTotals::allows(self.quotas.totals.units, self.all.units.saturating_add(more), open);
        if fits { Ok(()) } else { Err(QuotaReached::Total) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TOTALS: OfferTotals = OfferTotals { coupons: 0, units: 0 };

    const fn open(coupons: u64, units: u64) -> OpenOffer {
        OpenOffer { coupons, units }
    }

    #[test]
    fn a_merchant_may_have_as_much_as_each_limit_says() {
        let quotas = Quotas { coupons: 2, units: 10, sales: 3, totals: NO_TOTALS };
        let check = quotas.given(open(1_000, 1_000));
        assert_eq!(check.check_coupon(open(1, 5), 5), Ok(()));
        assert_eq!(check.check_coupon(open(1, 5), 6), Err(QuotaReached::Units));
        assert_eq!(check.check_coupon(open(2, 0), 1), Err(QuotaReached::Coupons));
        assert_eq!(check.check_units(open(9, 5), 5), Ok(()));
        assert_eq!([2, 3, 4].map(|sales| quotas.allows_sale(sales)), [true, false, false]);
        let unlimited = Quotas { coupons: 1, units: 0, sales: 0, totals: NO_TOTALS };
        assert_eq!(unlimited.given(open(0, u64::MAX)).check_coupon(open(0, u64::MAX), 7), Ok(()));
        assert!(unlimited.allows_sale(u64::MAX));
    }

    #[test]
    fn the_last_tenth_of_all_is_for_merchants_with_few_coupons() {
        let totals = OfferTotals { coupons: 100, units: 1_000 };
        let quotas = Quotas { coupons: 1_000, units: 0, sales: 0, totals };
        let check = |all, own, units| quotas.given(all).check_coupon(own, units);
        let (small, large) = (open(19, 0), open(20, 0));
        assert_eq!(check(open(89, 0), large, 1), Ok(()));
        assert_eq!(check(open(90, 0), large, 1), Err(QuotaReached::Total));
        assert_eq!([90, 99, 100].map(|all| check(open(all, 0), small, 1).is_ok()), [true, true, false]);
        assert_eq!([899, 900].map(|units| check(open(0, units), large, 1).is_ok()), [true, false]);
        assert_eq!([990, 991].map(|units| check(open(0, units), small, 10).is_ok()), [true, false]);
        assert_eq!(quotas.given(open(500, 899)).check_units(large, 1), Ok(()), "coupons that exist may grow");
        assert_eq!(quotas.given(open(0, u64::MAX)).check_units(small, 1), Err(QuotaReached::Total));
    }
}
