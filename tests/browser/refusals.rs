//! Refusals of the service on the merchants' page: the sentence stands at the blamed field, in the reader's language.

use couponrush::domain::Kind;
use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::{TestApp, now_seconds};
use crate::shop::{Offer, Shop};
use crate::words::Language::{Chinese, English};

impl Browser {
    /// Waits until the field called `name` shows the sentence of `key` as the failure.
    async fn reads_at(&self, name: &str, key: &str) {
        let script = format!("return document.getElementById('{name}-failure')?.innerText ?? ''");
        let sentence = self.language.says(key);
        self.until(&format!("{name} shows {sentence:?}"), async || self.script(&script).await == sentence.as_str())
            .await;
    }

    /// Blocks the requests with these URLs, so that the page keeps the old answers. Their errors are expected.
    async fn keep_old_answers(&self, urls: &[&str]) {
        self.expect_error("ERR_BLOCKED");
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.setBlockedURLs", json!({"urls": urls})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_or_hides_a_character_is_refused_at_the_name() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let cafe = shop.worker("/saler#new", "corner-cafe", size, language).await;
        cafe.expect_error("400");
        cafe.fill("product_name", Offer::default().name).await;
        cafe.fill("product_total", "10").await;
        cafe.presses("new.make").await;
        cafe.reads_at("product_name", "staff.name-taken").await;
        cafe.fill("product_name", "Slice\u{200b}of cake").await;
        cafe.presses("new.make").await;
        cafe.reads_at("product_name", "new.name-wrong").await;
        cafe.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_too_many_is_refused_in_the_readers_language() {
    let app = TestApp::start_with(|args| args.quotas.saler_coupons_max = Some(1)).await;
    let shop = Shop::on(app, "corner-cafe").await;
    shop.offer(Offer::default()).await;
    let cafe = shop.worker("/saler#new", "corner-cafe", PHONE, Chinese).await;
    cafe.expect_error("400");
    cafe.fill("product_name", "Slice of cake").await;
    cafe.fill("product_total", "10").await;
    cafe.presses("new.make").await;
    cafe.reads("staff.too-many-coupons").await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_above_an_amount_that_was_lowered_meanwhile_is_refused_at_the_total() {
    let shop = Shop::open().await;
    shop.offer(Offer { window: (600, 900), ..Offer::default() }).await;
    let cafe = shop.worker("/saler#coupon/1/schedule", "corner-cafe", DESK, English).await;
    cafe.reads("sale.make").await;
    cafe.keep_old_answers(&["*/coupons?page=*"]).await;
    let merchant = cafe.script("return sessionStorage.getItem('couponrush.session')").await;
    let merchant = merchant.as_str().expect("the merchant is logged in");
    let path = "/api/users/corner-cafe/coupons/Flat%20white";
    assert_eq!(shop.client().put(path, merchant, &json!({"amount": 5})).await.status, 200);
    cafe.expect_error("400");
    cafe.fill("total", "6").await;
    cafe.presses("sale.make").await;
    cafe.reads_at("total", "staff.total-above").await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_a_start_that_was_moved_meanwhile_is_refused_at_the_end() {
    let shop = Shop::open().await;
    shop.offer(Offer { window: (600, 900), ..Offer::default() }).await;
    let admin = shop.app.user("other", Kind::Admin).await;
    let cafe = shop.worker("/saler#coupon/1/sale/1", "corner-cafe", DESK, English).await;
    cafe.reads("sale.save").await;
    cafe.keep_old_answers(&["*/activity/list"]).await;
    let later = json!({"activity_id": 1, "start_time": now_seconds() + 2_000, "end_time": now_seconds() + 3_000});
    assert_eq!(shop.client().post("/activity/update", &admin, &later).await.status, 200);
    cafe.expect_error("400");
    cafe.set_time("end_time", 1_000).await;
    cafe.presses("sale.save").await;
    cafe.reads_at("end_time", "staff.end-before-start").await;
    cafe.close().await;
}
