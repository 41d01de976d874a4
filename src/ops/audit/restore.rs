//! Repairs MySQL from Redis: writes back claims that only Redis has, and ends the alarm of a MySQL that went back in time.

use std::collections::HashMap;
use std::time::Duration;

use super::look::{Audit, AuditError, Look, Repaired, WAIT};
use crate::domain::{Claim, Epoch};
use crate::mysql::claims::{self, BatchParts, StoreOutcome};
use crate::mysql::ledgers::{self, Fence};
use crate::mysql::restore::{self, RestoredCoupon};
use crate::mysql::{DbConnection, new_ids};
use crate::redis::{Live, audit, live_key};

/// Maximum coupons of a page, and keys of holders.
const PAGE: usize = 1_000;
/// How long a repaired shard may take to be loaded. The instances may have to load Redis again.
const LOADED_WITHIN: Duration = Duration::from_secs(60);
const LOADED_POLL: Duration = Duration::from_millis(200);

impl Audit {
    /// Whether MySQL lacks a commit that Redis knows.
    pub(super) async fn mysql_went_back(&self) -> Result<bool, AuditError> {
        let redis = live_key::commits(&*self.pool.get().await?, &self.keys, WAIT).await?;
        Ok(redis.are_ahead_of(&ledgers::read(&self.db, self.shard.name()).await?))
    }

    /// Writes back coupons and claims to a MySQL that went back, then ends the alarm. Without `accept_losses`, the alarm stays
    /// while MySQL refuses a coupon or a claim. Waits until the shard is loaded.
    pub(super) async fn restore(&self, accept_losses: bool) -> Result<Repaired, AuditError> {
        new_ids::move_on(&self.db, "MySQL went back in time, and is repaired").await?;
        let mut repaired = self.restore_coupons().await?;
        let epoch = ledgers::read(&self.db, self.shard.name()).await?.epoch;
        let (written, refused) = self.write_back(epoch).await?;
        repaired.claims = written;
        repaired.refused += refused;
        if repaired.refused > 0 && !accept_losses {
            return Err(AuditError::NotRestored(repaired));
        }
        let (run_id, redis) = (self.pool.run_id(), self.pool.get().await?);
        let value = live_key::read(&redis, &self.keys, WAIT).await?;
        // Read again, because a process may have found its own row behind since.
        let lost = live_key::commits(&redis, &self.keys, WAIT).await?;
        drop(redis);
        let is_loaded = value.as_deref() == Some(Live::new(&run_id, lost.epoch).as_str());
        restore::ledgers(&self.db, self.shard.name(), &lost, is_loaded.then_some(run_id.as_str())).await?;
        let loaded = async {
            while self.live().await.is_err() {
                tokio::time::sleep(LOADED_POLL).await;
            }
        };
        tokio::time::timeout(LOADED_WITHIN, loaded).await.map_err(|_| AuditError::NotLoaded)?;
        Ok(repaired)
    }

    async fn restore_coupons(&self) -> Result<Repaired, AuditError> {
        let (mut repaired, mut cursor) = (Repaired::default(), Some(0));
        while let Some(from) = cursor {
            let page = audit::coupon_page(&*self.pool.get().await?, &self.keys, from, PAGE, WAIT).await?;
            for copy in page.coupons {
                let Ok(copy) = copy.inspect_err(|key| log::error!("audit: {key} cannot be read")) else {
                    repaired.refused += 1;
                    continue;
                };
                match restore::coupon(&self.db, self.shard, &copy).await {
                    Ok(RestoredCoupon::Known) => {}
                    Ok(RestoredCoupon::Restored) => repaired.coupons += 1,
                    Ok(RestoredCoupon::NoSaler) => {
                        log::error!("audit: coupon {} is lost: MySQL has no saler {:?}", copy.id, copy.saler);
                        repaired.refused += 1;
                    }
                    Err(error) => {
                        log::error!("audit: coupon {} cannot be written back: {error}", copy.id);
                        repaired.refused += 1;
                    }
                }
            }
            cursor = page.next;
        }
        Ok(repaired)
    }

    /// Stores all claims that only Redis has, under the epoch of the shard. Returns the number of stored claims, and of
    /// claims that MySQL cannot take.
    pub(super) async fn write_back(&self, epoch: Epoch) -> Result<(u64, u64), AuditError> {
        let mut mysql = self.db.connect_alone().await?;
        let fence = Fence::new(self.shard.name(), format!("{:032x}", rand::random::<u128>()));
        let amounts = self.read_rows().await?.into_iter().map(|row| (row.id, row.amount)).collect();
        let (mut written, mut refused, mut cursor) = (0, 0, Some(0));
        while let Some(from) = cursor {
            let page = audit::holder_page(&*self.pool.get().await?, &self.keys, from, PAGE, WAIT).await?;
            // Unreadable fields are findings of the look that follows.
            let holds = self.read_holds(&mut Look::default(), &page.holders).await?;
            for holds in holds.chunks(PAGE) {
                let missing = self.only_in_redis(&mut mysql, holds).await?;
                let (sold, never_sold) = split_by_amount(missing, &amounts);
                let stored = store_parts(&mut mysql, &fence, epoch, &sold).await?;
                written += stored;
                refused += (sold.len() + never_sold) as u64 - stored;
            }
            cursor = page.next;
        }
        Ok((written, refused))
    }
}

/// The claims with a coupon and a seq within its amount, and the number of all others, which must not become rows.
fn split_by_amount(claims: Vec<Claim>, amounts: &HashMap<u64, u32>) -> (Vec<Claim>, usize) {
    let all = claims.len();
    let is_sold = |claim: &Claim| amounts.get(&claim.coupon.0).is_some_and(|amount| claim.seq <= *amount);
    let sold: Vec<Claim> = claims.into_iter().filter(is_sold).collect();
    let others = all - sold.len();
    (sold, others)
}

/// Stores claims, and halves a part that MySQL refuses. Returns the number of claims that MySQL has.
async fn store_parts(
    mysql: &mut DbConnection,
    fence: &Fence,
    epoch: Epoch,
    claims: &[Claim],
) -> Result<u64, AuditError> {
    let (mut parts, mut stored) = (BatchParts::of(claims), 0);
    while let Some(part) = parts.take() {
        match claims::store(mysql, fence, epoch, part).await.map_err(AuditError::Read)? {
            StoreOutcome::Done(outcome) => stored += (part.len() - outcome.poisoned.len()) as u64,
            StoreOutcome::Late | StoreOutcome::Unfenced(_) => return Err(AuditError::NotLoaded),
            StoreOutcome::Refused(_) if part.len() > 1 => parts.halve(part),
            // A claim that is refused alone remains a finding.
            StoreOutcome::Refused(reason) => log::error!("audit: {:?} cannot be written back: {reason}", part[0]),
        }
    }
    Ok(stored)
}
