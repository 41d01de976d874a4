//! Outbox entries with some claims stored and some not.
//!
//! Claims granted together share an entry but arrive in the channel one by one. An entry may be deleted once all of its
//! claims are stored. If the last claim never arrives, because its handler was dropped, the entry is left to the sweep.

use std::collections::BTreeMap;

use super::Handed;
use crate::domain::{EntryId, Epoch};
use crate::redis::DoneEntry;

/// Maximum entries remembered. The oldest are dropped and left to the sweep.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Unfinished {
    /// Number of unstored claims of each entry.
    left: BTreeMap<(Epoch, EntryId), u8>,
}

impl Unfinished {
    /// Records stored claims and returns the entries that are now complete.
    pub(super) fn note(&mut self, stored: &[Handed]) -> Vec<DoneEntry> {
        let mut done = Vec::new();
        for Handed { claim, entry_claims, .. } in stored.iter().filter(|handed| handed.entry_claims > 0) {
            let left = self.left.entry((claim.epoch, claim.entry)).or_insert(*entry_claims);
            *left -= 1;
            if *left == 0 {
                self.left.remove(&(claim.epoch, claim.entry));
                done.push((claim.entry, usize::from(*entry_claims)));
            }
        }
        while self.left.len() > ENTRIES_MAX {
            self.left.pop_first();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActivityId, Claim, CouponId, UserId};

    fn handed(epoch: u32, ms: u64, entry_claims: u8) -> Handed {
        let (coupon, user, activity) = (CouponId(1), UserId(1), ActivityId(0));
        let entry = EntryId { ms, counter: 0 };
        let claim = Claim { coupon, user, entry, seq: 1, activity, epoch: Epoch(epoch), nth: 1, claimed_at_ms: ms };
        Handed { claim, entry_claims, at: std::time::Instant::now() }
    }

    #[test]
    fn an_entry_is_done_with_the_last_of_its_claims_in_whichever_batch() {
        let mut unfinished = Unfinished::default();
        let entry = |ms| EntryId { ms, counter: 0 };
        assert_eq!(unfinished.note(&[handed(1, 1, 1), handed(1, 2, 3), handed(1, 2, 3)]), [(entry(1), 1)]);
        assert_eq!(unfinished.note(&[handed(1, 3, 2)]), []);
        assert_eq!(unfinished.note(&[handed(1, 3, 2), handed(1, 2, 3)]), [(entry(3), 2), (entry(2), 3)]);
        assert!(unfinished.left.is_empty());
    }

    #[test]
    fn a_claim_vouched_for_and_one_of_another_loading_count_for_nothing() {
        let mut unfinished = Unfinished::default();
        assert_eq!(unfinished.note(&[handed(1, 1, 2), handed(1, 1, 0), handed(2, 1, 2)]), []);
    }

    #[test]
    fn entries_that_are_never_done_are_given_up() {
        let mut unfinished = Unfinished::default();
        let many = ENTRIES_MAX as u64 + 5;
        let begun: Vec<Handed> = (1..=many).map(|ms| handed(1, ms, 2)).collect();
        assert_eq!(unfinished.note(&begun), []);
        assert_eq!(unfinished.left.len(), ENTRIES_MAX);
        assert_eq!(unfinished.note(&[handed(1, many, 2)]).len(), 1, "the latest are kept");
        assert_eq!(unfinished.note(&[handed(1, 1, 2)]), [], "the oldest are not");
    }
}
