//! Attempts at archived coupons get the same answers as before the archiving.

use std::time::{Duration, Instant};

use couponrush::domain::{CouponId, Status, Terms};

use super::Archive;
use crate::helpers::{Answer, terms};

/// A coupon with its claims: the same customer may claim several times.
async fn sold(archive: &Archive, name: &str, amount: u32, terms: Option<Terms>, claims: &[usize]) -> CouponId {
    let coupon = archive.coupon(name, amount, terms.is_some()).await;
    if let Some(terms) = terms {
        archive.app.instances[0].schedule(coupon, &terms).await.expect("an activity");
    }
    for customer in claims {
        archive.claims(name, *customer, "claimed").await;
    }
    coupon
}

/// Changes the only activity of a coupon.
async fn reschedule(archive: &Archive, coupon: CouponId, change: impl FnOnce(&mut Terms)) {
    let id = archive.app.stores.number(&format!("SELECT id FROM activities WHERE coupon_id = {coupon}")).await;
    let id = couponrush::domain::ActivityId(u32::try_from(id).expect("an id"));
    archive.app.instances[0].reschedule(id, change).await.expect("the activity changes");
}

fn two_each() -> Terms {
    Terms { buy_limit: 2, total: 5, ..terms(-10, 600) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holders_and_others_get_the_same_answers_as_before() {
    let mut archive = Archive::start(3).await;
    let plain = sold(&archive, "plain", 2, None, &[0, 1]).await;
    let ended = sold(&archive, "ended", 9, Some(two_each()), &[0, 0, 1]).await;
    reschedule(&archive, ended, |terms| terms.window = crate::helpers::terms(-20, -5).window).await;
    let disabled = sold(&archive, "disabled", 9, Some(two_each()), &[0, 0, 1]).await;
    reschedule(&archive, disabled, |terms| terms.status = Status::Disabled).await;
    let declared = sold(&archive, "declared", 9, Some(two_each()), &[0, 0, 1]).await;
    reschedule(&archive, declared, |terms| terms.status = Status::SoldOut).await;
    let all_sold = sold(&archive, "all-sold", 3, Some(Terms { total: 0, ..two_each() }), &[0, 0, 1]).await;
    let coming = sold(&archive, "coming", 1, Some(terms(-10, 600)), &[0]).await;
    reschedule(&archive, coming, |terms| terms.window = crate::helpers::terms(300, 600).window).await;
    let without = archive.coupon("without", 9, true).await;
    let coupons = [
        (plain, "plain", "sold-out"),
        (ended, "ended", "ended"),
        (disabled, "disabled", "not-on-sale"),
        (declared, "declared", "sold-out"),
        (all_sold, "all-sold", "sold-out"),
        (coming, "coming", "not-started"),
        (without, "without", "not-on-sale"),
    ];
    archive.app.settle().await;
    let mut before = Vec::new();
    for (coupon, name, refusal) in coupons {
        before.push(archive.answers(archive.client(), coupon, name).await);
        archive.claims(name, 2, refusal).await;
    }
    for (_, name, _) in coupons {
        archive.archive(name).await;
    }
    // A new instance has no holders in memory, so MySQL decides.
    let other = archive.app.start_another().await.client.clone();
    for ((coupon, name, _), before) in coupons.into_iter().zip(before) {
        assert_eq!(archive.answers(&other, coupon, name).await, before, "{name}");
    }
    assert_eq!(archive.app.stores.number("SELECT COUNT(*) FROM claims").await, 2 + 3 * 4 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_closed_coupon_with_units_left_has_ended_for_all_but_its_holders() {
    let archive = Archive::start(2).await;
    sold(&archive, "plain", 5, None, &[]).await;
    for (name, from) in [("running", -10), ("later", 300)] {
        sold(&archive, name, 5, Some(terms(from, 600)), &[]).await;
    }
    let first = archive.claims("plain", 0, "claimed").await;
    for name in ["plain", "running", "later"] {
        archive.archive(name).await;
        archive.claims(name, 1, "ended").await;
    }
    let again = archive.claims("plain", 0, "already-claimed").await;
    assert_eq!(again.header("Claim-Token"), first.header("Claim-Token"));
    archive.bring_back("plain").await;
    archive.claims("plain", 1, "claimed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_must_be_stored_is_answered_at_once() {
    let archive = Archive::start(1).await;
    sold(&archive, "plain", 2, None, &[0]).await;
    archive.archive("plain").await;
    let began = Instant::now();
    let request = archive.client().request("PATCH", "/api/users/shop/coupons/plain").header("Claim-Wait", "stored");
    let answer = Answer::of(request.header("Authorization", &archive.crowd[0].token)).await;
    assert_eq!((answer.status, answer.header("Claim-Durability")), (204, "stored"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "answered after {:?}", began.elapsed());
}
