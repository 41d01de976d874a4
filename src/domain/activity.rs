//! A sale of a coupon: when, how many, how fast, and how many each.

use std::fmt;

use super::{ActivityId, ActivityName, CouponId, CouponName, Nth, UserName};

/// When an activity sells: from `start` on, and no longer at `end`. Whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: u64,
    end: u64,
}

/// What its owner has declared an activity to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Normal,
    Disabled,
    SoldOut,
}

/// The share of attempts that are let through, in millionths: 0 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

/// What an activity is made of, as its owner states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub name: ActivityName,
    pub window: Window,
    /// Claims in this activity; 0: the coupon's whole amount.
    pub total: u32,
    pub status: Status,
    /// Claims in a whole second of Redis' clock, over all instances; 0: no limit.
    pub speed: u32,
    /// Claims of one user of the coupon, over all its activities: 1 to [`Terms::BUY_LIMIT_MAX`].
    pub buy_limit: Nth,
    pub buy_rate: Rate,
}

/// A sale of a coupon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub id: ActivityId,
    pub coupon: CouponId,
    pub terms: Terms,
}

/// All activities of a coupon, as of one revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub coupon: CouponId,
    pub saler: UserName,
    pub name: CouponName,
    /// The coupon's revision that last changed one of them.
    pub revision: u64,
    /// By start; those that are not disabled do not overlap.
    activities: Vec<Activity>,
}

/// Where a moment lies, seen from a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    Within,
    Over,
}

impl Window {
    /// The last second of the year 9999: the end of what others can write as a date.
    pub const SECONDS_MAX: u64 = 253_402_300_799;

    /// `None` where the end is not after the start, or after [`Window::SECONDS_MAX`].
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end && end <= Self::SECONDS_MAX).then_some(Self { start, end })
    }

    pub const fn start(self) -> u64 {
        self.start
    }

    pub const fn end(self) -> u64 {
        self.end
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Where the moment `now_ms`, in milliseconds since 1970, lies.
    pub fn phase(self, now_ms: u64) -> Phase {
        if now_ms < self.start * 1_000 {
            Phase::Before
        } else if now_ms < self.end * 1_000 {
            Phase::Within
        } else {
            Phase::Over
        }
    }
}

impl Status {
    /// By the wire's number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Normal, Self::Disabled, Self::SoldOut].into_iter().find(|status| u64::from(status.number()) == number)
    }

    /// The wire's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Disabled => 1,
            Self::SoldOut => 2,
        }
    }
}

impl Rate {
    const WHOLE: u32 = 1_000_000;
    /// Everybody is let through.
    pub const ALL: Self = Self(Self::WHOLE);

    /// `None` outside 0 to 1, and for what is not a number. Rounded to the nearest millionth.
    pub fn new(share: f64) -> Option<Self> {
        // A share in range gives 0 to a million, which a u32 holds exactly.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..=1.0).contains(&share).then(|| Self((share * f64::from(Self::WHOLE)).round() as u32))
    }

    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// Whether an attempt that drew `random`, any number with equal chance, is let through.
    ///
    /// Unbiased to within 2^-32: the draw is scaled, not reduced.
    pub fn lets_through(self, random: u32) -> bool {
        u64::from(random) * u64::from(Self::WHOLE) < u64::from(self.0) << 32
    }
}

/// As the wire writes it: two digits, or as many more as it takes, up to six.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}.{:06}", self.0 / Self::WHOLE, self.0 % Self::WHOLE);
        let shortest = digits.trim_end_matches('0').len();
        f.write_str(&digits[..shortest.max("0.00".len())])
    }
}

impl Terms {
    pub const BUY_LIMIT_MAX: Nth = 100;

    /// Whether a coupon cannot have two such activities: both sell, and at the same time.
    pub fn excludes(&self, other: &Self) -> bool {
        let sells = |terms: &Self| terms.status != Status::Disabled;
        sells(self) && sells(other) && self.window.overlaps(other.window)
    }
}

impl Schedule {
    pub fn new(
        coupon: CouponId,
        saler: UserName,
        name: CouponName,
        revision: u64,
        mut activities: Vec<Activity>,
    ) -> Self {
        activities.sort_by_key(|activity| (activity.terms.window.start, activity.id));
        Self { coupon, saler, name, revision, activities }
    }

    pub fn activities(&self) -> &[Activity] {
        &self.activities
    }

    /// The same with `activity` in the place of the one of its id, or added; `None` where it would overlap with another.
    pub fn with(&self, activity: &Activity) -> Option<Self> {
        let mut activities = self.activities.clone();
        activities.retain(|other| other.id != activity.id);
        if activities.iter().any(|other| other.terms.excludes(&activity.terms)) {
            return None;
        }
        activities.push(activity.clone());
        Some(Self::new(self.coupon, self.saler.clone(), self.name.clone(), self.revision, activities))
    }

    /// The activity that decides at `now_ms`: the one under way, else the next, else the last. A disabled one decides only
    /// where there is no other.
    pub fn at(&self, now_ms: u64) -> Option<&Activity> {
        let decides = |activity: &&Activity| activity.terms.status != Status::Disabled;
        let first_not_over = |activity: &&Activity| activity.terms.window.phase(now_ms) != Phase::Over;
        let all = || self.activities.iter();
        all()
            .filter(decides)
            .find(first_not_over)
            .or_else(|| all().find(first_not_over))
            .or_else(|| all().rev().find(decides))
            .or_else(|| self.activities.last())
    }
}
