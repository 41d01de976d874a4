//! The units of many coupons at one moment, read by a single script.

use std::time::Duration;

use super::stock::Loaded;
use super::{Calls, KvError, Live, Script, ScriptReply, Stock};
use crate::domain::{ActivityId, CouponId, left};

/// The units of a coupon, and the sales of one of its activities, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub scheduled: bool,
    /// Revision of the coupon. `activity_revision` is the revision of the last change of its activities.
    pub revision: u64,
    pub activity_revision: u64,
    pub amount: u64,
    /// The highest granted seq.
    pub claimed: u64,
    /// Number of seqs up to `claimed` without a holder.
    pub holes: u64,
    /// Claims of the requested activity.
    pub sold: u64,
}

/// Parts of the reply per coupon.
const PARTS: usize = 7;

impl Units {
    /// The units that an activity of `total` may sell. A `total` of 0 means the coupon's whole amount.
    pub fn total(&self, total: u32) -> u64 {
        if total == 0 { self.amount } else { u64::from(total) }
    }

    /// The units that an activity of `total` can still sell: its remaining total, at most the coupon's left units.
    pub fn left(&self, total: u32) -> u64 {
        let of_coupon = left(self.amount, self.claimed, self.holes);
        if total == 0 { of_coupon } else { of_coupon.min(u64::from(total).saturating_sub(self.sold)) }
    }
}

impl Stock {
    /// Reads the units of coupons, in order, each with the sales of one activity. An item is `None` if Redis lacks the
    /// coupon. The result is `None` if the shard is not loaded.
    ///
    /// # Errors
    /// [`KvError`]. A read changes nothing.
    pub async fn units(
        &self,
        calls: &Calls,
        live: &Live,
        asked: &[(CouponId, ActivityId)],
        wait: Duration,
    ) -> Loaded<Vec<Option<Units>>> {
        let keys = &self.keys;
        let of = |(coupon, activity): &(CouponId, ActivityId)| {
            [keys.coupon(*coupon), keys.holes(*coupon), keys.activity(*activity)]
        };
        let keys: Vec<_> = std::iter::once(keys.live()).chain(asked.iter().flat_map(of)).collect();
        let mut cmd = Script::ReadUnits.call(&keys);
        cmd.arg(live.as_str());
        let reply = calls.eval(&cmd, wait).await?;
        match reply.word() {
            "units" if reply.parts() == asked.len() * PARTS => {
                (0..asked.len()).map(|n| units(&reply, 1 + n * PARTS)).collect::<Result<_, _>>().map(Some)
            }
            "not-loaded" => Ok(None),
            _ => Err(KvError::Unreadable),
        }
    }
}

fn units(reply: &ScriptReply, at: usize) -> Result<Option<Units>, KvError> {
    if reply.text(at)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(Units {
        amount: reply.number(at)?,
        claimed: reply.number(at + 1)?,
        scheduled: reply.text(at + 2)? == "1",
        revision: reply.number(at + 3)?,
        activity_revision: reply.number(at + 4)?,
        holes: reply.number(at + 5)?,
        sold: reply.number(at + 6)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_bounded_by_the_coupon_and_by_the_activity() {
        let (scheduled, revision, activity_revision) = (true, 2, 2);
        let units = Units { scheduled, revision, activity_revision, amount: 10, claimed: 4, holes: 1, sold: 2 };
        for (total, left) in [(0, 7), (10, 7), (9, 7), (5, 3), (2, 0), (1, 0)] {
            assert_eq!(units.left(total), left, "{total}");
        }
        assert_eq!((units.total(0), units.total(3)), (10, 3));
    }
}
