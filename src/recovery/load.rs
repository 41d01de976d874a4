//! The part of a rebuild that loads coupons and claims from MySQL into Redis.
//!
//! Coupons are read in pages and claims as a stream, so the memory used is bounded.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{TryStreamExt, stream};

use super::rebuild::{Rebuild, within};
use super::{RecoveryError, WAIT};
use crate::domain::{CouponId, Seq};
use crate::mysql::activities;
use crate::mysql::claim_rows::{self, Which};
use crate::mysql::coupons::{self, CouponPage, StoredCoupon};
use crate::redis::load::{self, LoadedCoupon};
use crate::redis::{Presence, Published};

/// Coupons per page.
const PAGE: i64 = 1_000;
/// Pages loaded concurrently. MySQL reads one page while Redis writes another.
const PAGES_AT_ONCE: usize = 3;
/// Activities per script.
const ACTIVITIES: usize = 200;
/// Scripts per pipeline.
const PIPELINE: usize = 50;
/// Timeout of a pipeline, including earlier scripts that still run.
const PIPELINE_WAIT: Duration = Duration::from_secs(8);

impl Rebuild<'_> {
    /// Publishes all coupons and loads all claims missing in Redis. An archived coupon gets its tombstone and no claims. A
    /// coupon with an unreadable row is left out, with its claims, and the other coupons are sold.
    pub(super) async fn load(&self) -> Result<(), RecoveryError> {
        let pages = stream::try_unfold(CouponId(0), async |after| {
            let CouponPage { coupons, last } =
                coupons::page(&self.recovery.db, Some(self.recovery.identity.shard), after, PAGE).await?;
            Ok::<_, RecoveryError>(last.map(|last| (coupons, last)))
        });
        pages.try_for_each_concurrent(PAGES_AT_ONCE, |page| self.load_page(page)).await
    }

    /// Loads a page. Every coupon is in one page only, so the claims of a coupon are loaded in order.
    async fn load_page(&self, page: Vec<StoredCoupon>) -> Result<(), RecoveryError> {
        self.publish(&page).await?;
        self.load_claims(&page).await?;
        self.recovery.progress.coupons.fetch_add(page.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn publish(&self, page: &[StoredCoupon]) -> Result<(), RecoveryError> {
        if page.is_empty() {
            return Ok(());
        }
        let stock = &self.recovery.redis.stock;
        let coupons = page.iter().map(|stored| (&stored.coupon, stored.units()));
        let (presence, wait) = (Presence::Rebuilding, PIPELINE_WAIT + WAIT);
        let published =
            stock.publish_all(&self.connection, &self.marker, coupons, presence, PIPELINE_WAIT, wait).await?;
        for (published, stored) in published.into_iter().zip(page) {
            match published {
                Published::Done | Published::Older { .. } => {}
                Published::BelowClaimed => {
                    log::error!("recovery: ALARM: coupon {} has more claims than units", stored.coupon.id);
                }
                Published::Missing
                | Published::Archived
                | Published::Unstored
                | Published::NotLoaded
                | Published::TooLate => return Err(RecoveryError::Overtaken),
            }
        }
        Ok(())
    }

    /// Loads the claims of a page of coupons. A coupon with all claims in Redis is skipped. A coupon that lacks only
    /// its last claims is loaded from there. A coupon with holes, or without claims in Redis, is loaded whole.
    async fn load_claims(&self, page: &[StoredCoupon]) -> Result<(), RecoveryError> {
        let page: Vec<&StoredCoupon> = page.iter().filter(|stored| !stored.coupon.archived).collect();
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
        let (first, last) = (first.coupon.id, last.coupon.id);
        let highest: HashMap<_, _> = coupons::highest_seqs(&self.recovery.db, first, last).await?.into_iter().collect();
        let (keys, ids) = (self.recovery.keys(), page.iter().map(|stored| stored.coupon.id));
        let here = load::loaded_coupons(&self.connection, keys, ids, PIPELINE_WAIT).await?;
        let (mut whole, mut selling) = (Vec::new(), Vec::new());
        for (stored, LoadedCoupon { claimed, holes }) in page.iter().zip(here) {
            let coupon = &stored.coupon;
            let highest = highest.get(&coupon.id).copied().unwrap_or(0);
            let rows = i64::from(coupon.amount.get()) - stored.left_count;
            let gaps = i64::from(highest) - rows;
            if claimed == highest && i64::from(holes) == gaps {
                continue;
            }
            if coupon.activity_revision > 0 {
                selling.push(coupon.id);
            }
            if claimed == 0 || gaps != 0 || holes != 0 {
                whole.push(coupon.id);
            } else {
                self.stream(Which::Above(coupon.id, claimed), claimed).await?;
            }
        }
        if !whole.is_empty() {
            self.stream(Which::Of(&whole), 0).await?;
        }
        self.load_activities(&selling).await
    }

    /// Loads the claim counts of the coupons' activities. The remaining coupons have all claims and counts in Redis.
    async fn load_activities(&self, coupons: &[CouponId]) -> Result<(), RecoveryError> {
        if coupons.is_empty() {
            return Ok(());
        }
        let keys = self.recovery.keys();
        for sold in activities::sold(&self.recovery.db, coupons).await?.chunks(ACTIVITIES) {
            self.check_token(load::load_activities(&self.connection, keys, &self.marker, sold, WAIT).await?)?;
        }
        Ok(())
    }

    /// Loads the matching claims with a seq above `above`. All earlier claims must be in Redis. Seqs missing in between
    /// become holes.
    async fn stream(&self, which: Which<'_>, above: Seq) -> Result<(), RecoveryError> {
        let mut mysql = self.recovery.db.connect_alone().await?;
        let claims = within("read claims", claim_rows::stream(&mut mysql, which)).await?;
        let mut batches = pin!(load::chunks(claims, above).try_chunks(PIPELINE).map_err(|error| error.1));
        while let Some(chunks) = within("read claims", batches.try_next()).await? {
            let loaded: usize = chunks.iter().map(|chunk| chunk.claims.len()).sum();
            let (keys, wait) = (self.recovery.keys(), PIPELINE_WAIT + WAIT);
            self.check_token(load::load_claims(&self.connection, keys, &self.marker, "", &chunks, wait).await?)?;
            self.recovery.progress.claims.fetch_add(loaded as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}
