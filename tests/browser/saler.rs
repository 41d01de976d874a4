//! The merchants' page: coupons, sales, live figures and the till.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::{PASSWORD, now_seconds};
use crate::losing::{Losing, REDEEM};
use crate::shop::{Offer, Shop};
use crate::words::Language::{self, Chinese, English};

const MARKUP: &str = "<img src=x onerror=\"window.pwned=1\">'&amp;\"";

/// A name, percent-encoded as one part of a path.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Shop {
    /// A browser on the merchants' or the operators' page, with `name` logged in.
    pub async fn worker(&self, path: &str, name: &str, size: (u32, u32), language: Language) -> Browser {
        let browser = Browser::open(&self.base(), size, language).await;
        browser.go(path).await;
        browser.log_in(name, PASSWORD).await;
        browser.sees(name).await;
        browser
    }

    /// Claims a coupon for a customer and returns the claim token.
    async fn claim_token(&self, saler: &str, name: &str, customer: &str) -> String {
        let answer = self.client().claim(saler, name, customer).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("Claim-Token").to_owned()
    }
}

impl Browser {
    /// Sets the value of a field by script, for fields with different keyboard input in each locale.
    pub async fn set(&self, name: &str, value: &str) {
        self.until(&format!("there is a field {name}"), async || {
            self.script(&format!("return document.getElementsByName({name:?}).length")).await == json!(1)
        })
        .await;
        self.script(&format!("document.getElementsByName({name:?})[0].value = {value:?}")).await;
    }

    /// Sets a datetime-local field to `offset` seconds from now, in the time zone of the browser.
    pub async fn set_time(&self, name: &str, offset: i64) {
        let ms = now_seconds().checked_add_signed(offset).expect("a moment after 1970") * 1_000;
        let script = format!(
            "const d = new Date({ms}); return new Date(d - d.getTimezoneOffset() * 60000).toISOString().slice(0, 19)"
        );
        let local = self.script(&script).await;
        self.set(name, local.as_str().expect("it is a text")).await;
    }

    /// Pastes a code at the till and checks it.
    async fn check(&self, token: &str) {
        self.fill("token", token).await;
        self.presses("check.look").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_makes_a_coupon_schedules_it_and_watches_it_go() {
    let shop = Shop::open().await;
    let customers = shop.app.customers(12).await;
    for (size, language, name) in [(DESK, English, "Slice of cake"), (PHONE, Chinese, "蛋糕")] {
        let saler = format!("bakery-{}", language.tag());
        let bakery = Browser::open(&shop.base(), size, language).await;
        bakery.go("/saler").await;
        bakery.presses("login.register").await;
        bakery.fill("username", &saler).await;
        bakery.fill("password", PASSWORD).await;
        bakery.presses("login.register").await;
        bakery.reads("saler.none").await;
        bakery.presses("saler.new").await;
        bakery.presses("new.make").await;
        bakery.reads("staff.needed").await;
        bakery.fill("product_name", name).await;
        bakery.fill("product_total", "10").await;
        bakery.presses("new.make").await;

        bakery.reads("sale.make").await;
        bakery.set_time("start_time", -5).await;
        bakery.set_time("end_time", -10).await;
        bakery.presses("sale.make").await;
        bakery.reads("staff.end-before-start").await;
        bakery.set_time("end_time", 3_600).await;
        bakery.presses("sale.make").await;
        bakery.reads("sale.state-open").await;

        let path = encoded(name);
        for customer in &customers[..7] {
            shop.claim_token(&saler, &path, customer).await;
        }
        let left = "return document.querySelector('.figure-left').innerText";
        bakery.until("3 are left", async || bakery.script(left).await == "3").await;
        let charts = "return document.querySelectorAll('.chart canvas').length";
        bakery.until("both are drawn", async || bakery.script(charts).await == 2).await;

        bakery.expect_error("400");
        bakery.fill("amount", "6").await;
        bakery.presses("amount.save").await;
        bakery.reads("staff.below-claimed").await;
        bakery.fill("amount", "12").await;
        bakery.presses("amount.save").await;
        bakery.sees(&language.says_with("amount.done", &[("amount", "12")])).await;
        bakery.until("5 are left", async || bakery.script(left).await == "5").await;

        bakery.presses("sale.stop").await;
        bakery.reads("sale.state-stopped").await;
        assert_eq!(shop.client().claim(&saler, &path, &customers[7]).await.result(), "not-on-sale");
        bakery.presses("sale.reopen").await;
        bakery.reads("sale.state-open").await;
        bakery.presses("sale.new").await;
        bakery.set_time("start_time", 60).await;
        bakery.set_time("end_time", 120).await;
        bakery.presses("sale.make").await;
        bakery.reads("staff.overlaps").await;
        bakery.assert_fits().await;
        bakery.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_coupon_is_a_list_and_a_file() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    for customer in shop.app.customers(101).await {
        shop.claim_token("corner-cafe", "Flat%20white", &customer).await;
    }
    shop.app.settle().await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("claims-{:x}", rand::random::<u64>()));
    let cafe = shop.worker("/saler", "corner-cafe", DESK, English).await;
    cafe.devtools("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder})).await;
    cafe.press("Flat white").await;
    cafe.presses("offer.claims").await;
    cafe.sees("customer-0").await;
    cafe.press(&format!("{} →", English.says("staff.next"))).await;
    cafe.sees_no("customer-0\n").await;
    cafe.sees("101").await;
    cafe.presses("claims.download").await;
    let file = folder.join("Flat white.csv");
    cafe.until("the file is there", async || file.exists()).await;
    let text = std::fs::read_to_string(&file).expect("it can be read");
    assert_eq!(text.lines().count(), 102, "{text}");
    assert!(text.starts_with("username,seq,"), "{text}");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_found_behind_many_newer_ones() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    for n in 0..45 {
        shop.offer(Offer { name: &format!("newer-{n}"), ..Offer::default() }).await;
    }
    let cafe = shop.worker("/saler#coupon/1", "corner-cafe", DESK, English).await;
    cafe.sees("Flat white").await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_used_once_and_every_other_is_told_in_clear_words() {
    let shop = Shop::open().await;
    shop.offer(Offer { name: "Flat white", ..Offer::default() }).await;
    let other = shop.client().user("rival", "saler").await;
    shop.client().create_coupon("rival", &other, "tea", 5).await;
    let ann = shop.client().user("ann", "customer").await;
    let token = shop.claim_token("corner-cafe", "Flat%20white", &ann).await;
    let foreign = shop.claim_token("rival", "tea", &ann).await;
    shop.app.settle().await;
    let cafe = shop.worker("/saler#check", "corner-cafe", PHONE, English).await;
    assert_eq!(cafe.script("return 'BarcodeDetector' in window").await, false, "this browser has no detector");
    cafe.sees_no(&English.says("check.camera")).await;
    cafe.check(&format!(" {token}\n")).await;
    cafe.reads("check.unused").await;
    cafe.sees("Flat white").await;
    cafe.presses("check.use").await;
    cafe.reads("check.first").await;
    cafe.presses("check.next").await;
    cafe.check(&token).await;
    cafe.sees("Used at").await;
    cafe.reads("check.used-text").await;
    cafe.check(&foreign).await;
    cafe.reads("check.foreign").await;
    cafe.sees("rival").await;
    for forged in ["a.b.c", &token[..token.len() - 2], &"x".repeat(3_001)] {
        cafe.check(forged).await;
        cafe.reads("check.forged").await;
    }
    cafe.assert_fits().await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_use_whose_answer_is_lost_is_not_called_a_used_code() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.client().user("ann", "customer").await;
    let token = shop.claim_token("corner-cafe", "Flat%20white", &ann).await;
    shop.app.settle().await;
    let losing = Losing::start(shop.app.instances[0].address, REDEEM, 3).await;
    let cafe = Browser::open(&format!("http://{}", losing.address), PHONE, English).await;
    cafe.go("/saler#check").await;
    cafe.log_in("corner-cafe", PASSWORD).await;
    cafe.check(&token).await;
    cafe.expect_error("ERR_EMPTY_RESPONSE");
    cafe.expect_error("ERR_CONNECTION");
    cafe.presses("check.use").await;
    cafe.reads("check.first-probably").await;
    assert_eq!(losing.left(), 0, "answers were lost");
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_reads_a_code_where_the_browser_can() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.client().user("ann", "customer").await;
    let token = shop.claim_token("corner-cafe", "Flat%20white", &ann).await;
    shop.app.settle().await;
    let cafe = shop.worker("/saler", "corner-cafe", PHONE, English).await;
    // The test browser has no camera and no BarcodeDetector. The script adds both, and the detector finds `token`.
    let phone = format!(
        "window.BarcodeDetector = class {{ async detect() {{ return [{{ rawValue: {token:?} }}]; }} }};
         navigator.mediaDevices.getUserMedia = async () => {{
             const canvas = document.createElement('canvas');
             canvas.getContext('2d').fillRect(0, 0, 9, 9);
             return (window.stream = canvas.captureStream(5));
         }};"
    );
    cafe.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": phone})).await;
    cafe.driver.refresh().await.expect("the page loads");
    cafe.presses("saler.check").await;
    cafe.presses("check.camera").await;
    cafe.reads("check.unused").await;
    assert_eq!(cafe.script("return window.stream.getTracks()[0].readyState").await, "ended", "the camera is off");
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_text_to_merchants_too() {
    let shop = Shop::open_as("<b>shop").await;
    let long = "W".repeat(60);
    let names = [MARKUP, "עברית evil عربي", &long, "{left} ${x} `y`", "100%25 no"];
    for name in names {
        shop.offer(Offer { name, activity: MARKUP, ..Offer::default() }).await;
    }
    let mallory = shop.client().user("<i>mallory", "customer").await;
    let path = encoded(MARKUP);
    let token = shop.claim_token("%3Cb%3Eshop", &path, &mallory).await;
    shop.app.settle().await;
    let cafe = shop.worker("/saler", "<b>shop", PHONE, English).await;
    for name in names {
        cafe.go("/saler#").await;
        cafe.press(name).await;
        cafe.reads("sale.all").await;
        cafe.sees(MARKUP).await;
        cafe.assert_fits().await;
    }
    cafe.go("/saler#").await;
    cafe.press(MARKUP).await;
    cafe.presses("offer.claims").await;
    cafe.sees("<i>mallory").await;
    cafe.presses("saler.check").await;
    cafe.check(&token).await;
    cafe.sees(MARKUP).await;
    cafe.assert_fits().await;
    assert_eq!(
        cafe.script("return window.pwned ?? document.querySelector('main img, main b, main i')").await,
        Value::Null
    );
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_takes_nothing_away_that_was_being_written() {
    let shop = Shop::open().await;
    let cafe = shop.worker("/saler#new", "corner-cafe", DESK, English).await;
    cafe.fill("product_name", "Slice of cake").await;
    cafe.fill("product_total", "25").await;
    let token = cafe.script("return sessionStorage.getItem('couponrush.session')").await;
    let token = token.as_str().expect("somebody is logged in").to_owned();
    assert_eq!(shop.client().post("/api/auth/logout", &token, &json!({})).await.status, 200);
    cafe.expect_error("401");
    cafe.until("the service knows", async || shop.client().get("/activity/list", &token).await.status == 401).await;
    cafe.presses("new.make").await;
    cafe.reads("login.expired").await;
    cafe.log_in("corner-cafe", PASSWORD).await;
    cafe.reads("new.make").await;
    cafe.presses("new.make").await;
    cafe.reads("sale.make").await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchants_page_outlives_the_service() {
    let mut shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let address = shop.app.instances[0].address;
    let cafe = shop.worker("/saler", "corner-cafe", DESK, English).await;
    cafe.press("Flat white").await;
    cafe.reads("amount.title").await; // The coupon's own view has loaded. The list shows the sale's state, too.
    for error in ["ERR_CONNECTION", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE", "503"] {
        cafe.expect_error(error);
    }
    shop.app.stop().await;
    cafe.reads("shell.unreachable").await;
    cafe.reads("live.not-hearing").await;
    cafe.sees("Flat white").await;
    shop.app.args.http_addr = address;
    shop.app.start_another().await;
    cafe.sees_no(&English.says("shell.unreachable")).await;
    cafe.sees_no(&English.says("live.not-hearing")).await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_is_told_that_nothing_is_heard_where_nothing_ever_was() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let cafe = shop.worker("/saler", "corner-cafe", DESK, English).await;
    cafe.expect_error("ERR_BLOCKED_BY_CLIENT");
    cafe.devtools("Network.enable", json!({})).await;
    cafe.devtools("Network.setBlockedURLs", json!({"urls": ["*/sec/*"]})).await;
    cafe.press("Flat white").await;
    cafe.reads("live.not-hearing").await;
    cafe.devtools("Network.setBlockedURLs", json!({"urls": []})).await;
    cafe.sees_no(&English.says("live.not-hearing")).await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sale_has_its_picture_for_merchants_and_operators() {
    let shop = Shop::open().await;
    shop.offer(Offer { amount: 400, ..Offer::default() }).await;
    let customers = shop.app.customers(300).await;
    let cafe = shop.worker("/saler#coupon/1", "corner-cafe", DESK, English).await;
    let root = shop.operator(DESK, English).await;
    let figures = "return [...document.querySelectorAll('.chart canvas')].length";
    cafe.until("charts are drawn", async || cafe.script(figures).await == 2).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for (wave, some) in customers.chunks(5).enumerate() {
        ticks.tick().await;
        let pressed = some.iter().cycle().take(if wave % 12 < 6 { 5 } else { 2 });
        for customer in pressed {
            shop.client().claim("corner-cafe", "Flat%20white", customer).await;
        }
    }
    let left = cafe.script("return document.querySelector('.figure-left').innerText").await;
    assert!(left.as_str().is_some_and(|left| left.parse().is_ok_and(|left: u32| left < 250)), "{left}");
    for browser in [&cafe, &root] {
        browser.color_scheme("light").await;
        browser.until("the light chart is drawn", async || browser.script(figures).await != 0).await;
    }
    cafe.picture("saler-running-desk").await;
    root.picture("admin-running-desk").await;
    cafe.close().await;
    root.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_merchants_keeps_anybody_out() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    shop.offer(Offer { name: "Bag of beans", window: (600, 900), ..Offer::default() }).await;
    for token in shop.app.customers(3).await {
        shop.claim_token("corner-cafe", "Flat%20white", &token).await;
    }
    shop.app.settle().await;
    for (size, language, picture) in [(PHONE, Chinese, "phone"), (DESK, English, "desk")] {
        let cafe = shop.worker("/saler", "corner-cafe", size, language).await;
        for (path, key, view) in [
            ("", "saler.new", "coupons"),
            ("new", "new.make", "new"),
            ("coupon/1", "sale.stop", "coupon"),
            ("coupon/1/schedule", "sale.make", "schedule"),
            ("coupon/1/sale/1", "sale.save", "change"),
            ("coupon/1/claims", "claims.download", "claims"),
            ("check", "check.look", "check"),
        ] {
            cafe.go(&format!("/saler#{path}")).await;
            cafe.reads(key).await;
            cafe.assert_accessible(view).await;
            cafe.assert_fits().await;
            cafe.color_scheme("light").await;
            cafe.picture(&format!("saler-{view}-{picture}")).await;
        }
        cafe.close().await;
    }
}
