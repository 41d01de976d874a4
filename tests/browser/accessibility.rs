//! axe-core on every view. Screen readers, keyboards and low contrast vision must work with all pages.

use serde_json::Value;

use crate::browser::{Browser, DESK, PHONE};
use crate::shop::{DESCRIPTION, Offer, Shop};
use crate::words::Language::{Chinese, English};

const AXE: &str = include_str!("vendor/axe.js");
const RUN: &str = "const done = arguments[arguments.length - 1];
    axe.run().then((found) => done(found.violations), (error) => done(String(error)));";

impl Browser {
    /// Fails if axe-core finds a serious or critical violation, in light or dark colours.
    pub async fn assert_accessible(&self, what: &str) {
        for scheme in ["light", "dark"] {
            self.color_scheme(scheme).await;
            self.script(AXE).await;
            let found = self.driver.execute_async(RUN, Vec::new()).await.expect("axe runs");
            let found = found.json().as_array().unwrap_or_else(|| panic!("{what}: {:?}", found.json())).clone();
            let bad = |violation: &Value| ["serious", "critical"].contains(&violation["impact"].as_str().unwrap_or(""));
            let bad: Vec<String> = found
                .iter()
                .filter(|violation| bad(violation))
                .map(|violation| format!("{}: {}", violation["help"], violation["nodes"][0]["html"]))
                .collect();
            assert_eq!(bad, [] as [String; 0], "{what}, {scheme}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_customers_keeps_anybody_out() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    shop.offer(Offer { name: "Bag of beans", window: (600, 900), ..Offer::default() }).await;
    for (size, language) in [(PHONE, English), (DESK, Chinese)] {
        let stranger = Browser::open(&shop.base(), size, language).await;
        stranger.go("/").await;
        stranger.sees("Bag of beans").await;
        stranger.assert_accessible("sales, not logged in").await;
        stranger.go("/#log-in").await;
        stranger.reads("login.title-customer").await;
        stranger.assert_accessible("logging in").await;
        stranger.close().await;

        let ann = shop.customer(&format!("ann-{}", language.tag()), size, language).await;
        ann.presses("sales.get").await;
        ann.reads("outcome.claimed").await;
        ann.assert_accessible("an outcome").await;
        ann.presses("customer.coupons").await;
        ann.sees(DESCRIPTION).await;
        ann.assert_accessible("my coupons").await;
        ann.go("/#coupon/corner-cafe/Flat%20white").await;
        ann.reads("coupon.at-counter").await;
        ann.assert_accessible("a coupon").await;
        ann.press(&format!("ann-{}", language.tag())).await;
        ann.reads("password.title").await;
        ann.assert_accessible("the change of a password").await;
        ann.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_to_take_part() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.customer("ann", DESK, English).await;
    ann.reads("sales.get").await;
    let sees = English.says("sales.get");
    for _ in 0..20 {
        ann.driver.action_chain().send_keys(thirtyfour::Key::Tab).perform().await.expect("a key can be pressed");
        if ann.script("return document.activeElement.innerText").await == sees.as_str() {
            break;
        }
    }
    ann.driver.action_chain().send_keys(thirtyfour::Key::Enter).perform().await.expect("a key can be pressed");
    ann.reads("outcome.claimed").await;
    ann.close().await;
}
