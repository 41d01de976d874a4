//! Units in Redis: publish a coupon, claim a unit, list what is offered and held.
//!
//! What changes anything is one script: atomic, and it compares the loading of the shard. Attempts that leave together are one
//! call of it. What only reads may be plain commands with a look at the loading behind them.
//! Deliberately knows nothing of MySQL: who calls it decides what is published and where a claim goes next.

mod lists;
mod units;

use std::time::Duration;

use crate::domain::{Activity, ActivityId, Claim, Coupon, CouponId, EntryId, Nth, Refusal, Seq, UserId};
use crate::kv::{Command, Connection, Keys, KvError, Live, Reply, Script};

/// How far Redis' clock may have been measured wrong before a claim is refused as too late: what an unknown outcome may
/// be applied after its deadline.
const NOT_AFTER_GRACE_MS: u64 = 100;

pub use lists::{Facts, Held, Offered};
pub use units::Units;

/// The shard's scripts, bound to its keys.
#[derive(Debug, Clone)]
pub struct Stock {
    keys: Keys,
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
}

/// What became of an attempt at a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A unit was granted just now.
    Claimed(Claim),
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
type Loaded<T> = Result<Option<T>, KvError>;

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
        let reply = self.ask_for(connection, live, attempt, wait).await?;
        let claim = |(seq, entry, activity), nth| {
            let Attempt { coupon, user, .. } = *attempt;
            Claim { coupon, user, entry, seq, activity, epoch: live.epoch, nth }
        };
        Ok(match reply.word() {
            "claimed" => {
                // Where the activity did not decide, the coupon is not scheduled: the script knows, and says it in the entry.
                let activity = ActivityId(reply.number(4)?);
                Taken::Claimed(claim((reply.number(1)?, entry(reply.text(2)?)?, activity), reply.number(3)?))
            }
            "already" => {
                let pending = reply.number::<u8>(2)? > 0;
                Taken::Already { claim: claim(held(reply.text(1)?)?, reply.number(3)?), pending }
            }
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
            _ => return Err(KvError::Unreadable),
        })
    }

    /// Attempts that leave this connection together are one call of the script.
    async fn ask_for(
        &self,
        connection: &Connection,
        live: &Live,
        attempt: &Attempt<'_>,
        wait: Duration,
    ) -> Result<Reply, KvError> {
        let Attempt { coupon, user, nth, activity_revision, activity, random } = *attempt;
        let (names, not_after) = (&self.keys, not_after(connection, wait));
        let id = activity.map_or(ActivityId(0), |activity| activity.id);
        let begin = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.live()).arg(names.outbox());
            arguments.arg(live.as_str()).arg(live.epoch.0).arg(self.outbox_max);
        };
        let case = |keys: &mut Command, arguments: &mut Command| {
            keys.arg(names.coupon(coupon)).arg(names.holder(user)).arg(names.holes(coupon)).arg(names.activity(id));
            arguments.arg(not_after).arg(coupon.0).arg(user.0).arg(nth.unwrap_or(0)).arg(activity_revision).arg(id.0);
            if let Some(Activity { terms, .. }) = activity {
                arguments.arg(terms.status.number()).arg(terms.window.start()).arg(terms.window.end());
                arguments.arg(u8::from(terms.buy_rate.lets_through(random))).arg(terms.speed);
                arguments.arg(terms.total).arg(terms.buy_limit);
            }
        };
        connection.eval_together(Script::Claim, live.as_str(), begin, case, wait).await
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
        connection: &Connection,
        live: &str,
        coupon: &Coupon,
        presence: Presence,
        wait: Duration,
    ) -> Result<Published, KvError> {
        let reply = connection.eval(&self.publishing(connection, live, coupon, presence, wait), wait).await?;
        published(&reply)
    }

    /// The command that [`Stock::publish`] sends, for callers that send many together.
    pub fn publishing(
        &self,
        connection: &Connection,
        live: &str,
        coupon: &Coupon,
        presence: Presence,
        wait: Duration,
    ) -> Command {
        let keys = &self.keys;
        let mut cmd =
            Script::SetCoupon.call(&[keys.live(), keys.coupon(coupon.id), keys.names(), keys.saler(coupon.saler_id)]);
        cmd.arg(live).arg(not_after(connection, wait)).arg(u8::from(presence == Presence::MayBeNew));
        cmd.arg(coupon.id.0).arg(coupon.revision).arg(coupon.saler.as_str()).arg(coupon.name.as_str());
        cmd.arg(coupon.amount.get()).arg(coupon.face_value.get()).arg(coupon.description.as_str());
        cmd.arg(u8::from(coupon.scheduled)).arg(coupon.activity_revision);
        cmd
    }

    /// The coupon that `name` of `saler` is; `Some(None)` where there is none.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
    pub async fn find(
        &self,
        connection: &Connection,
        live: &Live,
        path: &str,
        wait: Duration,
    ) -> Loaded<Option<CouponId>> {
        let mut cmd = Script::FindCoupon.call(&[self.keys.live(), self.keys.names()]);
        cmd.arg(live.as_str()).arg(path);
        let reply = connection.eval(&cmd, wait).await?;
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
pub fn published(reply: &Reply) -> Result<Published, KvError> {
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
fn not_after(connection: &Connection, wait: Duration) -> u64 {
    connection.server_ms() + u64::try_from(wait.as_millis()).unwrap_or(0) + NOT_AFTER_GRACE_MS
}

fn entry(text: &str) -> Result<EntryId, KvError> {
    text.parse().map_err(|_| KvError::Unreadable)
}

/// A field of a holder: `seq:entry:activity`.
fn held(text: &str) -> Result<(Seq, EntryId, ActivityId), KvError> {
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().ok_or(KvError::Unreadable);
    let seq = next()?.parse().map_err(|_| KvError::Unreadable)?;
    let entry = entry(next()?)?;
    let activity = next()?.parse().map_err(|_| KvError::Unreadable)?;
    Ok((seq, entry, activity))
}
