//! What happened in a run, in the order in which it happened: what clients asked and were told, what was broken and changed,
//! and what Redis and MySQL held meanwhile.
//!
//! Written as JSON lines while the run goes on, so that a run that hangs or is killed leaves its history too. The order
//! of events is that of one lock: an answer recorded before a question was there before it was asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use couponrush::now_ms;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub type Coupon = u64;
pub type User = u64;
/// Counts attempts, changes and faults, each from 1.
pub type Number = u64;

/// Why an outcome is unknown where the customer hung up.
pub const NO_ANSWER: &str = "no answer";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Since the run began, by a clock that never steps.
    pub at_us: u64,
    /// Since 1970, by the machine's clock, which is also that of Redis.
    pub wall_ms: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A coupon is there, and can be claimed outside activities.
    Coupon {
        coupon: Coupon,
        amount: u32,
    },
    /// A request is about to be sent. `nth`: the `Claim-Nth` with it.
    Invoke {
        attempt: Number,
        instance: usize,
        user: User,
        coupon: Coupon,
        nth: Option<u8>,
    },
    /// 201: a unit was granted.
    Claimed {
        attempt: Number,
        claim: Claim,
    },
    /// The user was told that he has this claim.
    Already {
        attempt: Number,
        claim: Claim,
    },
    /// The user was refused, and why.
    Refused {
        attempt: Number,
        reason: String,
    },
    /// The answer says that nothing has happened.
    Nothing {
        attempt: Number,
        code: String,
    },
    /// Nobody can tell: no answer, a broken connection, or `unknown-outcome`.
    Unknown {
        attempt: Number,
        why: String,
    },
    /// From here on a change may be in force.
    ChangeBegins {
        change: Number,
        coupon: Coupon,
        to: Change,
    },
    /// From here on it is in force, or not, or nobody can tell.
    ChangeEnds {
        change: Number,
        outcome: Outcome,
    },
    FaultBegins {
        fault: Number,
        name: String,
    },
    /// The fault is over; from here on sales must resume by themselves.
    FaultEnds {
        fault: Number,
    },
    /// Everything is healed, and asked for more than there is.
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

/// What a saler changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Amount(u32),
    Sale(Sale),
}

/// The terms of a coupon's only activity. Times in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub start: u64,
    pub end: u64,
    /// 0: the coupon's whole amount.
    pub total: u32,
    /// Claims in a second; 0: no limit.
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

/// What the stores held at one moment each; `None` where one did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub redis: Option<RedisCounts>,
    pub mysql: Option<MysqlCounts>,
    /// Of each instance that answered.
    pub backlogs: Vec<Backlog>,
}

/// Claims that wait in one instance, and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    pub waiting: u64,
    pub max: u64,
}

/// Read in one transaction of Redis.
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

/// Read in one snapshot of MySQL.
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
    /// Claims of the user who has the most.
    pub most_held: u32,
}

/// Writes events down, in memory and as lines of a file.
pub struct Recorder {
    began: Instant,
    inner: Mutex<(Vec<Event>, BufWriter<File>)>,
}

impl Recorder {
    pub fn new(path: &Path) -> Self {
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { began: Instant::now(), inner: Mutex::new((Vec::new(), BufWriter::new(file))) }
    }

    /// Writes down that this happens now.
    pub fn note(&self, what: What) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let at_us = u64::try_from(self.began.elapsed().as_micros()).expect("no run takes 500,000 years");
        let event = Event { at_us, wall_ms: now_ms(), what };
        let line = serde_json::to_string(&event).expect("an event is JSON");
        writeln!(inner.1, "{line}").expect("the history can be written");
        inner.0.push(event);
    }

    /// All that happened so far; the file has it too.
    pub fn events(&self) -> Vec<Event> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.flush().expect("the history can be written");
        inner.0.clone()
    }
}

/// A map whose keys are texts, as all of JSON's are: inside of an event serde does not make numbers of them by itself.
fn by_text<'de, D: Deserializer<'de>, V: Deserialize<'de>>(from: D) -> Result<BTreeMap<Coupon, V>, D::Error> {
    let map = BTreeMap::<String, V>::deserialize(from)?;
    map.into_iter().map(|(key, value)| Ok((key.parse().map_err(D::Error::custom)?, value))).collect()
}
