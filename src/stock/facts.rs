//! What coupons and activities are at one moment, for those who decide by it.

use std::time::Duration;

use redis::Value;

use super::{Loaded, Stock};
use crate::domain::{ActivityId, CouponId};
use crate::kv::{Connection, KvError, Live};

/// What a coupon is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub revision: u64,
    pub activity_revision: u64,
    pub amount: u32,
    /// The highest seq handed out, and how many below it nobody has.
    pub claimed: u32,
    pub holes: u32,
    pub scheduled: bool,
}

/// The fields of a coupon's hash that [`Stock::facts`] asks for.
type CouponFields = (Option<u64>, Option<u64>, Option<u32>, Option<u32>, Option<u8>);

impl Stock {
    /// What each of these coupons is; `None` for one that is not here.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn facts(
        &self,
        connection: &Connection,
        live: &Live,
        coupons: &[CouponId],
        wait: Duration,
    ) -> Loaded<Vec<Option<Facts>>> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        // What comes between two equal values of `live` is of that loading: it never holds the same value twice.
        pipeline.cmd("GET").arg(keys.live());
        for coupon in coupons {
            let fields = ["revision", "activity_revision", "amount", "claimed", "scheduled"];
            pipeline.cmd("HMGET").arg(keys.coupon(*coupon)).arg(&fields);
            pipeline.cmd("LLEN").arg(keys.holes(*coupon));
        }
        pipeline.cmd("GET").arg(keys.live());
        let mut replies = connection.call_all(&pipeline, wait).await?.into_iter();
        let is_live =
            |reply: Option<Value>| Ok::<_, KvError>(parse::<Option<String>>(reply)?.as_deref() == Some(live.as_str()));
        if !is_live(replies.next())? {
            return Ok(None);
        }
        let mut facts = Vec::with_capacity(coupons.len());
        for _ in coupons {
            let (revision, activity_revision, amount, claimed, scheduled): CouponFields = parse(replies.next())?;
            let holes = parse(replies.next())?;
            let of = |revision, amount, claimed| Facts {
                revision,
                activity_revision: activity_revision.unwrap_or(0),
                amount,
                claimed,
                holes,
                scheduled: scheduled == Some(1),
            };
            facts.push(
                revision.zip(amount).zip(claimed).map(|((revision, amount), claimed)| of(revision, amount, claimed)),
            );
        }
        Ok(is_live(replies.next())?.then_some(facts))
    }

    /// Claims that an activity has sold.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn sold(&self, connection: &Connection, activity: ActivityId, wait: Duration) -> Result<u32, KvError> {
        let reply = connection.call(redis::cmd("HGET").arg(self.keys.activity(activity)).arg("sold"), wait).await?;
        Ok(parse::<Option<u32>>(Some(reply))?.unwrap_or(0))
    }
}

fn parse<T: redis::FromRedisValue>(reply: Option<Value>) -> Result<T, KvError> {
    redis::from_redis_value(reply.ok_or(KvError::Unreadable)?).map_err(|_| KvError::Unreadable)
}
