//! Loading a shard from MySQL during a rebuild.
//!
//! Every script compares the key `live` with `marker`, the value written by the rebuild. `Ok(false)` means that another
//! process has replaced the value, and that the script changed nothing.

use std::time::Duration;

use futures_util::{Stream, TryStreamExt, stream};
use redis::Cmd;

use super::stock::published;
use super::{Calls, Keys, KvError, Presence, Published, Script, Stock, parse};
use crate::domain::{ActivityId, Claim, Coupon, CouponId, Seq, StoredUnits};

/// Keys deleted by one script, and the `COUNT` of one `SCAN`.
const FORGET_BATCH: usize = 1_000;

/// Claims and holes in a full chunk.
const CHUNK: usize = 200;

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

/// Cuts claims, ordered by coupon and seq, into chunks. Redis has all claims up to the seq `above` of each coupon. Seqs
/// missing in between become holes.
pub fn chunks<E>(
    claims: impl Stream<Item = Result<Claim, E>> + Unpin,
    above: Seq,
) -> impl Stream<Item = Result<ClaimChunk, E>> {
    let cutter = ChunkCutter { above, next: 0, chunk: ClaimChunk::default(), claim: None };
    stream::try_unfold(Some((claims, cutter)), async |state| {
        let Some((mut claims, mut cutter)) = state else { return Ok(None) };
        loop {
            if let Some(chunk) = cutter.full_chunk() {
                return Ok(Some((chunk, Some((claims, cutter)))));
            }
            match claims.try_next().await? {
                Some(claim) => cutter.claim = Some(claim),
                None => return Ok((cutter.chunk.highest > 0).then_some((cutter.chunk, None))),
            }
        }
    })
}

/// The chunk that [`chunks`] fills.
struct ChunkCutter {
    above: Seq,
    /// The lowest seq that is neither in a claim nor a hole.
    next: Seq,
    chunk: ClaimChunk,
    /// The last claim, while it is in no chunk.
    claim: Option<Claim>,
}

impl ChunkCutter {
    /// A chunk with claims and holes up to the last claim, if one is full or the coupon before is complete.
    fn full_chunk(&mut self) -> Option<ClaimChunk> {
        let claim = self.claim?;
        if claim.coupon != self.chunk.coupon {
            let (coupon, is_first) = (claim.coupon, self.above == 0);
            let complete = std::mem::replace(&mut self.chunk, ClaimChunk { coupon, is_first, ..ClaimChunk::default() });
            self.next = self.above + 1;
            if complete.highest > 0 {
                return Some(complete);
            }
        }
        while self.next < claim.seq {
            self.chunk.holes.push(self.next);
            (self.chunk.highest, self.next) = (self.next, self.next + 1);
            if self.chunk.is_full() {
                return Some(self.take());
            }
        }
        self.claim = None;
        self.chunk.claims.push(claim);
        (self.chunk.highest, self.next) = (claim.seq, claim.seq + 1);
        self.chunk.is_full().then(|| self.take())
    }

    fn take(&mut self) -> ClaimChunk {
        let next = ClaimChunk { coupon: self.chunk.coupon, ..ClaimChunk::default() };
        std::mem::replace(&mut self.chunk, next)
    }
}

impl ClaimChunk {
    fn is_full(&self) -> bool {
        self.claims.len() + self.holes.len() >= CHUNK
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadedCoupon {
    /// The highest seq handed out, 0 for none.
    pub claimed: Seq,
    /// The number of holes below `claimed`.
    pub holes: u32,
}

impl Stock {
    /// Publishes coupons, or writes their tombstones, in one pipeline. Every coupon comes with its units. Returns the
    /// outcomes in order. `apply_within` limits the time until Redis applies a publication, `wait` the time until the
    /// replies.
    ///
    /// # Errors
    /// [`KvError`]. Some coupons may have been published unless [`KvError::nothing_happened`].
    pub async fn publish_all(
        &self,
        calls: &Calls,
        live: &str,
        coupons: impl Iterator<Item = (&Coupon, StoredUnits)>,
        presence: Presence,
        apply_within: Duration,
        wait: Duration,
    ) -> Result<Vec<Published>, KvError> {
        let publishing = |(coupon, units): (&Coupon, StoredUnits)| match coupon.archived {
            true => self.archiving(calls, live, coupon, units, presence, apply_within),
            false => self.publishing(calls, live, coupon, presence, apply_within),
        };
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

/// Loads claims and holes in one pipeline, a script for each chunk. `loading` is the mark of a coupon that comes back, or
/// empty in a rebuild.
///
/// # Errors
/// [`KvError`]. Some chunks may have been loaded. Loading them again is idempotent.
pub async fn load_claims(
    calls: &Calls,
    keys: &Keys,
    marker: &str,
    loading: &str,
    chunks: &[ClaimChunk],
    wait: Duration,
) -> Result<bool, KvError> {
    let commands = chunks.iter().map(|chunk| command(keys, marker, loading, chunk)).collect();
    Ok(calls.eval_all(commands, wait).await?.iter().all(|reply| reply.word() == "loaded"))
}

fn command(keys: &Keys, marker: &str, loading: &str, chunk: &ClaimChunk) -> Cmd {
    let coupon = chunk.coupon;
    let mut names = vec![keys.live(), keys.coupon(coupon), keys.holes(coupon)];
    names.extend(chunk.claims.iter().map(|claim| keys.holder(claim.user)));
    let mut cmd = Script::LoadClaims.call(&names);
    cmd.arg(marker)
        .arg(loading)
        .arg(chunk.highest)
        .arg(u8::from(chunk.is_first))
        .arg(chunk.holes.len())
        .arg(&chunk.holes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EntryId, Epoch, UserId};

    fn claim(coupon: u64, seq: Seq) -> Claim {
        let (user, entry, activity) = (UserId(seq.into()), EntryId::default(), ActivityId(0));
        Claim { coupon: CouponId(coupon), user, entry, seq, activity, epoch: Epoch(0), nth: 1, claimed_at_ms: 0 }
    }

    /// Coupon, first, highest seq, holes and claims of each chunk.
    async fn cut(claims: &[(u64, Seq)], above: Seq) -> Vec<(u64, bool, Seq, usize, usize)> {
        let claims = stream::iter(claims.iter().map(|(coupon, seq)| Ok::<_, KvError>(claim(*coupon, *seq))));
        let chunks: Vec<ClaimChunk> = chunks(claims, above).try_collect().await.expect("no claim fails");
        let shape =
            |chunk: &ClaimChunk| (chunk.coupon.0, chunk.is_first, chunk.highest, chunk.holes.len(), chunk.claims.len());
        chunks.iter().map(shape).collect()
    }

    #[tokio::test]
    async fn claims_are_cut_by_coupon_and_missing_seqs_become_holes() {
        assert_eq!(cut(&[], 0).await, []);
        assert_eq!(cut(&[(1, 1), (1, 4), (2, 1)], 0).await, [(1, true, 4, 2, 2), (2, true, 1, 0, 1)]);
        assert_eq!(cut(&[(1, 8)], 5).await, [(1, false, 8, 2, 1)]);
        let full: Vec<(u64, Seq)> = (1..=201).map(|seq| (7, seq)).collect();
        assert_eq!(cut(&full, 0).await, [(7, true, 200, 0, 200), (7, false, 201, 0, 1)]);
        assert_eq!(cut(&[(7, 402)], 0).await, [(7, true, 200, 200, 0), (7, false, 400, 200, 0), (7, false, 402, 1, 1)]);
    }
}
