//! Screenshots of every view, for the README (`scripts/screenshots`) and for debugging.

use std::path::PathBuf;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::PASSWORD;
use crate::shop::{DESCRIPTION, Offer, Shop};
use crate::words::Language::{self, Chinese, English};

/// The folder for screenshots: `COUPONRUSH_SCREENSHOTS`, or a folder below `target`.
fn folder() -> PathBuf {
    let wanted = std::env::var("COUPONRUSH_SCREENSHOTS").ok().filter(|wanted| !wanted.is_empty());
    let folder = wanted.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

impl Browser {
    /// Saves a screenshot of the window as `name.png`.
    pub async fn picture(&self, name: &str) {
        let png = self.driver.screenshot_as_png().await.expect("a picture can be taken");
        std::fs::write(folder().join(format!("{name}.png")), png).expect("the folder can be written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_of_customers_has_its_picture() {
    let shop = Shop::open().await;
    shop.offer(Offer { amount: 100, ..Offer::default() }).await;
    shop.offer(Offer { name: "Slice of cake", activity: "Birthday", amount: 40, window: (-5, 900), buy_limit: 2 })
        .await;
    shop.offer(Offer {
        name: "Bag of beans",
        activity: "Friday night",
        amount: 250,
        window: (95, 7_200),
        buy_limit: 1,
    })
    .await;
    for token in shop.app.customers(56).await {
        shop.client().claim("corner-cafe", "Flat%20white", &token).await;
    }
    shop.client().user("ann", "customer").await;
    for (name, size, language, scheme) in [
        ("phone", PHONE, English, "light"),
        ("phone-dark-zh", PHONE, Chinese, "dark"),
        ("desk", DESK, English, "light"),
        ("desk-dark", DESK, English, "dark"),
    ] {
        pictures(&shop, name, size, language, scheme).await;
    }
}

async fn pictures(shop: &Shop, name: &str, size: (u32, u32), language: Language, scheme: &str) {
    let ann = Browser::open(&shop.base(), size, language).await;
    ann.color_scheme(scheme).await;
    ann.go("/#log-in").await;
    ann.reads("login.title-customer").await;
    ann.picture(&format!("log-in-{name}")).await;
    ann.log_in("ann", PASSWORD).await;
    ann.sees("Bag of beans").await;
    ann.picture(&format!("sales-{name}")).await;
    if ann.text().await.contains(&language.says("sales.get")) && name == "phone" {
        ann.presses("sales.get").await;
        ann.reads("outcome.claimed").await;
        ann.picture(&format!("outcome-{name}")).await;
    }
    ann.presses("customer.coupons").await;
    ann.sees(DESCRIPTION).await;
    ann.picture(&format!("coupons-{name}")).await;
    ann.press(&format!("{} Flat white", language.says("coupons.show"))).await;
    ann.reads("coupon.at-counter").await;
    ann.picture(&format!("coupon-{name}")).await;
    ann.assert_fits().await;
    ann.close().await;
}
