//! The whole story: a sale is waited for, one gets a coupon and shows it, another comes too late, one is kept out.

use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::PASSWORD;
use crate::shop::{DESCRIPTION, Offer, Shop};
use crate::words::Language;
use crate::words::Language::{Chinese, English};

/// Seconds until the sale of a story begins: enough to register in a browser.
const SOON: i64 = 12;

async fn whole_story(size: (u32, u32), language: Language) {
    let shop = Shop::open().await;
    let offer = Offer { amount: 2, window: (SOON, 600), ..Offer::default() };
    let sale = shop.offer(offer).await;

    // She looks, registers and waits.
    let ann = Browser::open(&shop.base(), size, language).await;
    ann.go("/").await;
    ann.sees(offer.name).await;
    assert_eq!(ann.script("return document.documentElement.lang").await, language.tag());
    ann.assert_fits().await;
    ann.presses("sales.be-ready").await;
    ann.presses("login.register").await;
    ann.fill("username", "ann").await;
    ann.fill("password", PASSWORD).await;
    ann.press_submit().await;
    ann.sees("ann").await;
    ann.reads("sales.starts-in").await;
    let closed = ann.script("return document.querySelector('.sale button').disabled").await;
    assert_eq!(closed, json!(true), "the button is closed before the start");

    // It opens by itself; she is the first, and sees the number.
    ann.presses("sales.get").await;
    ann.reads("outcome.claimed").await;
    let first = if language == English { "1st" } else { "1" };
    ann.sees(&language.says_with("outcome.claimed-text", &[("seq", first), ("amount", "2")])).await;
    ann.sees(&language.says_with("sales.left", &[("left", "1"), ("total", "2")])).await;

    // She finds the coupon, and its code is the proof of her claim.
    ann.presses("customer.coupons").await;
    ann.sees(DESCRIPTION).await;
    ann.press(&format!("{} {}", language.says("coupons.show"), offer.name)).await;
    ann.sees(&language.says_with("coupon.number", &[("seq", "1")])).await;
    ann.assert_fits().await;
    let token = ann.qr_code().await;
    let shown = ann.script("return document.querySelector('.token').value").await;
    assert_eq!(shown, json!(token), "the text is the same");
    let proof = shop.client().post("/sec/token", "", &json!({"token": token})).await.json();
    assert_eq!((&proof["data"]["valid"], &proof["data"]["seq"]), (&json!(true), &json!(1)), "{proof}");

    // Two look on while the last one goes.
    let bob = shop.customer("bob", size, language).await;
    let carol = shop.customer("carol", size, language).await;
    carol.sees(&language.says_with("sales.left", &[("left", "1"), ("total", "2")])).await;
    bob.presses("sales.get").await;
    let second = if language == English { "2nd" } else { "2" };
    bob.sees(&language.says_with("outcome.claimed-text", &[("seq", second), ("amount", "2")])).await;
    carol.reads("sales.sold-out").await;

    // There are more; but the merchant declares it sold out, and somebody is kept out.
    let another = Offer { name: "Slice of cake", window: (-5, 600), ..Offer::default() };
    let cake = shop.offer(another).await;
    carol.go("/").await;
    carol.sees(another.name).await;
    shop.change(cake, json!({"status": 2})).await;
    carol.presses("sales.get").await;
    carol.reads("outcome.sold-out").await;
    shop.change(cake, json!({"status": 0})).await;
    shop.block("carol").await;
    carol.expect_error("403");
    carol.presses("sales.get").await;
    carol.reads("outcome.blocked").await;
    shop.change(sale, json!({"status": 1})).await;

    for browser in [ann, bob, carol] {
        browser.assert_fits().await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_on_a_phone_in_english() {
    whole_story(PHONE, English).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_at_a_desk_in_chinese() {
    whole_story(DESK, Chinese).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_on_a_phone_in_chinese() {
    whole_story(PHONE, Chinese).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_at_a_desk_in_english() {
    whole_story(DESK, English).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_language_can_be_switched_and_is_remembered() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = Browser::open(&shop.base(), PHONE, English).await;
    ann.go("/").await;
    ann.reads("sales.ends-in").await;
    ann.press("中文").await;
    ann.sees(&Chinese.says("sales.ends-in")).await;
    ann.go("/").await;
    ann.sees(&Chinese.says("sales.ends-in")).await;
    assert_eq!(ann.script("return document.documentElement.lang").await, "zh-CN");
    ann.close().await;
}

impl Browser {
    /// Presses the button of the form.
    async fn press_submit(&self) {
        let button = self.driver.find(thirtyfour::By::Css("form button[type=submit]")).await;
        button.expect("a form has a button").click().await.expect("it can be pressed");
    }

    /// What the QR code on the page says, read from what is drawn.
    async fn qr_code(&self) -> String {
        self.until("the code is drawn", async || {
            self.script("return document.querySelector('.qr path') !== null").await == json!(true)
        })
        .await;
        let svg = self.script("const q = document.querySelector('.qr'); return [q.getAttribute('viewBox'), q.querySelector('path').getAttribute('d')]").await;
        let part = |n: usize| svg[n].as_str().expect("it has both");
        let size: usize = part(0).rsplit(' ').next().and_then(|size| size.parse().ok()).expect("a size");
        let mut black = vec![vec![false; size]; size];
        for module in part(1).split('M').skip(1) {
            let place = module.split('h').next().expect("a place");
            let (x, y) = place.split_once(' ').expect("two numbers");
            black[y.parse::<usize>().expect("a number")][x.parse::<usize>().expect("a number")] = true;
        }
        // Four pixels a module, as a camera sees it.
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(
                4 * size,
                4 * size,
                |x, y| {
                    if black[y / 4][x / 4] { 0 } else { 255 }
                },
            );
        let codes = image.detect_grids();
        codes.first().expect("there is a code").decode().expect("it can be read").1
    }
}
