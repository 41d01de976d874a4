//! The order of an audit. A look at all data is repeated while violations are found.

use std::collections::BTreeSet;
use std::time::Duration;

use super::look::{Audit, AuditError, AuditReport, Finding, Look, NOTHING_LOST, Repaired, WAIT};
use crate::mysql::{poisoned, shards};
use crate::redis::{Live, live_key, unread};

/// Whether the audit changes MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    None,
    /// Writes back what only Redis has. After a MySQL that went back, selling stays stopped until everything is written.
    All,
    /// Gives up what MySQL cannot take.
    AcceptLosses,
}

const LOOKS: u32 = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Findings named per invariant. Further findings are only counted.
const NAMED_MAX: usize = 20;

impl Audit {
    /// Looks up to three times. A finding counts only if every look finds it. A repair writes back what only Redis has, and
    /// a last look follows.
    ///
    /// # Errors
    /// [`AuditError`] if the audit could not be completed.
    pub async fn run(&self, repair: Repair) -> Result<AuditReport, AuditError> {
        let mut repaired = Repaired::default();
        if self.mysql_went_back().await? {
            if repair == Repair::None {
                return Err(AuditError::WentBack);
            }
            repaired = self.restore(repair == Repair::AcceptLosses).await?;
        }
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
        if repair != Repair::None && look.findings.iter().any(|finding| finding.invariant == NOTHING_LOST) {
            let (written, refused) = self.write_back(self.live().await?.epoch).await?;
            repaired.claims += written;
            repaired.refused += refused;
            look = self.look().await?;
        }
        let Look { coupons, claims, outbox, mut findings } = look;
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
        self.check_tombstones(&mut look, &rows_after).await?;
        let outbox = self.read_outbox(&mut look).await?;
        self.check_sold(&mut look, &sold_before, &outbox.by_activity).await?;
        // Concurrent, because both checks mostly wait for Redis or MySQL and do not depend on each other.
        let mut holds = Look::default();
        tokio::try_join!(self.check_rows_are_held(&mut look), self.check_holds_are_known(&mut holds))?;
        look.findings.append(&mut holds.findings);
        let unread = unread::count(&*self.pool.get().await?, &self.keys, WAIT).await?;
        if unread > 0 {
            let what = format!("has {unread} entries of the outbox, `couponrush unread list` shows them");
            look.find(NOTHING_LOST, "the stream unread", what);
        }
        self.live().await?;
        Ok(look)
    }

    /// The loading in Redis, if it is the loading recorded in MySQL.
    pub(super) async fn live(&self) -> Result<Live, AuditError> {
        let row = shards::read(&self.db, self.shard.name()).await?;
        let value = live_key::read(&*self.pool.get().await?, &self.keys, WAIT).await?;
        let live = Live::new(&self.pool.run_id(), row.epoch);
        let is_loaded = row.is_live && row.run_id == live.run_id && value.as_deref() == Some(live.as_str());
        if is_loaded { Ok(live) } else { Err(AuditError::NotLoaded) }
    }
}

impl AuditReport {
    /// Adds the report of another shard.
    pub fn add(&mut self, other: Self) {
        self.coupons += other.coupons;
        self.claims += other.claims;
        self.outbox += other.outbox;
        // Poisoned claims belong to no shard.
        self.acknowledged = other.acknowledged;
        self.repaired.coupons += other.repaired.coupons;
        self.repaired.claims += other.repaired.claims;
        self.repaired.refused += other.repaired.refused;
        self.findings.extend(other.findings);
        self.findings.sort();
    }

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
