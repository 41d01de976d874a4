//! The third pass imports customers' rows. Every row is a claim of a unit.

use super::identity::Owner;
use super::offers::{Offer, Offers};
use super::report::{LeftOut, RefusedRow};
use super::{Import, ImportError};
use crate::config::IMPORT_BATCH_ROWS;
use crate::mysql::import::SourceId;
use crate::mysql::import::claims::{self, NewClaim, TakenClaim};
use crate::mysql::import::source::{self, SourceCoupon};

impl Import<'_> {
    /// Imports the customers' claims in the order of the rows.
    pub(super) async fn take_holdings(&mut self, offers: &Offers, total: u64) -> Result<(), ImportError> {
        let mut stage = self.progress.begin("customers' coupons", total);
        let mut after = SourceId(i64::MIN);
        loop {
            let rows = source::coupons_after(self.from, after, IMPORT_BATCH_ROWS).await.map_err(ImportError::Source)?;
            let Some(last) = rows.last() else { break };
            after = last.id();
            self.take_holding_page(&rows, offers).await?;
            stage.advance(rows.len() as u64);
        }
        stage.finish();
        Ok(())
    }

    async fn take_holding_page(&mut self, rows: &[SourceCoupon], offers: &Offers) -> Result<(), ImportError> {
        let owners = self.find_owners(rows).await?;
        let mut new = Vec::with_capacity(rows.len());
        let mut new_rows = Vec::with_capacity(rows.len());
        for row in rows {
            let owner = owners.of(row);
            if owner.offers() {
                continue;
            }
            match parse(row, owner, offers) {
                Ok(claim) => {
                    new.push(claim);
                    new_rows.push(row);
                }
                Err(reason) => self.refuse_holding(row, reason)?,
            }
        }
        let taken = claims::take(self.db, &new, self.now_ms).await?;
        for (row, taken) in new_rows.into_iter().zip(taken) {
            match taken {
                TakenClaim::Now => self.recorder.report.claims.taken += 1,
                TakenClaim::Earlier => self.recorder.report.claims.already += 1,
                TakenClaim::OnSale => self.refuse_holding(row, LeftOut::OnSale)?,
                TakenClaim::TooMany => self.refuse_holding(row, LeftOut::TooMany)?,
            }
        }
        Ok(())
    }

    fn refuse_holding(&mut self, row: &SourceCoupon, reason: LeftOut) -> Result<(), ImportError> {
        self.recorder.report.claims.refused += 1;
        self.recorder.refuse(RefusedRow::coupon(row, reason))
    }
}

/// Finds the coupon of a claim. A single offer, accepted or refused, must have the name.
fn parse<'a>(row: &SourceCoupon, owner: Owner, offers: &'a Offers) -> Result<NewClaim<'a>, LeftOut> {
    let user = match owner {
        Owner::Customer(user) => user,
        Owner::Nobody => return Err(LeftOut::NoUser),
        Owner::RefusedCustomer | Owner::RefusedSaler | Owner::Saler(_) => return Err(LeftOut::UserRefused),
    };
    match offers.named(row.coupon_name.as_deref().unwrap_or_default()) {
        [] => Err(LeftOut::NoOffer),
        [Offer { coupon: Some(coupon), .. }] => Ok(NewClaim { coupon, user }),
        [_] => Err(LeftOut::OfferRefused),
        [first, second, ..] => Err(LeftOut::SeveralOffers(first.saler.clone(), second.saler.clone())),
    }
}
