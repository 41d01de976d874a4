//! Loading coupons and claims from MySQL into Redis, under a rebuild's token.
//!
//! Coupons come in pages, claims as a stream; nothing is read whole into memory.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use redis::Cmd;

use super::rebuild::{Rebuild, within};
use super::{RecoveryError, WAIT};
use crate::domain::{Claim, CouponId, Seq};
use crate::mysql::activities;
use crate::mysql::claim_rows::{self, Which};
use crate::mysql::coupons::{self, StoredCoupon};
use crate::redis::{Keys, KvError, Presence, Published, Script, published};

/// Coupons of one page.
const PAGE: i64 = 1_000;
/// Pages on their way at once: while MySQL reads one, Redis is given another.
const PAGES_AT_ONCE: usize = 3;
/// Claims and holes of one script, and scripts sent together.
const CHUNK: usize = 200;
const PIPELINE: usize = 50;
/// How long a pipeline may take; scripts before it may still run.
const PIPELINE_WAIT: Duration = Duration::from_secs(8);

/// What Redis has of a coupon's claims: the highest seq, and how many below it are holes.
type LoadedCoupon = (u32, u32);

/// Claims and holes of one coupon on their way into one script.
#[derive(Default)]
struct Chunk {
    coupon: CouponId,
    /// The list of holes begins anew with this chunk.
    first: bool,
    highest: Seq,
    holes: Vec<Seq>,
    claims: Vec<Claim>,
}

impl Rebuild<'_> {
    /// Publishes every coupon and loads the claims that Redis lacks.
    pub(super) async fn load(&self) -> Result<(), RecoveryError> {
        let pages = stream::try_unfold(CouponId(0), async |after| {
            let page = coupons::page(&self.recovery.db, after, PAGE).await?;
            let last = page.last().map(|stored| stored.coupon.id);
            Ok::<_, RecoveryError>(last.map(|last| (page, last)))
        });
        pages.try_for_each_concurrent(PAGES_AT_ONCE, |page| self.load_page(page)).await
    }

    /// A coupon is of one page only, so its claims come in order.
    async fn load_page(&self, page: Vec<StoredCoupon>) -> Result<(), RecoveryError> {
        self.publish(&page).await?;
        self.load_claims(&page).await?;
        self.recovery.progress.coupons.fetch_add(page.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn publish(&self, page: &[StoredCoupon]) -> Result<(), RecoveryError> {
        let stock = &self.recovery.stock;
        let publishing = page.iter().map(|stored| {
            stock.publishing(&self.connection, &self.marker, &stored.coupon, Presence::MayBeNew, PIPELINE_WAIT)
        });
        let replies = self.connection.eval_all(publishing.collect(), PIPELINE_WAIT + WAIT).await?;
        for (reply, stored) in replies.iter().zip(page) {
            match published(reply)? {
                Published::Done | Published::Older { .. } => {}
                Published::BelowClaimed => {
                    log::error!("recovery: ALARM: coupon {} has more claims than units", stored.coupon.id);
                }
                Published::Missing | Published::NotLoaded | Published::TooLate => return Err(RecoveryError::Overtaken),
            }
        }
        Ok(())
    }

    /// Loads the claims of a page of coupons. A coupon of which Redis has all is skipped; one of which it lacks the last
    /// ones is loaded from there; one with holes is loaded whole.
    async fn load_claims(&self, page: &[StoredCoupon]) -> Result<(), RecoveryError> {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
        let (first, last) = (first.coupon.id, last.coupon.id);
        let highest: HashMap<_, _> = coupons::highest_seqs(&self.recovery.db, first, last).await?.into_iter().collect();
        let here = self.loaded(page).await?;
        let (mut whole, mut selling) = (Vec::new(), Vec::new());
        for (stored, (claimed, holes)) in page.iter().zip(here) {
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

    /// Counts the claims of these coupons into their activities. Of the others Redis has all, and their counts with them.
    async fn load_activities(&self, coupons: &[CouponId]) -> Result<(), RecoveryError> {
        if coupons.is_empty() {
            return Ok(());
        }
        let keys = self.recovery.stock.keys();
        for sold in activities::sold(&self.recovery.db, coupons).await?.chunks(CHUNK) {
            let mut names = vec![keys.live()];
            names.extend(sold.iter().map(|(id, _)| keys.activity(*id)));
            let mut cmd = Script::LoadActivities.call(&names);
            cmd.arg(&self.marker);
            for (_, claims) in sold {
                cmd.arg(*claims);
            }
            self.own(self.connection.eval(&cmd, WAIT).await?.word() == "loaded")?;
        }
        Ok(())
    }

    async fn loaded(&self, page: &[StoredCoupon]) -> Result<Vec<LoadedCoupon>, RecoveryError> {
        let keys = self.recovery.stock.keys();
        let mut pipeline = redis::pipe();
        for stored in page {
            pipeline.cmd("HGET").arg(keys.coupon(stored.coupon.id)).arg("claimed");
            pipeline.cmd("LLEN").arg(keys.holes(stored.coupon.id));
        }
        let replies = self.connection.call_all(&pipeline, PIPELINE_WAIT).await?;
        let number = |value| redis::from_redis_value::<Option<u32>>(value).map_err(|_| KvError::Unreadable);
        let mut replies = replies.into_iter();
        let mut loaded = Vec::with_capacity(page.len());
        while let (Some(claimed), Some(holes)) = (replies.next(), replies.next()) {
            loaded.push((number(claimed)?.unwrap_or(0), number(holes)?.unwrap_or(0)));
        }
        Ok(loaded)
    }

    /// Loads the claims that match, whose coupons Redis has up to `above`; what is not there in between is a hole.
    async fn stream(&self, which: Which<'_>, above: Seq) -> Result<(), RecoveryError> {
        let mut mysql = self.recovery.db.connect_alone().await?;
        let mut claims = within("read claims", claim_rows::stream(&mut mysql, which)).await?;
        let mut chunk = Chunk::default();
        let mut full = Vec::new();
        let mut previous = above;
        while let Some(claim) = within("read claims", claims.try_next()).await? {
            if claim.coupon != chunk.coupon {
                let next = Chunk { coupon: claim.coupon, first: above == 0, ..Chunk::default() };
                full.push(std::mem::replace(&mut chunk, next));
                previous = above;
            }
            for hole in previous + 1..claim.seq {
                chunk.holes.push(hole);
                chunk.highest = hole;
                if chunk.holes.len() >= CHUNK {
                    full.push(chunk.next());
                    self.flush_some(&mut full).await?;
                }
            }
            previous = claim.seq;
            chunk.highest = claim.seq;
            chunk.claims.push(claim);
            if chunk.claims.len() + chunk.holes.len() >= CHUNK {
                full.push(chunk.next());
            }
            self.flush_some(&mut full).await?;
        }
        full.push(chunk);
        self.flush(&mut full).await
    }

    async fn flush_some(&self, full: &mut Vec<Chunk>) -> Result<(), RecoveryError> {
        if full.len() < PIPELINE { Ok(()) } else { self.flush(full).await }
    }

    async fn flush(&self, full: &mut Vec<Chunk>) -> Result<(), RecoveryError> {
        let chunks: Vec<Chunk> = full.drain(..).filter(|chunk| chunk.highest > 0).collect();
        let claims: usize = chunks.iter().map(|chunk| chunk.claims.len()).sum();
        let commands = chunks.iter().map(|chunk| self.loading(chunk)).collect();
        for reply in self.connection.eval_all(commands, PIPELINE_WAIT + WAIT).await? {
            self.own(reply.word() == "loaded")?;
        }
        self.recovery.progress.claims.fetch_add(claims as u64, Ordering::Relaxed);
        Ok(())
    }

    fn loading(&self, chunk: &Chunk) -> Cmd {
        let keys = self.recovery.stock.keys();
        let coupon = chunk.coupon;
        let mut names = vec![keys.live(), keys.coupon(coupon), keys.holes(coupon)];
        names.extend(chunk.claims.iter().map(|claim| keys.holder(claim.user)));
        let mut cmd = Script::LoadClaims.call(&names);
        cmd.arg(&self.marker).arg(chunk.highest).arg(u8::from(chunk.first)).arg(chunk.holes.len()).arg(&chunk.holes);
        for claim in &chunk.claims {
            // Its first entry is gone; the claim keeps its time, and no entry of the outbox is as old.
            let Claim { seq, entry, activity, .. } = claim;
            cmd.arg(Keys::held_field(coupon, claim.nth)).arg(format!("{seq}:{entry}:{activity}"));
        }
        cmd
    }
}

impl Chunk {
    /// Takes what there is, leaving an empty chunk that goes on with the same coupon.
    fn next(&mut self) -> Self {
        let next = Self { coupon: self.coupon, ..Self::default() };
        std::mem::replace(self, next)
    }
}
