//! What coupons are at one moment, many in one script, for those who show it or decide by it.

use std::time::Duration;

use super::stock::Loaded;
use super::{Calls, KvError, Live, Script, ScriptReply, Stock};
use crate::domain::{ActivityId, CouponId, left};

/// A coupon at one moment, and what an activity of it has sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    pub scheduled: bool,
    /// Of the coupon, and the one that last changed its activities.
    pub revision: u64,
    pub activity_revision: u64,
    pub amount: u64,
    /// The highest seq handed out.
    pub claimed: u64,
    /// Seqs below it that nobody has.
    pub holes: u64,
    pub sold: u64,
}

/// What the reply has for each.
const PARTS: usize = 7;

impl Units {
    /// What an activity of `total`, 0 for the coupon's whole amount, may sell.
    pub fn total(&self, total: u32) -> u64 {
        if total == 0 { self.amount } else { u64::from(total) }
    }

    /// What an activity of `total` can still sell: bounded by it, and by the coupon's units.
    pub fn left(&self, total: u32) -> u64 {
        let of_coupon = left(self.amount, self.claimed, self.holes);
        if total == 0 { of_coupon } else { of_coupon.min(u64::from(total).saturating_sub(self.sold)) }
    }
}

impl Stock {
    /// What each is, in order, with what this activity of it has sold; `None` for a coupon that is not there.
    ///
    /// # Errors
    /// [`KvError`]; reading changes nothing.
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
