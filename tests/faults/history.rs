//! The events of a run in order: attempts and answers, faults, changes, and samples of Redis and MySQL.
//!
//! Events are written as JSON lines during the run, so that a hanging or killed run leaves a history too. A lock orders
//! the events: an answer recorded before a request had arrived before the request was sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use couponrush::base::now_ms;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub type Coupon = u64;
pub type User = u64;
/// A number of an attempt, a change or a fault. Counted from 1.
pub type Number = u64;

/// The reason of an unknown outcome after the customer hung up.
pub const NO_ANSWER: &str = "no answer";

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds since the run began, by a monotonic clock.
    pub at_us: u64,
    /// Milliseconds since 1970, by the machine's clock, shared with Redis.
    pub wall_ms: u64,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A coupon exists and can be claimed outside activities.
    Coupon {
        coupon: Coupon,
        amount: u32,
        /// Histories of earlier suites have no shards.
        #[serde(default)]
        shard: usize,
    },
    /// A request is about to be sent. `nth` is the `Claim-Nth` header.
    Invoke {
        attempt: Number,
        instance: usize,
        user: User,
        coupon: Coupon,
        nth: Option<u8>,
    },
    /// 201: a unit is granted.
    Claimed {
        attempt: Number,
        claim: Claim,
    },
    /// 204 `already-claimed`: the user holds the claim.
    Already {
        attempt: Number,
        claim: Claim,
    },
    /// The answer promised that MySQL has the attempt's claim. `found` tells whether MySQL had the row right afterwards.
    /// `None` if MySQL did not answer.
    Stored {
        attempt: Number,
        found: Option<bool>,
    },
    /// The attempt is refused.
    Refused {
        attempt: Number,
        reason: String,
    },
    /// The answer says that nothing happened.
    Nothing {
        attempt: Number,
        code: String,
    },
    /// The outcome is unknown: no answer, a broken connection, or `unknown-outcome`.
    Unknown {
        attempt: Number,
        why: String,
    },
    /// The change may be in force from now on.
    ChangeBegins {
        change: Number,
        coupon: Coupon,
        to: Change,
    },
    /// The outcome of the change: in force, refused, or unknown.
    ChangeEnds {
        change: Number,
        outcome: Outcome,
    },
    /// An instance is cut off together with the primary of a shard. Customers still reach the instance.
    CutOff {
        instance: usize,
        shard: usize,
    },
    FaultBegins {
        fault: Number,
        name: String,
    },
    /// The fault is over. From now on sales must resume without help.
    FaultEnds {
        fault: Number,
    },
    /// From now on the clock of Redis may be ahead of the machine's clock by this, in ms.
    ClockSteps {
        ahead_ms: i64,
    },
    /// The clock has stepped. Instances know it a second later.
    ClockStepped,
    /// All faults are healed. From now on customers ask for more units than are left.
    Healed,
    Sample(Sample),
}

/// A claim as its `Claim-Token` proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    pub seq: u32,
    pub nth: u8,
    pub activity: u32,
    pub claimed_at_ms: u64,
}

/// A change by a saler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Amount(u32),
    Sale(Sale),
    /// The coupon leaves Redis, or comes back.
    Archived(bool),
}

/// The terms of a coupon's only activity. Times in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub start: u64,
    pub end: u64,
    /// 0: no total besides the coupon's amount.
    pub total: u32,
    /// Claims a second. 0: no limit.
    pub speed: u32,
    pub buy_limit: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    Refused,
    Unknown,
}

/// The contents of the stores, nearly at the same time. `None` for a store without an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub redis: Option<RedisCounts>,
    pub mysql: Option<MysqlCounts>,
    /// The ledgers of the instances that answered.
    pub backlogs: Vec<Backlog>,
}

/// The number of claims waiting in an instance's ledger, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    pub waiting: u64,
    pub max: u64,
}

/// Read in a Redis transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisCounts {
    pub live: String,
    pub outbox: u64,
    #[serde(deserialize_with = "by_text")]
    pub coupons: BTreeMap<Coupon, CouponInRedis>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponInRedis {
    pub amount: u32,
    pub claimed: u32,
    pub holes: u32,
}

/// Read in a MySQL snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlCounts {
    #[serde(deserialize_with = "by_text")]
    pub coupons: BTreeMap<Coupon, CouponInMysql>,
    pub poisoned: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CouponInMysql {
    pub amount: u32,
    pub left: i64,
    pub rows: u32,
    pub highest: u32,
    /// The highest number of claims of a user.
    pub most_held: u32,
}

/// Records events in memory and in a file.
pub struct Recorder {
    began: Instant,
    inner: Mutex<(Vec<Event>, BufWriter<File>)>,
}

impl Recorder {
    pub fn new(path: &Path) -> Self {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { began: Instant::now(), inner: Mutex::new((Vec::new(), BufWriter::new(file))) }
    }

    /// Records an event with the current time.
    pub fn note(&self, kind: EventKind) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let at_us = u64::try_from(self.began.elapsed().as_micros()).expect("no run takes 500,000 years");
        let event = Event { at_us, wall_ms: now_ms(), kind };
        let line = serde_json::to_string(&event).expect("an event is JSON");
        writeln!(inner.1, "{line}").expect("the history can be written");
        inner.0.push(event);
    }

    /// All events so far. Flushes the file.
    pub fn events(&self) -> Vec<Event> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.flush().expect("the history can be written");
        inner.0.clone()
    }
}

/// Reads a map with numbers written as text for keys, as in JSON. Inside a tagged enum, serde does not convert the
/// keys.
fn by_text<'de, D: Deserializer<'de>, V: Deserialize<'de>>(from: D) -> Result<BTreeMap<Coupon, V>, D::Error> {
    let map = BTreeMap::<String, V>::deserialize(from)?;
    map.into_iter().map(|(key, value)| Ok((key.parse().map_err(D::Error::custom)?, value))).collect()
}
