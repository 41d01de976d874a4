//! A whole sale. A merchant schedules the sale. A customer waits, gets a coupon and shows the code. A later customer
//! finds the coupon sold out. An operator blocks a customer.

use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::PASSWORD;
use crate::shop::{DESCRIPTION, Offer, Shop};
use crate::words::Language::{self, Chinese, English};

/// Seconds until the sale starts, long enough for a registration in a browser.
const SOON: i64 = 15;

async fn whole_story(size: (u32, u32), language: Language) {
    let shop = Shop::open().await;
    let offer = Offer { amount: 2, window: (SOON, 600), ..Offer::default() };
    let ann = Browser::open(&shop.base(), size, language).await;

    let cafe = shop.worker("/saler", "corner-cafe", size, language).await;
    cafe.schedule(offer).await;

    // Ann looks at the sales, registers and waits.
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

    // The button opens without a reload. Ann is the first and sees the number.
    ann.presses("sales.get").await;
    ann.reads("outcome.claimed").await;
    let first = if language == English { "1st" } else { "1" };
    ann.sees(&language.says_with("outcome.claimed-text", &[("seq", first), ("amount", "2")])).await;
    ann.sees(&language.says_with("sales.left", &[("left", "1"), ("total", "2")])).await;

    ann.show_coupon(&shop, offer.name).await;

    // Bob claims the last unit, and Carol sees the sale sell out.
    let bob = shop.customer("bob", size, language).await;
    let carol = shop.customer("carol", size, language).await;
    carol.sees(&language.says_with("sales.left", &[("left", "1"), ("total", "2")])).await;
    bob.presses("sales.get").await;
    let second = if language == English { "2nd" } else { "2" };
    bob.sees(&language.says_with("outcome.claimed-text", &[("seq", second), ("amount", "2")])).await;
    carol.reads("sales.sold-out").await;

    // The merchant's page shows 0 units left.
    let left = "return document.querySelector('.figure-left').innerText";
    cafe.until("0 are left", async || cafe.script(left).await == "0").await;

    // A second sale: the merchant declares it sold out, then reopens it, and an operator blocks Carol.
    let another = Offer { name: "Slice of cake", window: (-5, 600), ..Offer::default() };
    shop.offer(another).await;
    carol.go("/").await;
    carol.sees(another.name).await;
    cafe.go("/saler#").await;
    cafe.press(another.name).await;
    cafe.presses("sale.declare").await;
    cafe.reads("sale.state-sold-out").await;
    carol.presses("sales.get").await;
    carol.reads("outcome.sold-out").await;
    cafe.presses("sale.reopen").await;
    cafe.reads("sale.state-open").await;
    let root = shop.operator(size, language).await;
    is_blocked(&root, &carol).await;

    for browser in [ann, bob, carol, cafe, root] {
        browser.assert_fits().await;
        browser.close().await;
    }
}

/// Blocks the customer `carol`. The block ends the session, and a new login tells why.
async fn is_blocked(root: &Browser, carol: &Browser) {
    root.block("carol").await;
    carol.expect_error("401");
    carol.presses("sales.get").await;
    carol.reads("outcome.not-logged-in-text").await;
    carol.expect_error("403");
    carol.go("/#log-in").await;
    carol.log_in("carol", PASSWORD).await;
    carol.reads("login.failed-blocked").await;
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
    /// Creates a coupon and schedules the sale, as a merchant.
    async fn schedule(&self, offer: Offer<'_>) {
        self.presses("saler.new").await;
        self.fill("product_name", offer.name).await;
        self.fill("product_total", &offer.amount.to_string()).await;
        self.fill("description", DESCRIPTION).await;
        self.presses("new.make").await;
        self.set_time("start_time", offer.window.0).await;
        self.set_time("end_time", offer.window.1).await;
        self.presses("sale.make").await;
        self.reads("sale.state-before").await;
    }

    /// Opens the coupon, as a customer, and checks the claim token in the QR code and in the text.
    async fn show_coupon(&self, shop: &Shop, name: &str) {
        self.presses("customer.coupons").await;
        self.sees(DESCRIPTION).await;
        self.press(&format!("{} {name}", self.language.says("coupons.show"))).await;
        self.sees(&self.language.says_with("coupon.number", &[("seq", "1")])).await;
        self.assert_fits().await;
        let token = self.qr_code().await;
        let shown = self.script("return document.querySelector('.token').value").await;
        assert_eq!(shown, json!(token), "the text is the same");
        let proof = shop.client().post("/sec/token", "", &json!({"token": token})).await.json();
        assert_eq!((&proof["data"]["valid"], &proof["data"]["seq"]), (&json!(true), &json!(1)), "{proof}");
    }

    /// Blocks a user, as an operator.
    async fn block(&self, name: &str) {
        self.presses("admin.view-blacklist").await;
        self.fill("value", name).await;
        self.expect_error("404");
        self.presses("blacklist.look").await;
        self.presses("blacklist.for-0").await;
        self.sees(&self.language.says_with("blacklist.is-out-for-ever", &[("value", name)])).await;
    }

    /// Presses the submit button of the form.
    async fn press_submit(&self) {
        let button = self.driver.find(thirtyfour::By::Css("form button[type=submit]")).await;
        button.expect("a form has a button").click().await.expect("it can be pressed");
    }

    /// The text of the QR code on the page, decoded from the drawn path.
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
        // Four pixels per module, like a camera picture.
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
