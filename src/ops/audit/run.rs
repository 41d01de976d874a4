//! The order of an audit. A look at all data is repeated while violations are found.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::look::{Audit, AuditError, AuditReport, Finding, Look, WAIT};
use crate::domain::Claim;
use crate::mysql::claims::{self, StoreOutcome};
use crate::mysql::{poisoned, shards};
use crate::redis::{Live, live_key};

const LOOKS: u32 = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Findings named per invariant. Further findings are only counted.
const NAMED_MAX: usize = 20;

impl Audit {
    /// Looks up to three times. A finding counts only if every look finds it. With `repair`, claims found only in Redis
    /// are stored in MySQL, and a last look follows.
    ///
    /// # Errors
    /// [`AuditError`] if the audit could not be completed.
    pub async fn run(&self, repair: bool) -> Result<AuditReport, AuditError> {
        let mut look = self.look().await?;
        for _ in 1..LOOKS {
            if look.findings.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            let before: BTreeSet<_> =
                look.findings.drain(..).map(|finding| (finding.invariant, finding.subject)).collect();
            look = self.look().await?;
            look.findings.retain(|finding| before.contains(&(finding.invariant, finding.subject.clone())));
        }
        let mut repaired = 0;
        if repair && !look.only_in_redis.is_empty() {
            // A claim without a coupon, or with a seq above the amount, must not become a row.
            let rows = self.read_rows().await?;
            let amounts: HashMap<_, _> = rows.iter().map(|row| (row.id, row.amount)).collect();
            let sold = |claim: &&Claim| amounts.get(&claim.coupon.0).is_some_and(|amount| claim.seq <= *amount);
            let claims: Vec<Claim> = look.only_in_redis.iter().filter(sold).copied().collect();
            repaired = self.repair(&claims).await?;
            look = self.look().await?;
        }
        let Look { coupons, claims, outbox, mut findings, .. } = look;
        findings.sort();
        let (acknowledged, _) = poisoned::counts(&self.db).await?;
        Ok(AuditReport { coupons, claims, outbox, acknowledged, repaired, findings })
    }

    async fn look(&self) -> Result<Look, AuditError> {
        let mut look = Look::default();
        self.live().await?;
        let (rows_before, sold_before) = (self.check_rows(&mut look).await?, self.count_sold().await?);
        let counts = self.read_counts(&rows_before).await?;
        let outbox = self.read_outbox(&mut look).await?;
        let rows_after = self.read_rows().await?;
        Self::check_conservation(&mut look, &rows_before, &counts, &outbox.by_coupon, &rows_after);
        let outbox = self.read_outbox(&mut look).await?;
        self.check_sold(&mut look, &sold_before, &outbox.by_activity).await?;
        // Concurrent, because both checks mostly wait for Redis or MySQL and do not depend on each other.
        let mut holds = Look::default();
        tokio::try_join!(self.check_rows_are_held(&mut look), self.check_holds_are_known(&mut holds))?;
        look.findings.append(&mut holds.findings);
        look.only_in_redis = holds.only_in_redis;
        self.live().await?;
        Ok(look)
    }

    /// The loading in Redis, if it is the loading recorded in MySQL.
    async fn live(&self) -> Result<Live, AuditError> {
        let row = shards::read(&self.db, self.shard).await?;
        let value = live_key::read(&*self.pool.get().await?, &self.keys, WAIT).await?;
        let live = Live::new(&self.pool.run_id(), row.epoch);
        let is_loaded = row.is_live && row.run_id == live.run_id && value.as_deref() == Some(live.as_str());
        if is_loaded { Ok(live) } else { Err(AuditError::NotLoaded) }
    }

    async fn repair(&self, claims: &[Claim]) -> Result<u64, AuditError> {
        let live = self.live().await?;
        let mut connection = self.db.connect_alone().await?;
        let mut repaired = 0;
        for claims in claims.chunks(1_000) {
            let mut parts = vec![claims];
            while let Some(part) = parts.pop() {
                let stored = claims::store(&mut connection, self.shard, live.epoch, part).await;
                match stored.map_err(AuditError::Read)? {
                    StoreOutcome::Done(outcome) => repaired += outcome.inserted as u64,
                    StoreOutcome::Late => return Err(AuditError::NotLoaded),
                    // A claim that is refused alone remains a finding.
                    StoreOutcome::Refused(_) if part.len() > 1 => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                    StoreOutcome::Refused(_) => {}
                }
            }
        }
        Ok(repaired)
    }
}

impl AuditReport {
    /// The invariants with findings: name, number of findings, and at most twenty findings. Expects sorted findings.
    pub fn named(&self) -> Vec<(&'static str, usize, Vec<&Finding>)> {
        let mut named: Vec<(&'static str, usize, Vec<&Finding>)> = Vec::new();
        for finding in &self.findings {
            match named.last_mut() {
                Some((invariant, count, findings)) if *invariant == finding.invariant => {
                    *count += 1;
                    if findings.len() < NAMED_MAX {
                        findings.push(finding);
                    }
                }
                _ => named.push((finding.invariant, 1, vec![finding])),
            }
        }
        named
    }
}
