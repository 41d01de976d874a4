//! The contents of Redis and MySQL: counts during a run, all data at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use couponrush::domain::{ActivityId, CouponId, ShardId};
use couponrush::redis::Keys;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use crate::history::{Claim, Coupon, CouponInRedis, MysqlCounts, RedisCounts, User};
use crate::servers::{START_WAIT, Whereabouts};

const WAIT: Duration = Duration::from_secs(2);

/// A claim with coupon and user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    pub coupon: Coupon,
    pub user: User,
    #[serde(flatten)]
    pub claim: Claim,
}

/// The contents of both stores at the end of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    pub redis: InRedis,
    pub mysql: InMysql,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InRedis {
    pub counts: RedisCounts,
    /// The claims held by users.
    pub rows: Vec<Row>,
    /// The `sold` counts of the coupons' activities.
    pub sold: BTreeMap<Coupon, u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InMysql {
    pub counts: MysqlCounts,
    pub rows: Vec<Row>,
    /// The claim and the reason, as a line.
    pub poisoned: Vec<String>,
}

/// The keys of each of the first `shards` shards.
pub fn keys(shards: usize) -> Vec<Keys> {
    (0..shards).filter_map(ShardId::new).map(|shard| Keys::new("cr:", shard)).collect()
}

/// The shard of a coupon. Coupons are made one after the other, and each goes to the shard with the fewest.
pub fn shard_of(shards: usize, coupon: Coupon) -> usize {
    usize::try_from(coupon - 1).expect("a few coupons") % shards
}

/// The coupons of a shard.
fn coupons_of(shards: usize, shard: usize, coupons: &[Coupon]) -> impl Iterator<Item = Coupon> + '_ {
    coupons.iter().copied().filter(move |coupon| shard_of(shards, *coupon) == shard)
}

/// Adds the counts of a shard at a single moment. `None` if the primary of the shard does not answer in time.
async fn count_shard(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    coupons: &[Coupon],
    counts: &mut RedisCounts,
) -> Option<()> {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("GET").arg(keys.live()).cmd("XLEN").arg(keys.outbox());
    for coupon in coupons {
        let coupon = CouponId(*coupon);
        pipeline.cmd("HMGET").arg(keys.coupon(coupon)).arg("amount").arg("claimed");
        pipeline.cmd("LLEN").arg(keys.holes(coupon));
    }
    let replies = tokio::time::timeout(WAIT, pipeline.query_async::<Vec<redis::Value>>(connection)).await.ok()?.ok()?;
    let mut replies = replies.into_iter();
    let live: Option<String> = redis::from_redis_value(replies.next()?).ok()?;
    counts.live.push_str(&format!("{} ", live.unwrap_or_default()));
    counts.outbox += redis::from_redis_value::<u64>(replies.next()?).ok()?;
    for coupon in coupons {
        let (amount, claimed): (Option<u32>, Option<u32>) = redis::from_redis_value(replies.next()?).ok()?;
        let holes = redis::from_redis_value(replies.next()?).ok()?;
        if let (Some(amount), Some(claimed)) = (amount, claimed) {
            counts.coupons.insert(*coupon, CouponInRedis { amount, claimed, holes });
        }
    }
    Some(())
}

/// Counts of the shards whose primaries answer in time, each at a single moment. `None` if no primary answers.
pub async fn count(
    whereabouts: &Whereabouts,
    shards: usize,
    coupons: &[Coupon],
    wait: Duration,
) -> Option<RedisCounts> {
    let (mut counts, mut answered) = (RedisCounts::default(), false);
    for (shard, keys) in keys(shards).iter().enumerate() {
        let coupons: Vec<Coupon> = coupons_of(shards, shard, coupons).collect();
        if let Some(mut connection) = whereabouts.connect(shard, wait).await {
            answered |= count_shard(&mut connection, keys, &coupons, &mut counts).await.is_some();
        }
    }
    answered.then_some(counts)
}

/// All claims of `coupons` in Redis. The primaries of all shards must be available.
pub async fn read_all(whereabouts: &Whereabouts, shards: usize, coupons: &[Coupon]) -> InRedis {
    let mut all = InRedis::default();
    for (shard, keys) in keys(shards).iter().enumerate() {
        let mut connection = whereabouts.connect(shard, START_WAIT).await.expect("the primary of the shard answers");
        let coupons: Vec<Coupon> = coupons_of(shards, shard, coupons).collect();
        count_shard(&mut connection, keys, &coupons, &mut all.counts).await.expect("the primary of the shard answers");
        read_holders(&mut connection, keys, &mut all.rows).await;
        for coupon in coupons {
            // In the suite an activity has the id of its coupon.
            let activity = ActivityId(u32::try_from(coupon).expect("a few coupons"));
            let mut read = redis::cmd("HGET");
            read.arg(keys.activity(activity)).arg("sold");
            let count: Option<u32> = read.query_async(&mut connection).await.expect("Redis answers");
            all.sold.extend(count.map(|count| (coupon, count)));
        }
    }
    all.rows.retain(|row: &Row| coupons.contains(&row.coupon));
    all.rows.sort_unstable();
    all.rows.dedup();
    all
}

/// Adds the claims of all holders of a shard.
async fn read_holders(connection: &mut MultiplexedConnection, keys: &Keys, rows: &mut Vec<Row>) {
    let pattern = keys.holder_pattern();
    let mut cursor = 0_u64;
    let begin = pattern.trim_end_matches('*');
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000);
        let (next, found): (u64, Vec<String>) = scan.query_async(connection).await.expect("Redis answers");
        let mut pipeline = redis::pipe();
        for key in &found {
            pipeline.cmd("HGETALL").arg(key);
        }
        // A page of a scan may have no key, and an empty pipeline is an error.
        let held: Vec<BTreeMap<String, String>> = match found.is_empty() {
            true => Vec::new(),
            false => pipeline.query_async(connection).await.expect("Redis answers"),
        };
        for (key, held) in found.iter().zip(held) {
            let user = key.strip_prefix(begin).and_then(|id| id.parse().ok()).expect("a holder's key names its user");
            rows.extend(held.iter().map(|(field, value)| row(user, field, value)));
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
}

/// Parses a holder's field: `coupon` or `coupon:nth`, with the value `seq:entry:activity` or `seq:entry@time:activity`.
fn row(user: User, field: &str, value: &str) -> Row {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{field}: {value} is no claim"));
    let (coupon, nth) = field.split_once(':').unwrap_or((field, "1"));
    let parts: Vec<&str> = value.split(':').collect();
    let [seq, entry, activity] = parts[..] else { panic!("{field}: {value} is no claim") };
    let (id, time) = entry.split_once('@').map_or((entry, None), |(id, time)| (id, Some(time)));
    let claimed_at_ms = number(time.or_else(|| id.split('-').next()).unwrap_or_default());
    let small = |text| u32::try_from(number(text)).expect("a seq or an activity");
    let nth = u8::try_from(number(nth)).expect("a limit is at most 100");
    Row {
        coupon: number(coupon),
        user,
        claim: Claim { seq: small(seq), nth, activity: small(activity), claimed_at_ms },
    }
}
