//! Archived coupons: tombstones, and the way back.
//!
//! A tombstone is the hash of a coupon without `amount`, so the claim script sells nothing. Its field `archived` has the
//! revision of the coupon, `closing:` and the revision while MySQL lacks claims, or the loading of a coupon that comes back.
//! Every script of a step compares the field, so the steps of an earlier revision or loading end.

use std::time::Duration;

use redis::Cmd;

use super::load::{self, ClaimChunk};
use super::stock::{add_facts, not_after, published};
use super::{Calls, Key, Keys, KvError, Presence, Published, Script, Stock};
use crate::domain::{ActivityId, Coupon, CouponId, StoredUnits};

/// The outcome of [`Stock::begin_return`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The claims must be read and loaded.
    Loading,
    /// Redis has all claims of the coupon. Publish it.
    OnSale,
    /// The coupon cannot come back, for this reason.
    Refused(Published),
}

/// A loading of the claims of one coupon. A later loading of the coupon ends it.
#[derive(Debug, Clone)]
pub struct Loading {
    coupon: CouponId,
    revision: u64,
    /// The value of the field `archived`.
    marker: String,
}

impl Loading {
    /// A loading of `coupon` at its revision.
    pub fn new(coupon: &Coupon) -> Self {
        let marker = format!("loading:{}:{:016x}", coupon.revision, rand::random::<u64>());
        Self { coupon: coupon.id, revision: coupon.revision, marker }
    }
}

impl Stock {
    /// Writes the tombstone of a coupon that Redis must have, or closes the coupon while claims wait in the outbox. The caller
    /// has locked the row of the coupon, so that MySQL gets no claims meanwhile. Also returns the revision of the tombstone
    /// that Redis had, if any.
    ///
    /// # Errors
    /// [`KvError`]. The tombstone may be written unless [`KvError::nothing_happened`].
    pub async fn archive(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        units: StoredUnits,
        wait: Duration,
    ) -> Result<(Published, Option<u64>), KvError> {
        let command = self.archiving(calls, live, coupon, units, Presence::MustBeHere, wait);
        let reply = calls.eval(&command, wait).await?;
        let outcome = published(&reply)?;
        let previous = if outcome == Published::Done { reply.text(1)?.parse().ok() } else { None };
        Ok((outcome, previous))
    }

    /// The command of [`Stock::archive`], for callers that send many in one pipeline.
    pub(super) fn archiving(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        units: StoredUnits,
        presence: Presence,
        wait: Duration,
    ) -> Cmd {
        let keys = &self.keys;
        let mut cmd = Script::ArchiveCoupon.call(&[
            keys.live(),
            keys.coupon(coupon.id),
            keys.names(),
            keys.saler(coupon.saler_id),
            keys.holes(coupon.id),
            keys.archivings(),
        ]);
        add_facts(&mut cmd, live, not_after(calls, wait), presence, coupon);
        cmd.arg(units.left).arg(units.claims);
        cmd
    }

    /// Deletes claims and activities of a coupon that is archived at `revision`. Returns `false` without any change if it
    /// is not, or if Redis does not hold `live`.
    ///
    /// # Errors
    /// [`KvError`]. Some may have been deleted. Deleting them again is idempotent.
    pub async fn delete_archived(
        &self,
        calls: &Calls,
        live: &str,
        coupon: &Coupon,
        chunks: &[ClaimChunk],
        activities: &[ActivityId],
        wait: Duration,
    ) -> Result<bool, KvError> {
        let claims = chunks.iter().map(|chunk| {
            let fields = chunk.claims.iter().map(|claim| Keys::held_field(coupon.id, claim.nth));
            self.deleting(live, coupon, chunk.claims.iter().map(|claim| self.keys.holder(claim.user)), fields)
        });
        let activities = std::iter::once(activities).filter(|activities| !activities.is_empty()).map(|activities| {
            let keys = activities.iter().map(|id| self.keys.activity(*id));
            self.deleting(live, coupon, keys, activities.iter().map(|_| String::new()))
        });
        let replies = calls.eval_all(claims.chain(activities).collect(), wait).await?;
        Ok(replies.iter().all(|reply| reply.word() == "deleted"))
    }

    fn deleting<'a>(
        &'a self,
        live: &str,
        coupon: &Coupon,
        keys: impl Iterator<Item = Key<'a>>,
        fields: impl Iterator<Item = String>,
    ) -> Cmd {
        let keys: Vec<Key<'_>> = [self.keys.live(), self.keys.coupon(coupon.id)].into_iter().chain(keys).collect();
        let mut cmd = Script::DeleteArchived.call(&keys);
        cmd.arg(live).arg(coupon.revision);
        for field in fields {
            cmd.arg(field);
        }
        cmd
    }

    /// Marks an archived coupon as coming back by `loading`. The caller reads the claims after this call.
    ///
    /// # Errors
    /// [`KvError`]. The coupon may be marked unless [`KvError::nothing_happened`].
    pub async fn begin_return(
        &self,
        calls: &Calls,
        live: &str,
        loading: &Loading,
        wait: Duration,
    ) -> Result<Return, KvError> {
        let mut cmd = Script::BeginReturn.call(&[self.keys.live(), self.keys.coupon(loading.coupon)]);
        cmd.arg(live).arg(not_after(calls, wait)).arg(loading.revision).arg(&loading.marker);
        let reply = calls.eval(&cmd, wait).await?;
        Ok(match reply.word() {
            "loading" => Return::Loading,
            "on-sale" => Return::OnSale,
            _ => Return::Refused(published(&reply)?),
        })
    }

    /// Loads claims of a coupon that comes back. Returns `false` if another loading or a tombstone has the coupon.
    ///
    /// # Errors
    /// [`KvError`]. Some chunks may have been loaded. The next loading loads all of them again.
    pub async fn load_returning(
        &self,
        calls: &Calls,
        live: &str,
        loading: &Loading,
        chunks: &[ClaimChunk],
        wait: Duration,
    ) -> Result<bool, KvError> {
        load::load_claims(calls, &self.keys, live, &loading.marker, chunks, wait).await
    }

    /// Ends `loading`: writes the claims `sold` by each activity, and the coupon with its amount.
    ///
    /// # Errors
    /// [`KvError`]. The coupon may be on sale unless [`KvError::nothing_happened`].
    pub async fn end_return(
        &self,
        calls: &Calls,
        live: &str,
        loading: &Loading,
        coupon: &Coupon,
        sold: &[(ActivityId, u64)],
        wait: Duration,
    ) -> Result<Published, KvError> {
        let keys = &self.keys;
        let mut names = vec![keys.live(), keys.coupon(coupon.id), keys.names(), keys.saler(coupon.saler_id)];
        names.extend(sold.iter().map(|(id, _)| keys.activity(*id)));
        let mut cmd = Script::SetCoupon.call(&names);
        add_facts(&mut cmd, live, not_after(calls, wait), Presence::MustBeHere, coupon);
        cmd.arg(&loading.marker);
        for (_, claims) in sold {
            cmd.arg(*claims);
        }
        published(&calls.eval(&cmd, wait).await?)
    }
}
