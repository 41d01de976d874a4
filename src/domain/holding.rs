//! The claims of a user, merged into a list of coupons.

use super::{CouponId, EntryId, Nth};

/// A claim on a customer's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldClaim {
    pub coupon: CouponId,
    pub nth: Nth,
    /// Time of the grant, in milliseconds since 1970 by Redis' clock.
    pub claimed_at_ms: u64,
    /// Orders claims of the same millisecond. A claim from MySQL has the counter 0.
    pub entry: EntryId,
}

/// A coupon on a customer's list. `count` is the number of claims held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldCoupon {
    pub coupon: CouponId,
    pub count: u8,
}

/// Merges the claims of a user from Redis and from MySQL. Returns one item a coupon, the newest claim first. A claim that
/// both stores have counts once, as Redis has it.
pub fn held_coupons(in_redis: Vec<HeldClaim>, in_mysql: &[HeldClaim]) -> Vec<HeldCoupon> {
    let mut claims = in_redis;
    claims.extend_from_slice(in_mysql);
    // The sort is stable, so the version of Redis comes first, and stays.
    claims.sort_by_key(|claim| (claim.coupon, claim.nth));
    claims.dedup_by_key(|claim| (claim.coupon, claim.nth));
    let order = |claim: &HeldClaim| (claim.claimed_at_ms, claim.entry);
    let item = |of_one: &[HeldClaim]| {
        let latest = of_one.iter().map(order).max().unwrap_or_default();
        (latest, HeldCoupon { coupon: of_one[0].coupon, count: u8::try_from(of_one.len()).unwrap_or(u8::MAX) })
    };
    let mut held: Vec<_> = claims.chunk_by(|a, b| a.coupon == b.coupon).map(item).collect();
    held.sort_unstable_by_key(|(latest, held)| std::cmp::Reverse((*latest, held.coupon)));
    held.into_iter().map(|(_, held)| held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(coupon: u64, nth: Nth, ms: u64, counter: u64) -> HeldClaim {
        HeldClaim { coupon: CouponId(coupon), nth, claimed_at_ms: ms, entry: EntryId { ms, counter } }
    }

    fn merged(in_redis: &[HeldClaim], in_mysql: &[HeldClaim]) -> Vec<(u64, u8)> {
        let held = held_coupons(in_redis.to_vec(), in_mysql);
        held.into_iter().map(|held| (held.coupon.0, held.count)).collect()
    }

    #[test]
    fn the_coupons_of_both_stores_are_listed_by_their_latest_claim() {
        let in_redis = [claim(1, 1, 10, 0), claim(2, 1, 30, 5), claim(2, 2, 50, 0)];
        let in_mysql = [claim(3, 1, 40, 0), claim(4, 1, 5, 0)];
        assert_eq!(merged(&in_redis, &in_mysql), [(2, 2), (3, 1), (1, 1), (4, 1)]);
        assert_eq!(merged(&[], &in_mysql), [(3, 1), (4, 1)]);
        assert_eq!(merged(&[], &[]), []);
    }

    #[test]
    fn a_claim_of_both_stores_counts_once_and_claims_of_a_coupon_are_added() {
        let in_mysql = [claim(1, 1, 10, 0), claim(1, 2, 20, 0)];
        assert_eq!(merged(&[claim(1, 1, 10, 7)], &in_mysql), [(1, 2)]);
        let in_redis = [claim(1, 1, 10, 7), claim(2, 1, 10, 3)];
        assert_eq!(merged(&in_redis, &[claim(1, 1, 10, 0)]), [(1, 1), (2, 1)], "the entry of Redis decides the place");
    }
}
