//! Loading a shard from MySQL during a rebuild.
//!
//! Every script compares the key `live` with `marker`, the value written by the rebuild. `Ok(false)` means that another
//! process has replaced the value, and that the script changed nothing.

use std::time::Duration;

use redis::Cmd;

use super::stock::published;
use super::{Calls, Keys, KvError, Presence, Published, Script, Stock, parse};
use crate::domain::{ActivityId, Claim, Coupon, CouponId, Seq};

/// Keys deleted by one script, and the `COUNT` of one `SCAN`.
const FORGET_BATCH: usize = 1_000;

/// Consecutive claims and holes of one coupon for one script.
#[derive(Debug, Default)]
pub struct ClaimChunk {
    pub coupon: CouponId,
    /// Whether the script deletes the list of holes before it adds `holes`.
    pub is_first: bool,
    /// The highest seq of the claims and holes.
    pub highest: Seq,
    pub holes: Vec<Seq>,
    pub claims: Vec<Claim>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedCoupon {
    /// The highest seq handed out, 0 for none.
    pub claimed: Seq,
    /// The number of holes below `claimed`.
    pub holes: u32,
}

impl Stock {
    /// Publishes coupons that may be new in Redis, in one pipeline. Returns the outcomes in order. `apply_within`
    /// limits the time until Redis applies a publication, `wait` the time until the replies.
    ///
    /// # Errors
    /// [`KvError`]. Some coupons may have been published unless [`KvError::nothing_happened`].
    pub async fn publish_all(
        &self,
        calls: &Calls,
        live: &str,
        coupons: impl Iterator<Item = &Coupon>,
        apply_within: Duration,
        wait: Duration,
    ) -> Result<Vec<Published>, KvError> {
        let publishing = |coupon| self.publishing(calls, live, coupon, Presence::MayBeNew, apply_within);
        calls.eval_all(coupons.map(publishing).collect(), wait).await?.iter().map(published).collect()
    }
}

/// Reads the claims of `coupons`, in order. A coupon that is not in Redis has no claims.
///
/// # Errors
/// [`KvError`]. Reading changes nothing.
pub async fn loaded_coupons(
    calls: &Calls,
    keys: &Keys,
    coupons: impl Iterator<Item = CouponId>,
    wait: Duration,
) -> Result<Vec<LoadedCoupon>, KvError> {
    let mut pipeline = redis::pipe();
    for coupon in coupons {
        pipeline.cmd("HGET").arg(keys.coupon(coupon)).arg("claimed");
        pipeline.cmd("LLEN").arg(keys.holes(coupon));
    }
    let mut replies = calls.call_all(&pipeline, wait).await?.into_iter();
    let number = |value| parse::<Option<u32>>(value).map(Option::unwrap_or_default);
    let mut loaded = Vec::with_capacity(replies.len() / 2);
    while let (Some(claimed), Some(holes)) = (replies.next(), replies.next()) {
        loaded.push(LoadedCoupon { claimed: number(claimed)?, holes: number(holes)? });
    }
    Ok(loaded)
}

/// Loads claims and holes in one pipeline, a script for each chunk.
///
/// # Errors
/// [`KvError`]. Some chunks may have been loaded. Loading them again is idempotent.
pub async fn load_claims(
    calls: &Calls,
    keys: &Keys,
    marker: &str,
    chunks: &[ClaimChunk],
    wait: Duration,
) -> Result<bool, KvError> {
    let commands = chunks.iter().map(|chunk| loading(keys, marker, chunk)).collect();
    Ok(calls.eval_all(commands, wait).await?.iter().all(|reply| reply.word() == "loaded"))
}

fn loading(keys: &Keys, marker: &str, chunk: &ClaimChunk) -> Cmd {
    let coupon = chunk.coupon;
    let mut names = vec![keys.live(), keys.coupon(coupon), keys.holes(coupon)];
    names.extend(chunk.claims.iter().map(|claim| keys.holder(claim.user)));
    let mut cmd = Script::LoadClaims.call(&names);
    cmd.arg(marker).arg(chunk.highest).arg(u8::from(chunk.is_first)).arg(chunk.holes.len()).arg(&chunk.holes);
    for claim in &chunk.claims {
        // MySQL has the time of a claim but not its outbox entry. The entry with that time and counter 0 stands for it.
        // If the outbox ever has an entry of that id, the claim is stored once more, without effect.
        let Claim { seq, entry, activity, .. } = claim;
        cmd.arg(Keys::held_field(coupon, claim.nth)).arg(format!("{seq}:{entry}:{activity}"));
    }
    cmd
}

/// Writes the number of claims of each activity.
///
/// # Errors
/// [`KvError`]. The numbers may have been written unless [`KvError::nothing_happened`].
pub async fn load_activities(
    calls: &Calls,
    keys: &Keys,
    marker: &str,
    sold: &[(ActivityId, u64)],
    wait: Duration,
) -> Result<bool, KvError> {
    let mut names = vec![keys.live()];
    names.extend(sold.iter().map(|(id, _)| keys.activity(*id)));
    let mut cmd = Script::LoadActivities.call(&names);
    cmd.arg(marker);
    for (_, claims) in sold {
        cmd.arg(*claims);
    }
    Ok(calls.eval(&cmd, wait).await?.word() == "loaded")
}

/// Deletes all keys of the shard except `live`, `owner`, the outbox, entries that could not be read, the sweeper's lock,
/// the counters, and beats. `wait` limits each call.
///
/// # Errors
/// [`KvError`]. Some keys may have been deleted unless [`KvError::nothing_happened`].
pub async fn forget_keys(calls: &Calls, keys: &Keys, marker: &str, wait: Duration) -> Result<bool, KvError> {
    let keep = [keys.live(), keys.owner(), keys.outbox(), keys.sweeper(), keys.counters(), keys.beats(), keys.unread()];
    let keep = keep.map(|key| key.to_string());
    let (pattern, beats) = (keys.shard_pattern(), keys.beat(""));
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(FORGET_BATCH);
        let (next, found): (u64, Vec<String>) = parse(calls.call(&scan, wait).await?)?;
        let stays = |key: &String| keep.contains(key) || key.starts_with(&beats);
        let mut forgotten: Vec<String> = found.into_iter().filter(|key| !stays(key)).collect();
        while !forgotten.is_empty() {
            let rest = forgotten.split_off(forgotten.len().min(FORGET_BATCH));
            forgotten.insert(0, keys.live().to_string());
            let mut cmd = Script::ForgetKeys.call(&forgotten);
            cmd.arg(marker);
            if calls.eval(&cmd, wait).await?.word() != "forgotten" {
                return Ok(false);
            }
            forgotten = rest;
        }
        if next == 0 {
            return Ok(true);
        }
        cursor = next;
    }
}
