//! Units in Redis: publish a coupon, claim a unit, list what is offered and held.
//!
//! What changes anything is one script: atomic, and it compares the loading of the shard. Attempts that leave together are one
//! call of it. What only reads may be plain commands with a look at the loading behind them.
//! Deliberately knows nothing of MySQL: who calls it decides what is published and where a claim goes next.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::{Activity, ActivityId, Claim, Coupon, CouponId, EntryId, Epoch, Nth, Refusal, Seq, UserId};
use redis::Cmd;

use super::{
    ActivityArguments, Calls, ClaimArguments, ClaimQuestion, Connection, Keys, KvError, Live, Script, ScriptReply,
};

/// How far Redis' clock may have been measured wrong before a claim is refused as too late: what an unknown outcome may
/// be applied after its deadline.
const NOT_AFTER_GRACE_MS: u64 = 100;

/// The shard's scripts, bound to its keys.
#[derive(Debug, Clone)]
pub struct Stock {
    pub(super) keys: Keys,
    outbox_max: u32,
}

/// An attempt at a unit, with what its caller knows of the coupon's activities.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub coupon: CouponId,
    pub user: UserId,
    /// Which of his claims the user means to hold after this: where he holds it, nothing is taken. `None`: one more.
    pub nth: Option<Nth>,
    /// The revision of the activities that are known; 0: none.
    pub activity_revision: u64,
    /// The activity that decides, where the coupon turns out to be scheduled.
    pub activity: Option<&'a Activity>,
    /// Any number with equal chance: the draw.
    pub random: u32,
}

impl Attempt<'_> {
    /// An attempt by a caller who knows of no activity.
    pub const fn new(coupon: CouponId, user: UserId) -> Self {
        Self { coupon, user, nth: None, activity_revision: 0, activity: None, random: 0 }
    }

    fn question(&self) -> ClaimQuestion {
        let activity = self.activity.map(|Activity { id, terms, .. }| ActivityArguments {
            id: *id,
            status: terms.status.number(),
            start: terms.window.start(),
            end: terms.window.end(),
            draw_is_won: terms.buy_rate.lets_through(self.random),
            speed: terms.speed,
            total: terms.total,
            buy_limit: terms.buy_limit,
        });
        let nth = self.nth.unwrap_or(0);
        ClaimQuestion { coupon: self.coupon, nth, activity_revision: self.activity_revision, activity }
    }
}

/// What became of an attempt at a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A unit was granted just now. `entry_claims`: how many claims its outbox entry holds, those of attempts that left with it.
    Claimed { claim: Claim, entry_claims: u8 },
    /// The user holds it already. `pending`: it is still in the outbox.
    Already { claim: Claim, pending: bool },
    /// Nothing was granted, and why.
    Refused(Refusal),
    /// The outbox is full: nothing has happened.
    Backlog,
    /// The shard is not the loading that was expected: nothing has happened.
    NotLoaded,
    /// Redis came to it after the caller's deadline: nothing has happened.
    TooLate,
    /// The shard has lost a coupon that it had: nothing has happened.
    Missing,
    /// The coupon's activities have changed since the caller read them: nothing has happened.
    Stale,
}

/// What became of publishing a coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Redis has it as given.
    Done,
    /// Redis has this higher revision already.
    Older {
        revision: u64,
    },
    /// The amount is below the highest seq handed out; Redis is unchanged.
    BelowClaimed,
    /// The coupon has been here before, and is not any more.
    Missing,
    NotLoaded,
    TooLate,
}

/// Whether a coupon may be new in Redis, with nothing claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    MayBeNew,
    MustBeHere,
}

/// A read of a shard that may not be loaded: `None` says that it is not.
pub(super) type Loaded<T> = Result<Option<T>, KvError>;

impl Stock {
    /// `outbox_max` entries may wait in the outbox.
    pub fn new(keys: Keys, outbox_max: u32) -> Self {
        Self { keys, outbox_max }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Makes an attempt at a unit, waiting up to `wait`.
    ///
    /// # Errors
    /// [`KvError`]; where [`KvError::nothing_happened`] is false a unit may have been granted, or may yet be within the
    /// grace of 100 ms.
    pub async fn take(
        &self,
        connection: &Connection,
        live: &Live,
        attempt: &Attempt<'_>,
        wait: Duration,
    ) -> Result<Taken, KvError> {
        let arguments = ClaimArguments {
            keys: self.keys.clone(),
            live: live.shared_text(),
            epoch: live.epoch,
            outbox_max: self.outbox_max,
            not_after: not_after(connection, wait),
            user: attempt.user,
            question: attempt.question(),
        };
        let reply = connection.attempt(arguments, wait).await?;
        Ok(match reply.as_str() {
            "sold-out" => Taken::Refused(Refusal::SoldOut),
            "not-on-sale" => Taken::Refused(Refusal::NotOnSale),
            "disabled" => Taken::Refused(Refusal::Disabled),
            "not-started" => Taken::Refused(Refusal::NotStarted),
            "ended" => Taken::Refused(Refusal::Ended),
            "try-again" => Taken::Refused(Refusal::TryAgain),
            "stale" => Taken::Stale,
            "missing" => Taken::Missing,
            "not-loaded" => Taken::NotLoaded,
            "too-late" => Taken::TooLate,
            "backlog" => Taken::Backlog,
            text => granted_or_held(text, attempt, live.epoch)?,
        })
    }

    /// Puts a coupon's facts into Redis as MySQL has them, unless Redis has later ones.
    ///
    /// `live` is the value that the key must hold. Redis does nothing once `wait` and the grace are over, so that an
    /// unknown outcome is final.
    ///
    /// # Errors
    /// [`KvError`]; it may have happened unless [`KvError::nothing_happened`].
    pub async fn publish(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        presence: Presence,
        wait: Duration,
    ) -> Result<Published, KvError> {
        let reply = calls.eval(&self.publishing(calls, live, coupon, presence, wait), wait).await?;
        published(&reply)
    }

    /// The command that [`Stock::publish`] sends, for callers that send many together.
    pub(super) fn publishing(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        presence: Presence,
        wait: Duration,
    ) -> Cmd {
        let keys = &self.keys;
        let mut cmd =
            Script::SetCoupon.call(&[keys.live(), keys.coupon(coupon.id), keys.names(), keys.saler(coupon.saler_id)]);
        cmd.arg(live).arg(not_after(calls, wait)).arg(u8::from(presence == Presence::MayBeNew));
        cmd.arg(coupon.id.0).arg(coupon.revision).arg(coupon.saler.as_str()).arg(coupon.name.as_str());
        cmd.arg(coupon.amount.get()).arg(coupon.face_value.get()).arg(coupon.description.as_str());
        cmd.arg(u8::from(coupon.scheduled)).arg(coupon.activity_revision);
        cmd
    }

    /// The coupon that `name` of `saler` is; `Some(None)` where there is none.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn find(&self, calls: &Calls, live: &Live, path: &str, wait: Duration) -> Loaded<Option<CouponId>> {
        let mut cmd = Script::FindCoupon.call(&[self.keys.live(), self.keys.names()]);
        cmd.arg(live.as_str()).arg(path);
        let reply = calls.eval(&cmd, wait).await?;
        match reply.word() {
            "found" => Ok(Some(Some(CouponId(reply.number(1)?)))),
            "none" => Ok(Some(None)),
            "not-loaded" => Ok(None),
            _ => Err(KvError::Unreadable),
        }
    }
}

/// What [`Script::SetCoupon`] replied.
///
/// # Errors
/// [`KvError::Unreadable`].
pub(super) fn published(reply: &ScriptReply) -> Result<Published, KvError> {
    Ok(match reply.word() {
        "set" => Published::Done,
        "older" => Published::Older { revision: reply.number(1)? },
        "below-claimed" => Published::BelowClaimed,
        "missing" => Published::Missing,
        "not-loaded" => Published::NotLoaded,
        "too-late" => Published::TooLate,
        _ => return Err(KvError::Unreadable),
    })
}

/// By Redis' clock, in ms.
fn not_after(calls: &Calls, wait: Duration) -> u64 {
    calls.server_ms() + u64::try_from(wait.as_millis()).unwrap_or(0) + NOT_AFTER_GRACE_MS
}

/// What the script replies of a claim: `claimed:` or `already:`, the holder's field, `nth` and what is said of the entry; or the
/// field alone, of a first claim that is stored.
fn granted_or_held(text: &str, attempt: &Attempt<'_>, epoch: Epoch) -> Result<Taken, KvError> {
    let (said, rest) = match text.split_once(':') {
        Some((said @ ("claimed" | "already"), rest)) => (said, rest),
        _ => ("held", text),
    };
    let mut parts = rest.split(':');
    let (seq, entry, activity) = parse_holder_field(&mut parts)?;
    let nth = if said == "held" { 1 } else { part(&mut parts)? };
    let claim = Claim { coupon: attempt.coupon, user: attempt.user, entry, seq, activity, epoch, nth };
    Ok(match said {
        "claimed" => Taken::Claimed { claim, entry_claims: part(&mut parts)? },
        "already" => Taken::Already { claim, pending: part::<u8>(&mut parts)? > 0 },
        _ => Taken::Already { claim, pending: false },
    })
}

/// A field of a holder: `seq:entry:activity`.
pub(super) fn parse_holder_field<'a>(
    parts: &mut impl Iterator<Item = &'a str>,
) -> Result<(Seq, EntryId, ActivityId), KvError> {
    Ok((part(parts)?, part(parts)?, part(parts)?))
}

fn part<'a, T: FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Result<T, KvError> {
    parts.next().and_then(|part| part.parse().ok()).ok_or(KvError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_as_granted_as_held_and_as_the_field_alone() {
        let attempt = Attempt::new(CouponId(7), UserId(8));
        let read = |text| granted_or_held(text, &attempt, Epoch(2));
        let claim = |nth| {
            let (entry, activity) = (EntryId { ms: 90, counter: 1 }, ActivityId(4));
            Claim { coupon: CouponId(7), user: UserId(8), entry, seq: 5, activity, epoch: Epoch(2), nth }
        };
        assert_eq!(read("claimed:5:90-1:4:3:16").ok(), Some(Taken::Claimed { claim: claim(3), entry_claims: 16 }));
        assert_eq!(read("already:5:90-1:4:3:1").ok(), Some(Taken::Already { claim: claim(3), pending: true }));
        assert_eq!(read("already:5:90-1:4:2:0").ok(), Some(Taken::Already { claim: claim(2), pending: false }));
        assert_eq!(read("5:90-1:4").ok(), Some(Taken::Already { claim: claim(1), pending: false }));
        for text in ["", "claimed", "claimed:5:90-1:4", "already:5:90-1:4:1", "5", "5:90-1", "5:90:4", "x:90-1:4"] {
            assert!(matches!(read(text), Err(KvError::Unreadable)), "{text:?}");
        }
    }
}
