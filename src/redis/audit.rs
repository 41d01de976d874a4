//! Reads for the audit. Nothing is locked, so a value may change between two reads.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::stock::HolderField;
use super::{Calls, Keys, KvError, parse};
use crate::domain::{ActivityId, Claim, CouponId, Epoch, PublishedCoupon, UserId};

/// Ids and fields of entries, in the form of `XRANGE`.
type StreamEntries = Vec<(String, Vec<String>)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitCount {
    pub amount: u64,
    /// The highest seq handed out.
    pub claimed: u64,
    /// The number of holes below `claimed`.
    pub holes: u64,
}

/// What Redis keeps of an archived coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalState {
    pub revision: u64,
    /// Unclaimed units.
    pub left: u64,
}

#[derive(Debug)]
pub struct OutboxPage {
    /// The claims, each with the id of its entry. A part that is not a claim is given as text.
    pub claims: Vec<(String, Result<Claim, String>)>,
    /// The id of the last entry if further entries may follow.
    pub next: Option<String>,
}

#[derive(Debug)]
pub struct HolderPage {
    pub holders: Vec<String>,
    /// The cursor of the next page, `None` at the end.
    pub next: Option<u64>,
}

/// A field of a holder that is not a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenHold {
    /// The key of the holder and the name of the field.
    pub name: String,
    pub value: String,
}

#[derive(Debug)]
pub struct PublishedPage {
    /// The coupons. The key stands for a coupon that cannot be read.
    pub coupons: Vec<Result<PublishedCoupon, String>>,
    /// The cursor of the next page, `None` at the end.
    pub next: Option<u64>,
}

/// Scans coupons from `cursor`, 0 at first. `count` is a hint for Redis. A coupon may be returned twice.
///
/// # Errors
/// [`KvError`].
pub async fn coupon_page(
    calls: &Calls,
    keys: &Keys,
    cursor: u64,
    count: usize,
    wait: Duration,
) -> Result<PublishedPage, KvError> {
    let (found, next) = scan(calls, cursor, keys.coupon_pattern(), count, wait).await?;
    if found.is_empty() {
        return Ok(PublishedPage { coupons: Vec::new(), next });
    }
    let mut pipeline = redis::pipe();
    for key in &found {
        let fields = ["revision", "saler", "name", "face_value", "description", "scheduled"];
        pipeline.cmd("HMGET").arg(key).arg(&fields).arg(&["amount", "final_amount", "archived"]);
    }
    let replies = calls.call_all(&pipeline, wait).await?;
    let coupons = found.into_iter().zip(replies).map(|(key, fields)| published_coupon(&key, fields).ok_or(key));
    Ok(PublishedPage { coupons: coupons.collect(), next })
}

fn published_coupon(key: &str, fields: Value) -> Option<PublishedCoupon> {
    type Fields = (u64, String, String, u32, String, u8, Option<u32>, Option<u32>, Option<String>);
    let (revision, saler, name, face_value, description, scheduled, amount, final_amount, tombstone): Fields =
        parse(fields).ok()?;
    let (id, amount) = (key.rsplit(':').next()?.parse().ok()?, amount.or(final_amount)?);
    let archived = tombstone.as_ref().is_some_and(|tombstone| tombstone.parse::<u64>().is_ok());
    let (scheduled, unloaded) = (scheduled == 1, tombstone.is_some());
    Some(PublishedCoupon { id, revision, saler, name, amount, face_value, description, scheduled, archived, unloaded })
}

/// A page of the keys with `pattern`, and the cursor of the next page.
async fn scan(
    calls: &Calls,
    cursor: u64,
    pattern: String,
    count: usize,
    wait: Duration,
) -> Result<(Vec<String>, Option<u64>), KvError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
    let (next, found): (u64, _) = parse(calls.call(&scan, wait).await?)?;
    Ok((found, (next != 0).then_some(next)))
}

/// Counts the units of each coupon, in order. Returns `None` for a coupon that is not in Redis.
///
/// # Errors
/// [`KvError`].
pub async fn unit_counts(
    calls: &Calls,
    keys: &Keys,
    coupons: &[CouponId],
    wait: Duration,
) -> Result<Vec<Option<UnitCount>>, KvError> {
    let mut pipeline = redis::pipe();
    for coupon in coupons {
        pipeline.cmd("HMGET").arg(keys.coupon(*coupon)).arg("amount").arg("claimed");
        pipeline.cmd("LLEN").arg(keys.holes(*coupon));
    }
    let mut replies = calls.call_all(&pipeline, wait).await?.into_iter();
    let mut counts = Vec::with_capacity(coupons.len());
    for _ in coupons {
        let (amount, claimed): (Option<u64>, Option<u64>) = parse_next(&mut replies)?;
        let holes: u64 = parse_next(&mut replies)?;
        counts.push(amount.zip(claimed).map(|(amount, claimed)| UnitCount { amount, claimed, holes }));
    }
    Ok(counts)
}

/// Reads the tombstone of each coupon, in order. Returns `None` for a coupon without one, and for a coupon on sale.
///
/// # Errors
/// [`KvError`].
pub async fn tombstones(
    calls: &Calls,
    keys: &Keys,
    coupons: &[CouponId],
    wait: Duration,
) -> Result<Vec<Option<FinalState>>, KvError> {
    let mut pipeline = redis::pipe();
    for coupon in coupons {
        pipeline.cmd("HMGET").arg(keys.coupon(*coupon)).arg(&["archived", "final_left", "amount"]);
    }
    let replies = calls.call_all(&pipeline, wait).await?.into_iter();
    let tombstone = |reply| {
        let (archived, left, amount): (Option<String>, Option<u64>, Option<u32>) = parse(reply)?;
        let tombstone =
            archived.and_then(|archived| Some(FinalState { revision: archived.parse().ok()?, left: left? }));
        Ok(tombstone.filter(|_| amount.is_none()))
    };
    replies.map(tombstone).collect()
}

/// Reads the number of claims of each activity, in order.
///
/// # Errors
/// [`KvError`].
pub async fn sold(
    calls: &Calls,
    keys: &Keys,
    activities: impl Iterator<Item = ActivityId>,
    wait: Duration,
) -> Result<Vec<u64>, KvError> {
    let mut pipeline = redis::pipe();
    for id in activities {
        pipeline.cmd("HGET").arg(keys.activity(id)).arg("sold");
    }
    let replies = calls.call_all(&pipeline, wait).await?.into_iter();
    replies.map(|reply| parse::<Option<u64>>(reply).map(Option::unwrap_or_default)).collect()
}

/// Reads up to `count` entries of the outbox after the entry `after`, or from the oldest.
///
/// # Errors
/// [`KvError`].
pub async fn outbox_page(
    calls: &Calls,
    keys: &Keys,
    after: Option<&str>,
    count: usize,
    wait: Duration,
) -> Result<OutboxPage, KvError> {
    let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let mut range = redis::cmd("XRANGE");
    range.arg(keys.outbox()).arg(from).arg("+").arg("COUNT").arg(count);
    let entries: StreamEntries = parse(calls.call(&range, wait).await?)?;
    let next = entries.last().filter(|_| entries.len() == count).map(|(id, _)| id.clone());
    let claims = entries.iter().flat_map(|(id, fields)| {
        let claims = claims_of_entry(id, fields).into_iter();
        claims.map(|claim| (id.clone(), claim))
    });
    Ok(OutboxPage { claims: claims.collect(), next })
}

/// Reads all claims in the outbox entry of each given claim, in order. A missing entry has no claims.
///
/// # Errors
/// [`KvError`].
pub async fn entries_of(
    calls: &Calls,
    keys: &Keys,
    claims: &[Claim],
    wait: Duration,
) -> Result<Vec<Vec<Claim>>, KvError> {
    let mut pipeline = redis::pipe();
    for claim in claims {
        let id = claim.entry.to_string();
        pipeline.cmd("XRANGE").arg(keys.outbox()).arg(&id).arg(&id);
    }
    let replies = calls.call_all(&pipeline, wait).await?.into_iter();
    let claims = |entries: StreamEntries| {
        entries.iter().flat_map(|(id, fields)| claims_of_entry(id, fields)).flatten().collect()
    };
    replies.map(|reply| parse(reply).map(claims)).collect()
}

/// Reads the field of each claim at its holder, in order. Returns `None` for a missing field.
///
/// # Errors
/// [`KvError`].
pub async fn held(
    calls: &Calls,
    keys: &Keys,
    claims: &[Claim],
    wait: Duration,
) -> Result<Vec<Option<String>>, KvError> {
    let mut pipeline = redis::pipe();
    for claim in claims {
        pipeline.cmd("HGET").arg(keys.holder(claim.user)).arg(Keys::held_field(claim.coupon, claim.nth));
    }
    calls.call_all(&pipeline, wait).await?.into_iter().map(parse).collect()
}

/// Scans keys of holders from `cursor`, 0 at first. `count` is a hint for Redis. A key may be returned twice.
///
/// # Errors
/// [`KvError`].
pub async fn holder_page(
    calls: &Calls,
    keys: &Keys,
    cursor: u64,
    count: usize,
    wait: Duration,
) -> Result<HolderPage, KvError> {
    let (holders, next) = scan(calls, cursor, keys.holder_pattern(), count, wait).await?;
    Ok(HolderPage { holders, next })
}

/// Reads all claims of the holders with these keys. The epoch of a claim is 0.
///
/// # Errors
/// [`KvError`].
pub async fn holds(
    calls: &Calls,
    holders: &[String],
    wait: Duration,
) -> Result<Vec<Result<Claim, BrokenHold>>, KvError> {
    let mut pipeline = Pipeline::with_capacity(holders.len());
    for holder in holders {
        pipeline.cmd("HGETALL").arg(holder);
    }
    let mut holds = Vec::new();
    for (reply, holder) in calls.call_all(&pipeline, wait).await?.into_iter().zip(holders) {
        let fields: Vec<(String, String)> = parse(reply)?;
        let user = holder.rsplit(':').next().and_then(|id| id.parse().ok()).map(UserId);
        holds.extend(fields.into_iter().map(|(field, value)| {
            let claim = user.and_then(|user| parse_hold(user, &field, &value));
            claim.ok_or_else(|| BrokenHold { name: format!("{holder} {field}"), value })
        }));
    }
    Ok(holds)
}

/// Parses the claims of an outbox entry. A part that is not a claim is returned as text.
fn claims_of_entry(id: &str, fields: &[String]) -> Vec<Result<Claim, String>> {
    match (id.parse(), fields.get(1)) {
        (Ok(id), Some(text)) => Claim::parse_entry(id, text),
        _ => vec![Err(fields.join(" "))],
    }
}

/// Parses a field of a holder, `coupon` or `coupon:nth`, with its value.
fn parse_hold(user: UserId, field: &str, value: &str) -> Option<Claim> {
    let (coupon, nth) = field.split_once(':').unwrap_or((field, "1"));
    let mut parts = value.split(':');
    let HolderField { seq, entry, claimed_at_ms, activity } = HolderField::parse(&mut parts).ok()?;
    let is_complete = parts.next().is_none();
    let (coupon, nth) = (CouponId(coupon.parse().ok()?), nth.parse().ok()?);
    is_complete.then_some(Claim { coupon, user, entry, seq, activity, epoch: Epoch(0), nth, claimed_at_ms })
}

fn parse_next<T: redis::FromRedisValue>(replies: &mut impl Iterator<Item = Value>) -> Result<T, KvError> {
    parse(replies.next().ok_or(KvError::Unreadable)?)
}
