//! The lists of customers and salers show archived coupons.

use couponrush::base::now_ms;
use couponrush::domain::Terms;
use serde_json::{Value, json};

use super::Archive;
use crate::helpers::{eventually, proof, terms};

fn named(names: &[(&str, u64)]) -> Vec<(String, u64)> {
    names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_customer_s_list_stays_the_same_when_coupons_are_archived() {
    let archive = Archive::start(2).await;
    for name in ["one", "two", "three"] {
        let coupon = archive.coupon(name, 9, true).await;
        let twice = Terms { buy_limit: 2, ..terms(-10, 600) };
        archive.app.instances[0].schedule(coupon, &twice).await.expect("an activity");
    }
    for name in ["one", "two", "three", "two"] {
        let claimed = proof(&archive.claims(name, 0, "claimed").await).claimed_at_ms;
        // MySQL stores no order of claims in the same millisecond.
        eventually("the millisecond is over", || async { now_ms() > claimed }).await;
    }
    archive.claims("three", 1, "claimed").await;
    let (all, other) = (named(&[("two", 2), ("three", 1), ("one", 1)]), named(&[("three", 1)]));
    let before = archive.list(0).await.text;
    assert_eq!((archive.held(0).await, archive.held(1).await), (all.clone(), other.clone()));
    for name in ["one", "two", "three"] {
        archive.archive(name).await;
        for _ in 0..2 {
            assert_eq!(archive.list(0).await.text, before, "{name}");
            assert_eq!(archive.held(1).await, other, "{name}");
        }
    }
    // A coupon that came back is listed once.
    archive.bring_back("two").await;
    assert_eq!(archive.held(0).await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_saler_s_list_shows_the_last_units_and_marks_archived_coupons() {
    let archive = Archive::start(2).await;
    let coupon = archive.coupon("old", 5, false).await;
    archive.coupon("new", 5, false).await;
    for customer in [0, 1] {
        archive.claims("old", customer, "claimed").await;
    }
    let items = async || {
        let list = archive.client().list("shop", &archive.shop).await.json();
        list["data"].as_array().expect("a list").clone()
    };
    let before = items().await;
    assert!(before.iter().all(|item| item.get("archived").is_none()), "{before:?}");
    let marked = |item: &Value| {
        let mut item = item.clone();
        item["archived"] = json!(true);
        item
    };
    archive.archive("old").await;
    assert_eq!(items().await, [before[0].clone(), marked(&before[1])]);
    let revision = archive.sell_in_mysql(coupon).await;
    archive.mark(coupon, &format!("loading:{revision}:of-a-test")).await;
    assert_eq!(items().await, [before[0].clone(), marked(&before[1])], "while it is being loaded");
    archive.publish(coupon).await;
    assert_eq!(items().await, before);
}
