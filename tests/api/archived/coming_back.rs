//! Coupons on their way to or from the archive.

use super::Archive;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_coupon_comes_back_holders_get_their_claims_and_nobody_is_refused() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("back", 5, false).await;
    let first = archive.claims("back", 0, "claimed").await;
    archive.archive("back").await;
    let revision = archive.sell_in_mysql(coupon).await;
    archive.mark(coupon, &format!("loading:{revision}:of-a-test")).await;
    for _ in 0..2 {
        let again = archive.claims("back", 0, "already-claimed").await;
        assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
        archive.cannot_claim("back", 1).await;
    }
    archive.publish(coupon).await;
    archive.claims("back", 1, "claimed").await;
}

/// MySQL decides before Redis follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_refused_by_a_tombstone_of_a_coupon_that_is_on_sale_in_mysql() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("back", 5, false).await;
    archive.claims("back", 0, "claimed").await;
    archive.archive("back").await;
    archive.sell_in_mysql(coupon).await;
    archive.claims("back", 0, "already-claimed").await;
    archive.cannot_claim("back", 1).await;
    archive.publish(coupon).await;
    archive.claims("back", 1, "claimed").await;
}

/// Claims of a coupon that is being closed may wait in the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_coupon_that_is_being_closed_refuses_nobody_whose_claim_mysql_may_lack() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("closing", 5, false).await;
    let first = archive.claims("closing", 0, "claimed").await;
    archive.archive("closing").await;
    let revision = archive.app.stores.number("SELECT revision FROM coupons").await;
    archive.mark(coupon, &format!("closing:{revision}")).await;
    archive.app.stores.execute("UPDATE claims SET nth = nth + 50").await;
    archive.cannot_claim("closing", 0).await;
    archive.cannot_claim("closing", 1).await;
    archive.app.stores.execute("UPDATE claims SET nth = nth - 50").await;
    let again = archive.claims("closing", 0, "already-claimed").await;
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    archive.cannot_claim("closing", 1).await;
    archive.mark(coupon, &revision.to_string()).await;
    archive.claims("closing", 1, "ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_granted_between_two_archivings_is_known_after_the_second() {
    let archive = Archive::start(2).await;
    archive.coupon("twice", 5, false).await;
    archive.claims("twice", 0, "claimed").await;
    archive.archive("twice").await;
    archive.claims("twice", 1, "ended").await;
    archive.bring_back("twice").await;
    let granted = archive.claims("twice", 1, "claimed").await;
    archive.archive("twice").await;
    let again = archive.claims("twice", 1, "already-claimed").await;
    assert_eq!(again.header("Claim-Token"), granted.header("Claim-Token"));
}
