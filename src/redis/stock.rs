//! The units of coupons in Redis: publish a coupon, attempt to claim a unit, find a coupon by name.
//!
//! Every change is a single script. A script is atomic, and compares `live` before it changes anything. Attempts that
//! leave together share a call of `lua/claim.lua`. Reads may be plain commands, followed by a comparison of `live`.
//! Deliberately absent: MySQL. The callers decide what is published, and hand claims to the ledger.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::{Activity, ActivityId, Claim, Coupon, CouponId, EntryId, Epoch, Nth, Refusal, Seq, Status, UserId};
use redis::Cmd;

use super::{
    ActivityArguments, Calls, ClaimArguments, ClaimQuestion, Connection, Keys, KvError, Live, Script, ScriptReply,
};

/// Allowed error of the measured Redis clock, in ms. A script refuses to run when the caller's deadline has passed by
/// more. So an unknown outcome can still change within this time, and is final afterwards.
const NOT_AFTER_GRACE_MS: u64 = 100;

/// Scripts and keys of a shard.
#[derive(Debug, Clone)]
pub struct Stock {
    pub(super) keys: Keys,
    outbox_max: u32,
}

/// An attempt at a unit. Includes the activity that the caller takes as current.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub coupon: CouponId,
    pub user: UserId,
    /// The n-th claim of this coupon by this user, from 1. A claim that is already held is returned, so retries are
    /// idempotent. `None` asks for one more claim.
    pub nth: Option<Nth>,
    /// The revision of the activities known to the caller, 0 for none.
    pub activity_revision: u64,
    /// The activity that applies if the coupon is scheduled.
    pub activity: Option<&'a Activity>,
    /// The attempt fails a condition of the activity. Only a holder gets a claim, the one that he holds. Everybody else gets
    /// [`Refusal::Disabled`].
    pub only_held: bool,
    /// A uniformly random number, for the draw.
    pub random: u32,
}

impl Attempt<'_> {
    /// An attempt without a known activity.
    pub const fn new(coupon: CouponId, user: UserId) -> Self {
        Self { coupon, user, nth: None, activity_revision: 0, activity: None, only_held: false, random: 0 }
    }

    fn question(&self) -> ClaimQuestion {
        let activity = self.activity.map(|Activity { id, terms, .. }| ActivityArguments {
            id: *id,
            status: if self.only_held { Status::Disabled } else { terms.status }.number(),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A unit was granted. `entry_claims` is the number of claims in the outbox entry, shared by attempts of a call.
    Claimed { claim: Claim, entry_claims: u8 },
    /// The user already holds this claim. `pending` means that the claim is still in the outbox.
    Already { claim: Claim, pending: bool },
    /// No unit was granted, for this reason.
    Refused(Refusal),
    /// The outbox is full. Nothing has changed.
    Backlog,
    /// The value of `live` differs from the expected value. Nothing has changed.
    NotLoaded,
    /// Redis reached the attempt after the caller's deadline. Nothing has changed.
    TooLate,
    /// The coupon is archived, or on its way to or from the archive. Nothing has changed.
    Archived(Tombstone),
    /// Redis has lost the coupon. Nothing has changed, and a recovery is needed.
    Missing,
    /// The coupon's activities have changed since the caller read them. Nothing has changed.
    Stale,
}

/// What Redis keeps of an archived coupon. No claim is granted under a tombstone. Unless the tombstone moves, MySQL has all
/// claims of the coupon, and they do not change while Redis has the tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tombstone {
    /// The coupon's revision at which it was archived, or at which it comes back. Both have a revision of their own.
    pub revision: u64,
    /// The coupon is closed until MySQL has all its claims, or it comes back and its claims are loaded.
    pub is_moving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Redis has the given revision.
    Done,
    /// Redis already has this higher revision. Nothing has changed.
    Older { revision: u64 },
    /// The amount is below the highest granted seq. Nothing has changed.
    BelowClaimed,
    /// Redis must have the coupon, and has lost it. Nothing has changed.
    Missing,
    /// Redis has a tombstone of the coupon, or its claims are being loaded. Nothing has changed.
    Archived,
    /// The coupon is not archived, because claims wait in the outbox. It grants no claims.
    Unstored,
    /// As [`Taken::NotLoaded`].
    NotLoaded,
    /// As [`Taken::TooLate`].
    TooLate,
}

/// What Redis may have of a coupon before a publication. The numbers are arguments of the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    MustBeHere = 0,
    /// Redis may create the coupon, with no claims.
    MayBeNew = 1,
    /// A rebuild loads the claims afterwards.
    Rebuilding = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CouponLookup {
    Found(CouponId),
    NoSuchCoupon,
    NotLoaded,
}

/// The result of a read. `None` means that the shard is not loaded as expected.
pub(super) type Loaded<T> = Result<Option<T>, KvError>;

impl Stock {
    /// `outbox_max` is the maximum number of claims in the outbox. Further attempts are refused.
    pub fn new(keys: Keys, outbox_max: u32) -> Self {
        Self { keys, outbox_max }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Makes an attempt at a unit, and waits up to `wait` for the reply.
    ///
    /// # Errors
    /// [`KvError`]. Unless [`KvError::nothing_happened`], a unit may have been granted, or may still be granted within
    /// 100 ms.
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
            text => match text.strip_prefix("archived:") {
                Some(archived) => Taken::Archived(Tombstone::parse(archived)?),
                None => granted_or_held(text, attempt, live.epoch)?,
            },
        })
    }

    /// Writes a coupon's row to Redis, unless Redis has a later revision. `live` is the expected value of the key.
    /// Redis refuses the write once `wait` plus 100 ms has passed. So an unknown outcome becomes final.
    ///
    /// # Errors
    /// [`KvError`]. The write may have happened unless [`KvError::nothing_happened`].
    pub async fn publish(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        presence: Presence,
        wait: Duration,
    ) -> Result<Published, KvError> {
        published(&calls.eval(&self.publishing(calls, live, coupon, presence, wait), wait).await?)
    }

    /// The command of [`Stock::publish`], for callers that send many in one pipeline.
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
        add_facts(&mut cmd, live, not_after(calls, wait), presence, coupon);
        cmd.arg("");
        cmd
    }

    /// Finds a coupon by `path`, which is `saler/name`.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn find(&self, calls: &Calls, live: &Live, path: &str, wait: Duration) -> Result<CouponLookup, KvError> {
        let mut cmd = Script::FindCoupon.call(&[self.keys.live(), self.keys.names()]);
        cmd.arg(live.as_str()).arg(path);
        let reply = calls.eval(&cmd, wait).await?;
        match reply.word() {
            "found" => Ok(CouponLookup::Found(CouponId(reply.number(1)?))),
            "none" => Ok(CouponLookup::NoSuchCoupon),
            "not-loaded" => Ok(CouponLookup::NotLoaded),
            _ => Err(KvError::Unreadable),
        }
    }
}

impl Tombstone {
    /// Parses the field `archived` of a coupon: `revision`, `closing:revision` or `loading:revision:token`.
    pub(super) fn parse(text: &str) -> Result<Self, KvError> {
        let (revision, is_moving) = match text.split_once(':') {
            None => (text, false),
            Some(("closing", revision)) => (revision, true),
            Some(("loading", rest)) => (rest.split_once(':').ok_or(KvError::Unreadable)?.0, true),
            Some(_) => return Err(KvError::Unreadable),
        };
        Ok(Self { revision: revision.parse().map_err(|_| KvError::Unreadable)?, is_moving })
    }
}

/// Parses the reply of [`Script::SetCoupon`]. [`KvError::Unreadable`] for an unknown reply.
pub(super) fn published(reply: &ScriptReply) -> Result<Published, KvError> {
    Ok(match reply.word() {
        "set" => Published::Done,
        "older" => Published::Older { revision: reply.number(1)? },
        "below-claimed" => Published::BelowClaimed,
        "missing" => Published::Missing,
        "archived" => Published::Archived,
        "unstored" => Published::Unstored,
        "not-loaded" => Published::NotLoaded,
        "too-late" => Published::TooLate,
        _ => return Err(KvError::Unreadable),
    })
}

/// Adds the first twelve arguments of [`Script::SetCoupon`] and [`Script::ArchiveCoupon`].
pub(super) fn add_facts(cmd: &mut Cmd, live: &str, not_after: u64, presence: Presence, coupon: &Coupon) {
    cmd.arg(live).arg(not_after).arg(presence as u8);
    cmd.arg(coupon.id.0).arg(coupon.revision).arg(coupon.saler.as_str()).arg(coupon.name.as_str());
    cmd.arg(coupon.amount.get()).arg(coupon.face_value.get()).arg(coupon.description.as_str());
    cmd.arg(u8::from(coupon.needs_activity())).arg(coupon.activity_revision);
}

/// The last moment at which the script may run, in ms since 1970 by Redis' clock.
pub(super) fn not_after(calls: &Calls, wait: Duration) -> u64 {
    calls.server_ms() + u64::try_from(wait.as_millis()).unwrap_or(0) + NOT_AFTER_GRACE_MS
}

/// Parses the reply for a claim. Three forms exist. `claimed:` is followed by the holder's field, `nth` and the number
/// of claims in the entry. `already:` is followed by the holder's field, `nth` and whether the entry is pending. The
/// field alone is a first claim that MySQL has stored.
fn granted_or_held(text: &str, attempt: &Attempt<'_>, epoch: Epoch) -> Result<Taken, KvError> {
    let (said, rest) = match text.split_once(':') {
        Some((said @ ("claimed" | "already"), rest)) => (said, rest),
        _ => ("held", text),
    };
    let mut parts = rest.split(':');
    let HolderField { seq, entry, claimed_at_ms, activity } = HolderField::parse(&mut parts)?;
    let nth = if said == "held" { 1 } else { part(&mut parts)? };
    let claim = Claim { coupon: attempt.coupon, user: attempt.user, entry, seq, activity, epoch, nth, claimed_at_ms };
    Ok(match said {
        "claimed" => Taken::Claimed { claim, entry_claims: part(&mut parts)? },
        "already" => Taken::Already { claim, pending: part::<u8>(&mut parts)? > 0 },
        _ => Taken::Already { claim, pending: false },
    })
}

/// The value of a holder's field: `seq:entry:activity`, or `seq:entry@time:activity` if the entry's id is in another
/// second than the grant. Without `time`, the milliseconds of the id are the time of the grant.
pub(super) struct HolderField {
    pub(super) seq: Seq,
    pub(super) entry: EntryId,
    pub(super) claimed_at_ms: u64,
    pub(super) activity: ActivityId,
}

impl HolderField {
    /// Parses the first parts between colons.
    pub(super) fn parse<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Result<Self, KvError> {
        let seq = part(parts)?;
        let (claimed_at_ms, entry) = Self::parse_entry(parts.next().ok_or(KvError::Unreadable)?)?;
        Ok(Self { seq, entry, claimed_at_ms, activity: part(parts)? })
    }

    /// Parses `entry` or `entry@time`. Returns the time of the grant and the entry.
    pub(super) fn parse_entry(text: &str) -> Result<(u64, EntryId), KvError> {
        // A time is rare, so it is looked for only in what is no id.
        if let Ok(entry) = text.parse::<EntryId>() {
            return Ok((entry.ms, entry));
        }
        let (id, time) = text.split_once('@').ok_or(KvError::Unreadable)?;
        let time = time.parse().map_err(|_| KvError::Unreadable)?;
        Ok((time, id.parse().map_err(|_| KvError::Unreadable)?))
    }
}

fn part<'a, T: FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Result<T, KvError> {
    parts.next().and_then(|part| part.parse().ok()).ok_or(KvError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_names_its_revision_and_whether_it_moves() {
        let read = |text| Tombstone::parse(text).ok();
        assert_eq!(read("7"), Some(Tombstone { revision: 7, is_moving: false }));
        assert_eq!(read("loading:8:x"), Some(Tombstone { revision: 8, is_moving: true }));
        assert_eq!(read("closing:9"), Some(Tombstone { revision: 9, is_moving: true }));
        for text in ["", "loading:", "loading:8", "x", "7:loading", "loading:loading:8", "closing:8:x"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_claim_is_read_as_granted_as_held_and_as_the_field_alone() {
        let attempt = Attempt::new(CouponId(7), UserId(8));
        let read = |text| granted_or_held(text, &attempt, Epoch(2));
        let claim_at = |nth, claimed_at_ms| {
            let (entry, activity) = (EntryId { ms: 90, counter: 1 }, ActivityId(4));
            Claim { coupon: CouponId(7), user: UserId(8), entry, seq: 5, activity, epoch: Epoch(2), nth, claimed_at_ms }
        };
        let claim = |nth| claim_at(nth, 90);
        assert_eq!(read("claimed:5:90-1:4:3:16").ok(), Some(Taken::Claimed { claim: claim(3), entry_claims: 16 }));
        assert_eq!(read("already:5:90-1:4:3:1").ok(), Some(Taken::Already { claim: claim(3), pending: true }));
        assert_eq!(read("already:5:90-1:4:2:0").ok(), Some(Taken::Already { claim: claim(2), pending: false }));
        assert_eq!(read("5:90-1:4").ok(), Some(Taken::Already { claim: claim(1), pending: false }));
        let late = claim_at(3, 2_000);
        assert_eq!(read("claimed:5:90-1@2000:4:3:1").ok(), Some(Taken::Claimed { claim: late, entry_claims: 1 }));
        assert_eq!(read("already:5:90-1@2000:4:3:0").ok(), Some(Taken::Already { claim: late, pending: false }));
        assert_eq!(read("5:90-1@80:4").ok(), Some(Taken::Already { claim: claim_at(1, 80), pending: false }));
        for text in [
            "5:90-1@:4",
            "5:90-1@x:4",
            "5:@90:4",
            "",
            "claimed",
            "claimed:5:90-1:4",
            "already:5:90-1:4:1",
            "5",
            "5:90-1",
            "5:90:4",
            "x:90-1:4",
        ] {
            assert!(matches!(read(text), Err(KvError::Unreadable)), "{text:?}");
        }
    }
}
