//! Archived coupons that come back.

use super::Archive;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_coupon_comes_back_holders_get_their_claims_and_nobody_is_refused() {
    let archive = Archive::start(3).await;
    let coupon = archive.coupon("back", 5, false).await;
    let first = archive.claims("back", 0, "claimed").await;
    let mut hand = archive.archive(coupon).await;
    hand.begin_to_come_back(&archive.app.stores).await;
    for _ in 0..2 {
        let again = archive.claims("back", 0, "already-claimed").await;
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
        archive.cannot_claim("back", 1).await;
    }
    hand.undo(&archive.app.stores).await;
    archive.claims("back", 1, "claimed").await;
}

/// MySQL decides before Redis follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_refused_by_a_tombstone_of_a_coupon_that_is_on_sale_in_mysql() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("back", 5, false).await;
    archive.claims("back", 0, "claimed").await;
    let mut hand = archive.archive(coupon).await;
    hand.sell_in_mysql(&archive.app.stores).await;
    archive.claims("back", 0, "already-claimed").await;
    archive.cannot_claim("back", 1).await;
    hand.undo(&archive.app.stores).await;
    archive.claims("back", 1, "claimed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_granted_between_two_archivings_is_known_after_the_second() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("twice", 5, false).await;
    archive.claims("twice", 0, "claimed").await;
    let hand = archive.archive(coupon).await;
    archive.claims("twice", 1, "ended").await;
    hand.undo(&archive.app.stores).await;
    let granted = archive.claims("twice", 1, "claimed").await;
    let hand = archive.archive(coupon).await;
    let again = archive.claims("twice", 1, "already-claimed").await;
    assert_eq!(again.header("Claim-Token"), granted.header("Claim-Token"));
    hand.undo(&archive.app.stores).await;
}
