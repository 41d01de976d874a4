//! Activities: sales of a coupon with a window, a total, a quota per second and a limit per user.

use std::fmt;

use super::{ActivityId, ActivityName, Conditions, CouponId, CouponName, Nth, UserName};

/// The time of an activity, from `start` inclusive to `end` exclusive, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start: u64,
    end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Normal,
    Disabled,
    SoldOut,
}

/// Probability that the draw admits an attempt, in millionths: 0 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

/// The terms of an activity, set by its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub name: ActivityName,
    pub window: Window,
    /// Maximum claims in the activity. 0 means the coupon's whole amount.
    pub total: u32,
    pub status: Status,
    /// Maximum claims in a second of Redis' clock, over all instances. 0 means no limit.
    pub speed: u32,
    /// Maximum claims of a user and coupon over all activities: 1 to [`Terms::BUY_LIMIT_MAX`].
    pub buy_limit: Nth,
    pub buy_rate: Rate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub id: ActivityId,
    pub coupon: CouponId,
    pub terms: Terms,
    pub conditions: Conditions,
}

/// All activities of a coupon at one revision of the coupon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub coupon: CouponId,
    pub saler: UserName,
    pub name: CouponName,
    /// Whether an admin has approved the saler.
    pub is_approved: bool,
    /// Revision of the coupon at the last change of an activity.
    pub revision: u64,
    /// Sorted by start. Activities that are not disabled do not overlap.
    activities: Vec<Activity>,
}

/// Position of a moment relative to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    Within,
    Over,
}

impl Window {
    /// The last second of the year 9999, the latest date that common formats can write.
    pub const SECONDS_MAX: u64 = 253_402_300_799;

    /// Returns `None` if `end` is not after `start`, or is after [`Window::SECONDS_MAX`].
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

    /// The phase at `now_ms`, in milliseconds since 1970.
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
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Normal, Self::Disabled, Self::SoldOut].into_iter().find(|status| u64::from(status.number()) == number)
    }

    /// The number on the wire.
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
    /// Every attempt is admitted.
    pub const ALL: Self = Self(Self::WHOLE);

    /// Rounds `share` to the nearest millionth. Returns `None` outside 0 to 1, and for NaN.
    pub fn new(share: f64) -> Option<Self> {
        // A share in range gives 0 to 1,000,000. A u32 holds the value exactly.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (0.0..=1.0).contains(&share).then(|| Self((share * f64::from(Self::WHOLE)).round() as u32))
    }

    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// Whether the draw admits an attempt. `random` must be uniform. Unbiased to within 2^-32, by scaling the draw.
    pub fn lets_through(self, random: u32) -> bool {
        u64::from(random) * u64::from(Self::WHOLE) < u64::from(self.0) << 32
    }
}

/// The format on the wire: at least two decimal places, at most six.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{}.{:06}", self.0 / Self::WHOLE, self.0 % Self::WHOLE);
        let shortest = digits.trim_end_matches('0').len();
        f.write_str(&digits[..shortest.max("0.00".len())])
    }
}

impl Terms {
    pub const BUY_LIMIT_MAX: Nth = 100;

    /// Whether both activities would sell at the same time, which is not allowed for a coupon.
    pub fn excludes(&self, other: &Self) -> bool {
        let sells = |terms: &Self| terms.status != Status::Disabled;
        sells(self) && sells(other) && self.window.overlaps(other.window)
    }
}

impl Activity {
    /// Whether conditions decide about an attempt at `now_ms`, in milliseconds since 1970. An activity that is stopped or over
    /// refuses for that reason.
    pub fn is_conditional(&self, now_ms: u64) -> bool {
        !self.conditions.is_none()
            && self.terms.status == Status::Normal
            && self.terms.window.phase(now_ms) != Phase::Over
    }
}

impl Schedule {
    /// The schedule of a saler who is not approved.
    pub fn new(
        coupon: CouponId,
        saler: UserName,
        name: CouponName,
        revision: u64,
        mut activities: Vec<Activity>,
    ) -> Self {
        activities.sort_by_key(|activity| (activity.terms.window.start, activity.id));
        Self { coupon, saler, name, is_approved: false, revision, activities }
    }

    /// The schedule without its activities.
    pub fn emptied(&self) -> Self {
        Self { activities: Vec::new(), ..self.clone() }
    }

    pub fn activities(&self) -> &[Activity] {
        &self.activities
    }

    /// Whether an activity that is not disabled is current, begins within `early_ms`, or has ended less than `late_ms` ago.
    pub fn is_near(&self, now_ms: u64, early_ms: u64, late_ms: u64) -> bool {
        self.activities.iter().any(|Activity { terms, .. }| {
            terms.status != Status::Disabled
                && terms.window.start * 1_000 <= now_ms + early_ms
                && now_ms < terms.window.end * 1_000 + late_ms
        })
    }

    /// A copy of the schedule with `activity` added, or replaced if the id exists. Returns `None` if `activity` would
    /// overlap with another activity.
    pub fn with(&self, activity: &Activity) -> Option<Self> {
        let mut activities = self.activities.clone();
        activities.retain(|other| other.id != activity.id);
        if activities.iter().any(|other| other.terms.excludes(&activity.terms)) {
            return None;
        }
        activities.push(activity.clone());
        let new = Self::new(self.coupon, self.saler.clone(), self.name.clone(), self.revision, activities);
        Some(Self { is_approved: self.is_approved, ..new })
    }

    /// The activity that decides at `now_ms`: the current activity, else the next, else the last. A disabled activity
    /// decides only if there is no current or coming activity that sells.
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
