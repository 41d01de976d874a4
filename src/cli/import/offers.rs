//! The salers' coupons in the Go system's database.

use std::collections::HashMap;

use super::identity::Owner;
use super::report::LeftOut;
use crate::domain::{Amount, CouponId, CouponName, Description, FaceValue, UserId};
use crate::mysql::import::SourceId;
use crate::mysql::import::coupons::ImportedCoupon;
use crate::mysql::import::source::SourceCoupon;

/// All salers' coupons by name, in memory. The size does not depend on the number of customers' rows.
#[derive(Default)]
pub(super) struct Offers {
    by_name: HashMap<String, Vec<Offer>>,
}

/// A saler's row. Refused rows are kept too, because customers' rows may refer to them.
pub(super) struct Offer {
    pub(super) row: SourceId,
    pub(super) saler: String,
    pub(super) name: String,
    pub(super) stored_amount: Option<f64>,
    /// `None` for a refused row.
    pub(super) coupon: Option<ImportedCoupon>,
    /// Whether an earlier run stored the coupon.
    pub(super) was_here: bool,
}

impl Offer {
    pub(super) fn refused(row: &SourceCoupon) -> Self {
        Self {
            row: row.id(),
            saler: row.username.clone().unwrap_or_default(),
            name: row.coupon_name.clone().unwrap_or_default(),
            stored_amount: row.amount,
            coupon: None,
            was_here: false,
        }
    }
}

impl Offers {
    pub(super) fn add(&mut self, offer: Offer) {
        self.by_name.entry(offer.name.clone()).or_default().push(offer);
    }

    /// All offers of a name, in the order of the rows.
    pub(super) fn named(&self, name: &str) -> &[Offer] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = (&Offer, &ImportedCoupon)> {
        self.by_name.values().flatten().filter_map(|offer| Some((offer, offer.coupon.as_ref()?)))
    }

    fn has(&self, saler: UserId, name: &str) -> bool {
        self.named(name).iter().any(|offer| offer.coupon.as_ref().is_some_and(|coupon| coupon.saler_id == saler))
    }

    /// The coupon offered by a saler's row, without an id yet.
    pub(super) fn parse(&self, row: &SourceCoupon, owner: Owner) -> Result<ImportedCoupon, LeftOut> {
        let Owner::Saler(saler_id) = owner else { return Err(LeftOut::UserRefused) };
        let name = CouponName::parse(row.coupon_name.clone().unwrap_or_default())?;
        if self.has(saler_id, name.as_str()) {
            return Err(LeftOut::OfferedTwice);
        }
        Ok(ImportedCoupon {
            id: CouponId::default(),
            saler_id,
            name,
            left: left(row.left_count).ok_or(LeftOut::Left)?,
            face_value: whole(row.stock).and_then(FaceValue::new).ok_or(LeftOut::FaceValue)?,
            description: Description::new(row.description.clone().unwrap_or_default()).ok_or(LeftOut::Description)?,
        })
    }
}

/// Units left. The Go system may store a negative number, which counts as 0.
fn left(stored: Option<f64>) -> Option<u32> {
    let units = whole(stored)?.max(0);
    u32::try_from(units).ok().filter(|units| *units <= Amount::MAX)
}

fn whole(number: Option<f64>) -> Option<i64> {
    // Whole numbers below this value are exact in a double. Our bounds are far lower.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.filter(|number| number.fract() == 0.0 && number.abs() < EXACT).map(|number| number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_is_a_whole_number_and_a_debt_is_none_left() {
        assert_eq!(left(Some(3.0)), Some(3));
        assert_eq!(left(Some(-3.0)), Some(0));
        assert_eq!(left(Some(10_000_000.0)), Some(10_000_000));
        for stored in [None, Some(0.5), Some(10_000_001.0), Some(1e300), Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(left(stored), None, "{stored:?}");
        }
    }
}
