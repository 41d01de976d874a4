//! What Redis holds, against MySQL and the outbox.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryStreamExt;

use super::in_mysql::CouponCounts;
use super::look::{Audit, AuditError, Look};
use crate::domain::{ActivityId, Claim, CouponId, Epoch, UserId};
use crate::mysql::DbConnection;
use crate::mysql::claim_rows::{self, Which};
use crate::redis::{Keys, KvError};

/// How long a pipeline may take.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// Commands sent together, keys scanned together, rows compared together.
const BATCH: usize = 1_000;

/// Ids and fields, as `XRANGE` gives them.
type StreamEntries = Vec<(String, Vec<String>)>;

/// What Redis has of each coupon; `None` where it does not have it.
type RedisCounts = HashMap<u64, Option<Count>>;

/// A coupon's units, seqs handed out, and holes among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    amount: u64,
    claimed: u64,
    holes: u64,
}

/// Claims that wait in the outbox.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) by_coupon: HashMap<u64, u64>,
    pub(super) by_activity: HashMap<u32, u64>,
}

impl Audit {
    /// How many units of each coupon Redis has and has handed out.
    pub(super) async fn read_counts(&self, rows: &[CouponCounts]) -> Result<RedisCounts, AuditError> {
        let mut counts = RedisCounts::new();
        for rows in rows.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for row in rows {
                pipeline.cmd("HMGET").arg(self.keys.coupon(CouponId(row.id))).arg("amount").arg("claimed");
                pipeline.cmd("LLEN").arg(self.keys.holes(CouponId(row.id)));
            }
            let mut replies = self.calls().await?.call_all(&pipeline, WAIT).await?.into_iter();
            for row in rows {
                let facts: (Option<u64>, Option<u64>) = read(replies.next())?;
                let holes: u64 = read(replies.next())?;
                let (amount, claimed) = facts;
                counts.insert(row.id, amount.zip(claimed).map(|(amount, claimed)| Count { amount, claimed, holes }));
            }
        }
        Ok(counts)
    }

    /// Counts the claims in the outbox.
    pub(super) async fn read_outbox(&self, look: &mut Look) -> Result<Waiting, AuditError> {
        let mut claims = Waiting::default();
        look.outbox = 0;
        let mut from = "-".to_owned();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(self.keys.outbox()).arg(&from).arg("+").arg("COUNT").arg(BATCH);
            let reply = self.calls().await?.call(&range, WAIT).await?;
            let entries: StreamEntries = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
            for (id, fields) in &entries {
                for claim in claims_of(id, fields) {
                    look.outbox += 1;
                    match claim {
                        Ok(claim) => {
                            *claims.by_coupon.entry(claim.coupon.0).or_insert(0) += 1;
                            *claims.by_activity.entry(claim.activity.0).or_insert(0) += 1;
                        }
                        Err(text) => look.find(
                            "I2 nothing lost",
                            format!("outbox entry {id}"),
                            format!("{text:?} is not a claim"),
                        ),
                    }
                }
            }
            match entries.last() {
                Some((id, _)) if entries.len() == BATCH => from = format!("({id}"),
                _ => return Ok(claims),
            }
        }
    }

    /// Rows counted before Redis cannot be more than what it has handed out; and what it has handed out cannot be more than
    /// the outbox, read after it, and the rows, counted last.
    pub(super) fn check_conservation(
        look: &mut Look,
        before: &[CouponCounts],
        counts: &RedisCounts,
        outbox: &HashMap<u64, u64>,
        after: &[CouponCounts],
    ) {
        let after: HashMap<u64, i64> = after.iter().map(|row| (row.id, row.rows_count)).collect();
        for row in before {
            let subject = format!("coupon {}", row.id);
            let Some(Count { amount, claimed, holes }) = counts.get(&row.id).copied().flatten() else {
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
                look.find("I2 nothing lost", &subject, what);
            }
        }
    }

    /// Every row is held in Redis by its user, with its seq.
    pub(super) async fn check_rows_are_held(&self, look: &mut Look) -> Result<(), AuditError> {
        let mut mysql = self.db.connect_alone().await?;
        let mut rows = claim_rows::stream(&mut mysql, Which::All).await.map_err(AuditError::Read)?;
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
        let mut pipeline = redis::pipe();
        for row in batch {
            pipeline.cmd("HGET").arg(self.keys.holder(row.user)).arg(Keys::held_field(row.coupon, row.nth));
        }
        for (reply, row) in self.calls().await?.call_all(&pipeline, WAIT).await?.into_iter().zip(batch) {
            let held: Option<String> = read(Some(reply))?;
            let seq = held.as_deref().and_then(|held| held.split(':').next()).and_then(|seq| seq.parse::<u32>().ok());
            if seq != Some(row.seq) {
                let subject = format!("user {} of coupon {}", row.user, row.coupon);
                look.find("I6 stable answer", subject, format!("has seq {} in MySQL and {held:?} in Redis", row.seq));
            }
        }
        Ok(())
    }

    /// Every hold in Redis is a row, or in the outbox.
    pub(super) async fn check_holds_are_known(&self, look: &mut Look) -> Result<(), AuditError> {
        let mut mysql = self.db.connect_alone().await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.holder_pattern()).arg("COUNT").arg(BATCH);
            let reply = self.calls().await?.call(&scan, WAIT).await?;
            let (next, keys): (u64, Vec<String>) = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
            let holds = self.read_holds(look, &keys).await?;
            for holds in holds.chunks(BATCH) {
                self.check_holds(look, &mut mysql, holds).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn read_holds(&self, look: &mut Look, keys: &[String]) -> Result<Vec<Claim>, AuditError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("HGETALL").arg(key);
        }
        let mut holds = Vec::new();
        if keys.is_empty() {
            return Ok(holds);
        }
        for (reply, key) in self.calls().await?.call_all(&pipeline, WAIT).await?.into_iter().zip(keys) {
            let fields: Vec<(String, String)> = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
            let user = key.rsplit(':').next().and_then(|id| id.parse().ok()).map(UserId);
            for (field, value) in fields {
                match user.and_then(|user| hold(user, &field, &value)) {
                    Some(claim) => holds.push(claim),
                    None => look.find("I3 no phantom", format!("{key} {field}"), format!("is not a hold: {value:?}")),
                }
            }
        }
        Ok(holds)
    }

    async fn check_holds(&self, look: &mut Look, mysql: &mut DbConnection, holds: &[Claim]) -> Result<(), AuditError> {
        let missing = not_rows(mysql, holds).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for claim in &missing {
            let id = claim.entry.to_string();
            pipeline.cmd("XRANGE").arg(self.keys.outbox()).arg(&id).arg(&id);
        }
        let mut gone = Vec::new();
        for (reply, claim) in self.calls().await?.call_all(&pipeline, WAIT).await?.into_iter().zip(&missing) {
            let entries: StreamEntries = redis::from_redis_value(reply).map_err(|_| KvError::Unreadable)?;
            let waiting = entries.iter().flat_map(|(id, fields)| claims_of(id, fields)).flatten();
            if !waiting.into_iter().any(|waiting| waiting.is_same_grant(claim)) {
                gone.push(*claim);
            }
        }
        // Not in the outbox: it must have become a row meanwhile.
        for claim in not_rows(mysql, &gone).await? {
            let subject = format!("user {} of coupon {}", claim.user, claim.coupon);
            look.find("I2 nothing lost", subject, format!("holds seq {} in Redis only", claim.seq));
            look.only_in_redis.push(claim);
        }
        Ok(())
    }
}

/// Those that MySQL does not have.
async fn not_rows(mysql: &mut DbConnection, holds: &[Claim]) -> Result<Vec<Claim>, AuditError> {
    let rows = claim_rows::of_units(mysql, holds).await.map_err(AuditError::Read)?;
    let rows: HashMap<_, _> = rows.iter().map(|row| ((row.coupon, row.seq), row)).collect();
    let known = |hold: &&Claim| rows.get(&(hold.coupon, hold.seq)).is_some_and(|row| row.is_same_grant(hold));
    Ok(holds.iter().filter(|hold| !known(hold)).copied().collect())
}

/// The claims of an outbox entry; the text of what is none.
fn claims_of(id: &str, fields: &[String]) -> Vec<Result<Claim, String>> {
    match (id.parse(), fields.get(1)) {
        (Ok(id), Some(text)) => Claim::parse_entry(id, text),
        _ => vec![Err(fields.join(" "))],
    }
}

/// A holder's field, `coupon` or `coupon:nth`, with its value, `seq:entry:activity`.
fn hold(user: UserId, field: &str, value: &str) -> Option<Claim> {
    let (coupon, nth) = field.split_once(':').unwrap_or((field, "1"));
    let mut parts = value.splitn(3, ':');
    Some(Claim {
        coupon: CouponId(coupon.parse().ok()?),
        user,
        seq: parts.next()?.parse().ok()?,
        entry: parts.next()?.parse().ok()?,
        activity: ActivityId(parts.next()?.parse().ok()?),
        nth: nth.parse().ok()?,
        // Whoever stores it says under which.
        epoch: Epoch(0),
    })
}

pub(super) fn read<T: redis::FromRedisValue>(reply: Option<redis::Value>) -> Result<T, KvError> {
    redis::from_redis_value(reply.ok_or(KvError::Unreadable)?).map_err(|_| KvError::Unreadable)
}
