//! The flash-sale interface shows archived products as before.

use couponrush::domain::{CouponId, Terms};
use serde_json::Value;

use super::Archive;
use crate::helpers::terms;

/// A product with two claims by the customers 0 and 1, whose sale is over.
async fn sold(archive: &Archive, name: &str, amount: u32, total: u32) -> CouponId {
    let product = archive.coupon(name, amount, true).await;
    let terms = Terms { total, ..terms(-10, 600) };
    let activity = archive.app.instances[0].schedule(product, &terms).await.expect("an activity");
    for customer in [0, 1] {
        archive.claims(name, customer, "claimed").await;
    }
    let over = |terms: &mut Terms| terms.window = crate::helpers::terms(-20, -5).window;
    archive.app.instances[0].reschedule(activity, over).await.expect("the activity changes");
    product
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archived_product_shows_its_last_sale_on_an_instance_without_its_activities() {
    let mut archive = Archive::start(3).await;
    let products = [
        (sold(&archive, "limited", 9, 4).await, "limited"),
        (sold(&archive, "open", 9, 0).await, "open"),
        (sold(&archive, "gone", 2, 2).await, "gone"),
    ];
    archive.app.settle().await;
    let info = async |archive: &Archive, instance: usize, product: CouponId| {
        let path = format!("/sec/info?product_id={product}");
        archive.app.instances[instance].client.get(&path, "").await.json()["data"].clone()
    };
    let mut before = Vec::new();
    for (product, name) in products {
        let shown = info(&archive, 0, product).await;
        assert_eq!((&shown["end"], &shown["start"]), (&true.into(), &false.into()), "{shown}");
        before.push((shown, archive.answers(archive.client(), product, name).await));
    }
    assert_eq!(before[0].0["left"], 2, "the activity's total is the lower bound");
    for (_, name) in products {
        archive.archive(name).await;
    }
    // An instance that starts now reads no activities of archived products.
    archive.app.start_another().await;
    for ((product, name), (shown, answers)) in products.into_iter().zip(before) {
        assert_eq!(info(&archive, 1, product).await, shown, "{name}");
        assert_eq!(archive.answers(&archive.app.instances[1].client, product, name).await, answers, "{name}");
    }
    assert_eq!(info(&archive, 1, CouponId(1_000)).await, Value::Null, "the product is unknown");
}
