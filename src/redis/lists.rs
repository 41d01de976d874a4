//! Pages of the coupons offered by a saler, and the claims held by a customer.

use std::time::Duration;

use redis::Value;

use super::stock::{HolderField, Loaded};
use super::{Calls, KvError, Live, Script, ScriptReply, Stock, Tombstone, parse, text};
use crate::domain::{CouponId, EntryId, HeldClaim, PageStart, UserId, left};

/// The part of a list to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListWindow {
    pub start: PageStart,
    /// Maximum number of items in the part.
    pub give: u64,
}

/// A coupon on the list of its saler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub id: CouponId,
    pub name: String,
    pub face_value: u32,
    pub description: String,
    /// The coupon is sold only inside activities.
    pub scheduled: bool,
    pub amount: u64,
    pub left: u64,
    pub archived: bool,
}

/// The claims of a user in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldInRedis {
    /// In no order.
    pub claims: Vec<HeldClaim>,
    /// How often a coupon was archived in this loading, read after the claims. The claims of a coupon archived later are
    /// in `claims`.
    pub archivings: u64,
}

/// The description of a coupon, as shown on lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub saler: String,
    pub name: String,
    pub face_value: u32,
    pub description: String,
}

impl Stock {
    /// The coupons of a saler in `window`, newest first. Returns `None` if the shard is not loaded.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn list_offered(
        &self,
        calls: &Calls,
        live: &Live,
        saler: UserId,
        window: ListWindow,
        wait: Duration,
    ) -> Loaded<Vec<Offered>> {
        let mut cmd = Script::ListOffered.call(&[self.keys.live(), self.keys.saler(saler)]);
        cmd.arg(live.as_str()).arg(self.keys.coupon_prefix()).arg(self.keys.holes_prefix());
        match window.start {
            PageStart::Skip(skip) => cmd.arg(skip).arg(window.give).arg(""),
            PageStart::After(id) => cmd.arg(0).arg(window.give).arg(id),
        };
        page(&calls.eval(&cmd, wait).await?, 9, |reply, at| {
            Ok(Offered {
                id: CouponId(reply.number(at)?),
                name: reply.text(at + 1)?.to_owned(),
                face_value: reply.number(at + 2)?,
                description: reply.text(at + 3)?.to_owned(),
                scheduled: reply.text(at + 4)? == "1",
                amount: reply.number(at + 5)?,
                left: left(reply.number(at + 5)?, reply.number(at + 6)?, reply.number(at + 7)?),
                archived: reply.number::<u8>(at + 8)? == 1,
            })
        })
    }

    /// The claims of a user. Claims of archived coupons are missing. Returns `None` if the shard is not loaded.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn list_held(&self, calls: &Calls, live: &Live, user: UserId, wait: Duration) -> Loaded<HeldInRedis> {
        let mut pipeline = redis::Pipeline::with_capacity(2);
        // The holder comes first: a counter read before it could miss an archiving that has just deleted claims.
        pipeline.cmd("HGETALL").arg(self.keys.holder(user));
        pipeline.cmd("MGET").arg(self.keys.archivings()).arg(self.keys.live());
        let replies = calls.call_all(&pipeline, wait).await?;
        let [holder, Value::Array(state)] = &replies[..] else { return Err(KvError::Unreadable) };
        let [archivings, found] = &state[..] else { return Err(KvError::Unreadable) };
        if !is_live(found, live) {
            return Ok(None);
        }
        let archivings: Option<u64> = parse(archivings.clone())?;
        Ok(Some(HeldInRedis { claims: held_by(holder)?, archivings: archivings.unwrap_or(0) }))
    }

    /// The tombstone of a coupon, or `None` if the coupon is on sale or missing. Returns `None` if the shard is not
    /// loaded.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn tombstone(
        &self,
        calls: &Calls,
        live: &Live,
        coupon: CouponId,
        wait: Duration,
    ) -> Loaded<Option<Tombstone>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(self.keys.coupon(coupon)).arg("archived");
        let Some(mut replies) = self.read_loaded(calls, live, pipeline, wait).await? else { return Ok(None) };
        let archived: Option<String> = parse(replies.pop().ok_or(KvError::Unreadable)?)?;
        archived.map(|archived| Tombstone::parse(&archived)).transpose().map(Some)
    }

    /// The descriptions of coupons, in order, `None` for a coupon that Redis lacks. Returns `None` if the shard is not
    /// loaded.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn facts(
        &self,
        calls: &Calls,
        live: &Live,
        coupons: &[CouponId],
        wait: Duration,
    ) -> Loaded<Vec<Option<Facts>>> {
        let mut pipeline = redis::Pipeline::with_capacity(coupons.len() + 1);
        for coupon in coupons {
            let fields = ["saler", "name", "face_value", "description"];
            pipeline.cmd("HMGET").arg(self.keys.coupon(*coupon)).arg(&fields);
        }
        let Some(replies) = self.read_loaded(calls, live, pipeline, wait).await? else { return Ok(None) };
        let facts = |reply: Value| {
            let values: (Option<String>, Option<String>, Option<u32>, Option<String>) = parse(reply)?;
            let (Some(saler), Some(name), Some(face_value), Some(description)) = values else { return Ok(None) };
            Ok(Some(Facts { saler, name, face_value, description }))
        };
        replies.into_iter().map(facts).collect::<Result<_, _>>().map(Some)
    }

    /// Sends read-only commands and returns the replies in order, or `None` if Redis does not hold `live`. The key is
    /// read last: an epoch that has ended never comes back, so all earlier replies belong to the expected epoch.
    async fn read_loaded(
        &self,
        calls: &Calls,
        live: &Live,
        mut pipeline: redis::Pipeline,
        wait: Duration,
    ) -> Loaded<Vec<Value>> {
        pipeline.cmd("GET").arg(self.keys.live());
        let mut replies = calls.call_all(&pipeline, wait).await?;
        let found = replies.pop().ok_or(KvError::Unreadable)?;
        Ok(is_live(&found, live).then_some(replies))
    }
}

/// Whether the key `live` has the expected value.
fn is_live(found: &Value, live: &Live) -> bool {
    text(found).ok() == Some(live.as_str())
}

/// Parses all fields of a holder.
fn held_by(holder: &Value) -> Result<Vec<HeldClaim>, KvError> {
    let Value::Array(fields) = holder else { return Err(KvError::Unreadable) };
    let claim = |field_and_value: &[Value]| {
        let (field, value) = (text(&field_and_value[0])?, text(&field_and_value[1])?);
        let (id, nth) = field.split_once(':').unwrap_or((field, "1"));
        let coupon = CouponId(id.parse().map_err(|_| KvError::Unreadable)?);
        let nth = nth.parse().map_err(|_| KvError::Unreadable)?;
        let (claimed_at_ms, entry) = grant(value)?;
        Ok(HeldClaim { coupon, nth, claimed_at_ms, entry })
    };
    fields.chunks_exact(2).map(claim).collect()
}

/// The time and the entry of a claim, from the value of a holder's field. The rest of the value is not read.
fn grant(value: &str) -> Result<(u64, EntryId), KvError> {
    let entry = value.split_once(':').and_then(|(_seq, rest)| rest.split_once(':'));
    let (entry, _activity) = entry.ok_or(KvError::Unreadable)?;
    HolderField::parse_entry(entry)
}

fn page<T>(
    reply: &ScriptReply,
    parts: usize,
    item: impl Fn(&ScriptReply, usize) -> Result<T, KvError>,
) -> Loaded<Vec<T>> {
    match reply.word() {
        "page" => (0..reply.parts() / parts).map(|n| item(reply, 1 + n * parts)).collect::<Result<_, _>>().map(Some),
        "not-loaded" => Ok(None),
        _ => Err(KvError::Unreadable),
    }
}
