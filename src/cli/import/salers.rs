//! The second pass imports salers' rows, the offered coupons. After the third pass their amounts are checked.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::identity::Owners;
use super::offers::{Offer, Offers};
use super::report::{Gap, LeftOut, RefusedRow};
use super::{Import, ImportError};
use crate::config::IMPORT_BATCH_ROWS;
use crate::domain::{CouponId, UserId};
use crate::mysql::import::SourceId;
use crate::mysql::import::coupons::{self, ImportedCoupon, PresentCoupon};
use crate::mysql::import::source::{self, SourceCoupon};

/// Assigns the existing id of a coupon, or the next free id in the order of the rows.
struct Ids {
    next: CouponId,
    /// Existing coupons of the page's salers, by name.
    stored: HashMap<UserId, HashMap<String, CouponId>>,
}

impl Import<'_> {
    /// Collects the salers' coupons, and imports the coupons with units left. A coupon has at least one unit. A coupon
    /// without units left is therefore stored with its first claim.
    pub(super) async fn take_offers(&mut self, total: u64) -> Result<Offers, ImportError> {
        let mut stage = self.progress.begin("salers' coupons", total);
        let mut offers = Offers::default();
        let next = coupons::next_id(self.db).await.map_err(ImportError::Target)?;
        let mut ids = Ids { next, stored: HashMap::new() };
        let mut after = SourceId(i64::MIN);
        loop {
            let rows = source::coupons_after(self.from, after, IMPORT_BATCH_ROWS).await.map_err(ImportError::Source)?;
            let Some(last) = rows.last() else { break };
            after = last.id();
            let owners = self.find_owners(&rows).await?;
            self.take_offer_page(&rows, &owners, &mut offers, &mut ids).await?;
            stage.advance(rows.len() as u64);
        }
        stage.finish();
        Ok(offers)
    }

    async fn take_offer_page(
        &mut self,
        rows: &[SourceCoupon],
        owners: &Owners,
        offers: &mut Offers,
        ids: &mut Ids,
    ) -> Result<(), ImportError> {
        let mut new = Vec::new();
        for row in rows {
            let owner = owners.of(row);
            if !owner.offers() {
                continue;
            }
            match offers.parse(row, owner) {
                Ok(coupon) => {
                    let (coupon, was_here) = self.number(coupon, ids).await?;
                    if !was_here && coupon.left > 0 {
                        new.push(coupon.clone());
                    }
                    offers.add(Offer { coupon: Some(coupon), was_here, ..Offer::refused(row) });
                }
                Err(LeftOut::OfferedTwice) => self.refuse_offer(RefusedRow::coupon(row, LeftOut::OfferedTwice))?,
                Err(reason) => {
                    self.refuse_offer(RefusedRow::coupon(row, reason))?;
                    offers.add(Offer::refused(row));
                }
            }
        }
        ids.stored.clear();
        coupons::take(self.db, &new).await?;
        Ok(())
    }

    /// Returns the coupon with its id, and whether the coupon exists already.
    async fn number(&self, mut coupon: ImportedCoupon, ids: &mut Ids) -> Result<(ImportedCoupon, bool), ImportError> {
        let by_name = match ids.stored.entry(coupon.saler_id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let stored = coupons::find_by_saler(self.db, coupon.saler_id).await.map_err(ImportError::Target)?;
                entry.insert(stored.into_iter().map(|coupon| (coupon.name, coupon.id)).collect())
            }
        };
        let stored = by_name.get(coupon.name.as_str());
        coupon.id = stored.copied().unwrap_or(ids.next);
        let was_here = stored.is_some();
        if !was_here {
            ids.next.0 += 1;
        }
        Ok((coupon, was_here))
    }

    /// Counts the offers and compares their amounts, after all claims are imported.
    pub(super) async fn settle_offers(&mut self, offers: &Offers) -> Result<(), ImportError> {
        let mut by_saler: BTreeMap<UserId, Vec<(&Offer, &ImportedCoupon)>> = BTreeMap::new();
        for (offer, coupon) in offers.accepted() {
            by_saler.entry(coupon.saler_id).or_default().push((offer, coupon));
        }
        for (saler, mut offered) in by_saler {
            offered.sort_unstable_by_key(|(offer, _)| offer.row);
            let stored = coupons::find_by_saler(self.db, saler).await.map_err(ImportError::Target)?;
            let stored: HashMap<CouponId, PresentCoupon> =
                stored.into_iter().map(|coupon| (coupon.id, coupon)).collect();
            for (offer, coupon) in offered {
                self.settle_offer(offer, stored.get(&coupon.id))?;
            }
        }
        Ok(())
    }

    fn settle_offer(&mut self, offer: &Offer, stored: Option<&PresentCoupon>) -> Result<(), ImportError> {
        let Some(stored) = stored else {
            let (username, coupon) = (offer.saler.clone(), offer.name.clone());
            return self.refuse_offer(RefusedRow::offer(offer.row, username, coupon, LeftOut::NoUnits));
        };
        let counts = &mut self.recorder.report.coupons;
        match offer.was_here {
            true => counts.already += 1,
            false => counts.taken += 1,
        }
        // The saler may have changed the amount of a published coupon.
        if stored.is_published || offer.stored_amount == Some(f64::from(stored.amount)) {
            return Ok(());
        }
        self.recorder.note_gap(Gap {
            row: offer.row,
            saler: offer.saler.clone(),
            coupon: offer.name.clone(),
            stored_amount: offer.stored_amount,
            amount: stored.amount,
            held: stored.claimed,
        })
    }

    fn refuse_offer(&mut self, row: RefusedRow) -> Result<(), ImportError> {
        self.recorder.report.coupons.refused += 1;
        self.recorder.refuse(row)
    }
}
