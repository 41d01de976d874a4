//! `couponrush audit`: checks the invariants on a live system.

use std::process::ExitCode;

use super::owner::{self, OwnerError};
use crate::app::{StartError, open_db, open_db_to_read, redis_config, redis_pool_of};
use crate::config::AuditArgs;
use crate::mysql::shards;
use crate::ops::{Audit, AuditError, AuditReport, Repair, Repaired};
use crate::redis::Keys;

/// The reason for an incomplete audit.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Prints the violations. The exit code reports success only if every invariant holds.
///
/// # Errors
/// Returns a [`CommandError`] if the audit could not be completed.
pub async fn run(args: &AuditArgs) -> Result<ExitCode, CommandError> {
    let redis = redis_config(&args.redis)?;
    let open = if args.repair { open_db } else { open_db_to_read };
    let db = open(&args.mysql)?;
    db.ping().await.map_err(StartError::Mysql)?;
    owner::check(&db, &redis, &args.redis.redis_prefix).await?;
    let repair = match (args.repair, args.accept_losses) {
        (false, _) => Repair::None,
        (true, false) => Repair::All,
        (true, true) => Repair::AcceptLosses,
    };
    let mut report = AuditReport::default();
    for shard in shards::all(&db).await.map_err(AuditError::Db)? {
        let pool = redis_pool_of(&redis, shard);
        let audit = Audit::new(db.clone(), pool, Keys::new(&args.redis.redis_prefix, shard), shard);
        report.add(audit.run(repair).await?);
    }
    println!("{} coupons, {} claims in MySQL, {} waiting in the outbox", report.coupons, report.claims, report.outbox);
    if report.acknowledged > 0 {
        println!("{} poisoned claims are acknowledged", report.acknowledged);
    }
    let Repaired { coupons, claims, refused } = report.repaired;
    if coupons > 0 {
        println!("{coupons} coupons were written to MySQL as Redis had them");
    }
    if claims > 0 {
        println!("{claims} claims that only Redis had were written to MySQL");
    }
    if refused > 0 {
        println!("{refused} coupons or claims of Redis were not written, because MySQL cannot take them");
    }
    if report.findings.is_empty() {
        println!("every invariant holds");
        return Ok(ExitCode::SUCCESS);
    }
    for (invariant, count, findings) in report.named() {
        println!("{invariant}: violated {count} times");
        for finding in &findings {
            println!("  {}: {}", finding.subject, finding.what);
        }
        if count > findings.len() {
            println!("  and {} more", count - findings.len());
        }
    }
    Ok(ExitCode::FAILURE)
}
