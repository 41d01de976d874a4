//! Compares the claims in Redis with MySQL and the outbox.

use std::collections::HashMap;

use futures_util::TryStreamExt;

use super::look::{Audit, AuditError, Look, NOTHING_LOST, WAIT};
use super::sold::Sold;
use crate::domain::{Claim, CouponId};
use crate::mysql::DbConnection;
use crate::mysql::audit::CouponCounts;
use crate::mysql::claim_rows::{self, Which};
use crate::redis::audit::{self, FinalState, UnitCount};

/// Maximum coupons, entries, keys or claims per pipeline.
const BATCH: usize = 1_000;

/// The units of each coupon in Redis, `None` if Redis does not have the coupon.
type RedisCounts = HashMap<u64, Option<UnitCount>>;

/// Claims that wait in the outbox.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) by_coupon: HashMap<u64, u64>,
    pub(super) by_activity: Sold,
}

impl Audit {
    pub(super) async fn read_counts(&self, rows: &[CouponCounts]) -> Result<RedisCounts, AuditError> {
        let mut counts = RedisCounts::new();
        for rows in rows.chunks(BATCH) {
            let coupons: Vec<CouponId> = rows.iter().map(|row| CouponId(row.id)).collect();
            let found = audit::unit_counts(&*self.pool.get().await?, &self.keys, &coupons, WAIT).await?;
            counts.extend(rows.iter().map(|row| row.id).zip(found));
        }
        Ok(counts)
    }

    pub(super) async fn read_outbox(&self, look: &mut Look) -> Result<Waiting, AuditError> {
        let mut waiting = Waiting::default();
        look.outbox = 0;
        let mut after = None;
        loop {
            let page = audit::outbox_page(&*self.pool.get().await?, &self.keys, after.as_deref(), BATCH, WAIT).await?;
            for (entry, claim) in page.claims {
                look.outbox += 1;
                match claim {
                    Ok(claim) => {
                        *waiting.by_coupon.entry(claim.coupon.0).or_insert(0) += 1;
                        *waiting.by_activity.entry(claim.activity).or_insert(0) += 1;
                    }
                    Err(text) => {
                        let what = format!("{text:?} is not a claim");
                        look.find(NOTHING_LOST, format!("outbox entry {entry}"), what);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(waiting);
            }
        }
    }

    /// Checks the unit counts of Redis. Rows counted `before` must not exceed the units handed out. The units handed
    /// out must not exceed the claims in the outbox, read next, plus the rows counted `after`.
    pub(super) fn check_conservation(
        look: &mut Look,
        before: &[CouponCounts],
        counts: &RedisCounts,
        outbox: &HashMap<u64, u64>,
        after: &[CouponCounts],
    ) {
        let after: HashMap<u64, i64> = after.iter().map(|row| (row.id, row.rows_count)).collect();
        // Coupons without their claims in Redis are checked by their tombstones.
        for row in before.iter().filter(|row| !row.unloaded) {
            let subject = format!("coupon {}", row.id);
            let Some(UnitCount { amount, claimed, holes }) = counts.get(&row.id).copied().flatten() else {
                if row.published_revision > 0 {
                    look.find("I8 conservation", subject, "is not in Redis");
                }
                continue;
            };
            if amount != u64::from(row.amount) && row.published_revision == row.revision {
                look.find("I8 conservation", &subject, format!("{amount} units in Redis, {} in MySQL", row.amount));
            }
            let handed_out = i64::try_from(claimed - holes.min(claimed)).unwrap_or(i64::MAX);
            if row.rows_count > handed_out {
                let what = format!("{} claims in MySQL, {handed_out} in Redis", row.rows_count);
                look.find("I8 conservation", &subject, what);
            }
            let waiting = i64::try_from(outbox.get(&row.id).copied().unwrap_or(0)).unwrap_or(i64::MAX);
            let stored = after.get(&row.id).copied().unwrap_or(0);
            if handed_out > stored + waiting {
                let what = format!("{handed_out} claims in Redis, {waiting} of them in the outbox, {stored} in MySQL");
                look.find(NOTHING_LOST, &subject, what);
            }
        }
    }

    /// Checks the tombstones of archived coupons.
    pub(super) async fn check_tombstones(&self, look: &mut Look, rows: &[CouponCounts]) -> Result<(), AuditError> {
        let archived = rows.iter().filter(|row| row.archived && row.published_revision == row.revision);
        let archived: Vec<&CouponCounts> = archived.collect();
        for rows in archived.chunks(BATCH) {
            let coupons: Vec<CouponId> = rows.iter().map(|row| CouponId(row.id)).collect();
            let found = audit::tombstones(&*self.pool.get().await?, &self.keys, &coupons, WAIT).await?;
            for (row, found) in rows.iter().zip(found) {
                let expected = FinalState { revision: row.revision, left: u64::try_from(row.left_count).unwrap_or(0) };
                if found != Some(expected) {
                    let what = format!("is archived, and Redis has {found:?} instead of {expected:?}");
                    look.find("I8 conservation", format!("coupon {}", row.id), what);
                }
            }
        }
        Ok(())
    }

    /// Checks that every row is a claim of its user in Redis, with the same seq.
    pub(super) async fn check_rows_are_held(&self, look: &mut Look) -> Result<(), AuditError> {
        let mut mysql = self.db.connect_alone().await?;
        let mut rows = claim_rows::stream(&mut mysql, Which::LoadedIn(self.shard)).await.map_err(AuditError::Read)?;
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.try_next().await.map_err(AuditError::Read)? {
            batch.push(row);
            if batch.len() == BATCH {
                self.check_batch_is_held(look, &batch).await?;
                batch.clear();
            }
        }
        self.check_batch_is_held(look, &batch).await
    }

    async fn check_batch_is_held(&self, look: &mut Look, batch: &[Claim]) -> Result<(), AuditError> {
        if batch.is_empty() {
            return Ok(());
        }
        let held = audit::held(&*self.pool.get().await?, &self.keys, batch, WAIT).await?;
        for (held, row) in held.into_iter().zip(batch) {
            let seq = held.as_deref().and_then(|held| held.split(':').next()).and_then(|seq| seq.parse::<u32>().ok());
            if seq != Some(row.seq) {
                let subject = format!("user {} of coupon {}", row.user, row.coupon);
                look.find("I6 stable answer", subject, format!("has seq {} in MySQL and {held:?} in Redis", row.seq));
            }
        }
        Ok(())
    }

    /// Checks that every claim of a user in Redis is a row or in the outbox.
    pub(super) async fn check_holds_are_known(&self, look: &mut Look) -> Result<(), AuditError> {
        let mut mysql = self.db.connect_alone().await?;
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let page = audit::holder_page(&*self.pool.get().await?, &self.keys, from, BATCH, WAIT).await?;
            let holds = self.read_holds(look, &page.holders).await?;
            for holds in holds.chunks(BATCH) {
                self.check_holds(look, &mut mysql, holds).await?;
            }
            cursor = page.next;
        }
        Ok(())
    }

    pub(super) async fn read_holds(&self, look: &mut Look, holders: &[String]) -> Result<Vec<Claim>, AuditError> {
        if holders.is_empty() {
            return Ok(Vec::new());
        }
        let mut claims = Vec::new();
        for hold in audit::holds(&*self.pool.get().await?, holders, WAIT).await? {
            match hold {
                Ok(claim) => claims.push(claim),
                Err(broken) => look.find("I3 no phantom", broken.name, format!("is not a hold: {:?}", broken.value)),
            }
        }
        Ok(claims)
    }

    async fn check_holds(&self, look: &mut Look, mysql: &mut DbConnection, holds: &[Claim]) -> Result<(), AuditError> {
        for claim in self.only_in_redis(mysql, holds).await? {
            let subject = format!("user {} of coupon {}", claim.user, claim.coupon);
            look.find(NOTHING_LOST, subject, format!("holds seq {} in Redis only", claim.seq));
        }
        Ok(())
    }

    /// The claims that are neither a row nor in the outbox.
    pub(super) async fn only_in_redis(
        &self,
        mysql: &mut DbConnection,
        holds: &[Claim],
    ) -> Result<Vec<Claim>, AuditError> {
        let missing = not_rows(mysql, holds).await?;
        if missing.is_empty() {
            return Ok(missing);
        }
        let waiting = audit::entries_of(&*self.pool.get().await?, &self.keys, &missing, WAIT).await?;
        let is_gone = |claim: &Claim, entry: &[Claim]| !entry.iter().any(|waiting| waiting.is_same_grant(claim));
        let gone = missing.iter().zip(&waiting).filter(|(claim, entry)| is_gone(claim, entry));
        let gone: Vec<Claim> = gone.map(|(claim, _)| *claim).collect();
        // A claim may have moved from the outbox to MySQL since the first query.
        not_rows(mysql, &gone).await
    }
}

/// The claims missing in MySQL.
async fn not_rows(mysql: &mut DbConnection, holds: &[Claim]) -> Result<Vec<Claim>, AuditError> {
    let rows = claim_rows::of_units(mysql, holds).await.map_err(AuditError::Read)?;
    let rows: HashMap<_, _> = rows.iter().map(|row| ((row.coupon, row.seq), row)).collect();
    let known = |hold: &&Claim| rows.get(&(hold.coupon, hold.seq)).is_some_and(|row| row.is_same_grant(hold));
    Ok(holds.iter().filter(|hold| !known(hold)).copied().collect())
}
