//! Claims and refusals: the outcomes of an attempt.

use std::fmt;
use std::str::FromStr;

use super::{ActivityId, CouponId, Epoch, UserId};

/// Number of a unit within a coupon: 1..=amount, without gaps once all units are sold (I5).
pub type Seq = u32;
/// Number of a claim among the claims of a user and coupon: 1..=limit.
pub type Nth = u8;

/// Id of an outbox entry, given by Redis. Claims of one batch share an entry. Ids only grow.
///
/// The id is not a time. Its milliseconds are from Redis' clock, unless the clock was set back or somebody has added an
/// entry from the future. Then only the counter grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub ms: u64,
    pub counter: u64,
}

/// A granted unit. All fields are integers, so MySQL never refuses a row because of invalid content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub coupon: CouponId,
    pub user: UserId,
    pub entry: EntryId,
    pub seq: Seq,
    pub activity: ActivityId,
    pub epoch: Epoch,
    pub nth: Nth,
    /// Time of the grant, in milliseconds since 1970 by Redis' clock.
    pub claimed_at_ms: u64,
}

impl Claim {
    /// Whether two claims are one grant. Entry and epoch may differ, because a claim loaded again after a loss of Redis
    /// gets a new entry and a new epoch.
    pub fn is_same_grant(&self, other: &Self) -> bool {
        (self.coupon, self.seq, self.user, self.nth) == (other.coupon, other.seq, other.user, other.nth)
    }

    /// Parses the field of an outbox entry: claims separated by spaces. An invalid part is returned as text.
    pub fn parse_entry(entry: EntryId, text: &str) -> Vec<Result<Self, String>> {
        text.split(' ').map(|part| Self::parse(entry, part).map_err(|_| part.to_owned())).collect()
    }

    /// The text in an outbox entry, in the format of [`Claim::parse`].
    pub fn to_text(&self) -> String {
        let Self { coupon, user, seq, nth, activity, epoch, claimed_at_ms, .. } = self;
        let time = if *claimed_at_ms == self.entry.ms { String::new() } else { format!(":{claimed_at_ms}") };
        format!("{coupon}:{user}:{seq}:{nth}:{activity}:{epoch}{time}")
    }

    /// Parses one claim of an outbox entry, as `lua/claim.lua` writes it: `coupon:user:seq:nth:activity:epoch`, and
    /// `:time` in milliseconds if the entry's id is in another second.
    ///
    /// # Errors
    /// [`ClaimError`] if a part is missing, is not a number of the right type, or is an invalid 0.
    pub fn parse(entry: EntryId, text: &str) -> Result<Self, ClaimError> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(ClaimError);
        let mut claim = Self {
            coupon: CouponId(number(next()?)?),
            user: UserId(number(next()?)?),
            seq: number(next()?)?,
            nth: number(next()?)?,
            activity: ActivityId(number(next()?)?),
            epoch: Epoch(number(next()?)?),
            entry,
            claimed_at_ms: entry.ms,
        };
        if let Some(time) = parts.next() {
            claim.claimed_at_ms = number(time)?;
        }
        let complete = parts.next().is_none();
        let counted = claim.coupon.0 > 0 && claim.user.0 > 0 && claim.seq > 0 && claim.nth > 0;
        (complete && counted).then_some(claim).ok_or(ClaimError)
    }
}

/// Why an attempt was granted no unit, decided by the look-up, by memory or by the script. No state has changed. Asking
/// again is a new attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All units are claimed, or the saler has declared the activity sold out.
    SoldOut,
    /// The saler has no coupon of this name.
    NoSuchCoupon,
    /// A scheduled coupon without an activity.
    NotOnSale,
    /// The activity is disabled.
    Disabled,
    NotStarted,
    Ended,
    /// The draw was lost, or the quota of the second is used up.
    TryAgain,
    /// The user registered too late for the activity.
    NotEligible,
    /// The activity asks for a ticket, and the attempt had no valid one.
    TicketRequired,
    /// The network of the user has as many claims as it may have.
    NetworkLimit,
}

/// The text of an outbox entry or a holder is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a claim")]
pub struct ClaimError;

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.counter)
    }
}

impl FromStr for EntryId {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let (ms, counter) = text.split_once('-').ok_or(ClaimError)?;
        Ok(Self { ms: number(ms)?, counter: number(counter)? })
    }
}

/// Parses an unsigned number, digits only. `str::parse` would also accept a plus sign.
fn number<T: FromStr>(text: &str) -> Result<T, ClaimError> {
    if text.starts_with('+') {
        return Err(ClaimError);
    }
    text.parse().map_err(|_| ClaimError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_reads_back_as_it_was_written(
            (coupon, user, seq, nth) in (1..u64::MAX, 1..u64::MAX, 1..u32::MAX, 1..=100_u8),
            (activity, epoch, ms, counter) in any::<(u32, u32, u64, u64)>(),
            time in any::<u64>(),
        ) {
            let entry = EntryId { ms, counter };
            prop_assert_eq!(entry.to_string().parse(), Ok(entry));
            let text = format!("{coupon}:{user}:{seq}:{nth}:{activity}:{epoch}");
            let claim = Claim::parse(entry, &text);
            prop_assert_eq!(claim, Ok(Claim {
                coupon: CouponId(coupon), user: UserId(user), entry, seq,
                activity: ActivityId(activity), epoch: Epoch(epoch), nth, claimed_at_ms: ms,
            }));
            prop_assert_eq!(claim.map(|claim| claim.to_text()), Ok(text.clone()));
            let text = if time == ms { text } else { format!("{text}:{time}") };
            let claim = Claim::parse(entry, &text);
            prop_assert_eq!(claim.map(|claim| claim.claimed_at_ms), Ok(time));
            prop_assert_eq!(claim.map(|claim| claim.to_text()), Ok(text));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Claim::parse(EntryId { ms: 1, counter: 0 }, &text);
            let _ = text.parse::<EntryId>();
        }
    }

    #[test]
    fn an_entry_is_read_claim_by_claim_whatever_its_neighbours_are() {
        let entry = EntryId { ms: 1, counter: 0 };
        let read = |text| Claim::parse_entry(entry, text).into_iter().map(|part| part.map(|claim| claim.to_text()));
        let text = |text: &str| text.to_owned();
        let read = |text| read(text).collect::<Vec<_>>();
        assert_eq!(read("1:2:3:1:0:1"), [Ok(text("1:2:3:1:0:1"))]);
        assert_eq!(
            read("1:2:3:1:0:1 nonsense 1:3:4:1:0:1"),
            [Ok(text("1:2:3:1:0:1")), Err(text("nonsense")), Ok(text("1:3:4:1:0:1"))]
        );
        assert_eq!(read(""), [Err(text(""))]);
    }

    #[test]
    fn what_is_not_a_claim_is_refused() {
        let entry = EntryId { ms: 1, counter: 0 };
        for text in [
            "",
            "1",
            "1:2:3:1:0",
            "1:2:3:1:0:1:",
            "1:2:3:1:0:1:x",
            "1:2:3:1:0:1:1:1",
            "+1:2:3:1:0:1",
            "0:2:3:1:0:1",
            "1:2:0:1:0:1",
            "1:2:3:0:0:1",
            "1:2:3:256:0:1",
            "a:2:3:1:0:1",
        ] {
            assert_eq!(Claim::parse(entry, text), Err(ClaimError), "{text:?}");
        }
    }
}
