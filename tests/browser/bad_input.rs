//! Disturbances of the customers' page: markup in names, a stopped service, lost answers, an expired session, two tabs,
//! the back button, a broken stream and a wrong clock.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::{PASSWORD, RedisServer, Stores, TestApp};
use crate::losing::{CLAIM, Losing};
use crate::proxy::{Mode, Proxy};
use crate::shop::{DESCRIPTION, Offer, Shop};
use crate::words::Language::English;

/// Limit for a change of the units left to appear without a stream. The next refresh of the list of sales comes later.
const POLLED_WITHIN: Duration = Duration::from_secs(7);
const MARKUP: &str = "<img src=x onerror=\"window.pwned=1\">'&amp;\"";

#[tokio::test(flavor = "multi_thread")]
async fn names_are_text_whatever_they_hold() {
    let shop = Shop::open_as("<b>shop").await;
    let long = "W".repeat(60);
    let names = [MARKUP, "עברית evil عربي", &long, "{left} ${x} `y`", "100%25 no"];
    for name in names {
        shop.offer(Offer { name, activity: MARKUP, ..Offer::default() }).await;
    }
    let ann = shop.customer(&format!("<i>{}", "a".repeat(50)), PHONE, English).await;
    for name in names {
        ann.sees(name).await;
    }
    ann.sees("<b>shop").await;
    ann.assert_fits().await;
    for _ in names {
        ann.presses("sales.get").await;
    }
    ann.until("each was claimed", async || ann.text().await.matches(&English.says("sales.show")).count() == 5).await;
    ann.presses("customer.coupons").await;
    for name in names {
        ann.sees(name).await;
    }
    ann.assert_fits().await;
    for name in names {
        ann.go("/#coupons").await;
        ann.press(&format!("{} {name}", English.says("coupons.show"))).await;
        ann.reads("coupon.at-counter").await;
        ann.sees(name).await;
        ann.assert_fits().await;
    }
    assert_eq!(
        ann.script("return window.pwned ?? document.querySelector('main img, main b, main i')").await,
        json!(null)
    );
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_outlives_the_service_and_goes_on_when_it_is_back() {
    let mut shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let address = shop.app.instances[0].address;
    let ann = shop.customer("ann", PHONE, English).await;
    ann.reads("sales.get").await;
    ann.expect_error("ERR_CONNECTION");
    ann.expect_error("ERR_INCOMPLETE_CHUNKED_ENCODING");
    ann.expect_error("ERR_EMPTY_RESPONSE");
    ann.expect_error("503");
    shop.app.stop().await;
    ann.reads("shell.unreachable").await;
    ann.sees("Flat white").await;
    ann.presses("sales.get").await;
    ann.reads("sales.asking-again").await;
    shop.app.args.http_addr = address;
    shop.app.start_another().await;
    ann.reads("outcome.claimed").await;
    ann.sees_no(&English.says("shell.unreachable")).await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_is_never_shown_as_a_failure_though_its_answers_are_lost() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    shop.client().user("ann", "customer").await;
    // Chromium itself repeats a request on each of six connections, so more than six answers are lost.
    let losing = Losing::start(shop.app.instances[0].address, CLAIM, 8).await;
    let ann = Browser::open(&format!("http://{}", losing.address), PHONE, English).await;
    ann.go("/#log-in").await;
    ann.log_in("ann", PASSWORD).await;
    ann.expect_error("ERR_EMPTY_RESPONSE");
    ann.expect_error("ERR_CONNECTION");
    ann.presses("sales.get").await;
    ann.reads("outcome.claimed").await;
    ann.sees("1st of 1,000").await;
    assert_eq!(losing.left(), 0, "answers were lost");
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_does_not_arrive_is_asked_for_again_with_the_page() {
    let shop = Shop::open().await;
    let cafe = shop.worker("/saler", "corner-cafe", PHONE, English).await;
    cafe.reads("saler.none").await;
    cafe.devtools("Network.enable", json!({})).await;
    cafe.devtools("Network.setBlockedURLs", json!({"urls": ["*/saler/check.*"]})).await;
    cafe.expect_error("ERR_BLOCKED");
    cafe.presses("saler.check").await;
    cafe.reads("shell.missing").await;
    cafe.assert_fits().await;
    cafe.devtools("Network.setBlockedURLs", json!({"urls": []})).await;
    cafe.presses("shell.reload").await;
    cafe.reads("check.how").await;
    cafe.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_while_nobody_can_be_asked_goes_on_by_itself() {
    let redis = RedisServer::start().await;
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await;
    let shop = Shop::on(app, "corner-cafe").await;
    shop.offer(Offer::default()).await;
    let ann = shop.customer("ann", DESK, English).await;
    ann.reads("sales.get").await;
    ann.expect_error("503");
    redis.freeze();
    ann.presses("sales.get").await;
    ann.reads("sales.asking-again").await;
    redis.thaw();
    ann.sees("1st of 1,000").await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_logged_out_elsewhere_logs_in_and_is_back_where_he_was() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.customer("ann", PHONE, English).await;
    let token = ann.script("return sessionStorage.getItem('couponrush.session')").await;
    let token = token.as_str().expect("it is kept for the tab");
    assert!(!ann.driver.current_url().await.expect("there is a page").as_str().contains(token), "never in an address");
    assert_eq!(shop.client().post("/api/auth/logout", token, &json!({})).await.status, 200);
    ann.expect_error("401");
    ann.presses("sales.get").await;
    ann.reads("outcome.not-logged-in").await;
    ann.presses("sales.get-logged-out").await;
    ann.reads("login.expired").await;
    ann.log_in("ann", PASSWORD).await;
    ann.presses("sales.get").await;
    ann.reads("outcome.claimed").await;

    // In the view of her coupons, the login form replaces the list, and the list returns after the login.
    let token = ann.script("return sessionStorage.getItem('couponrush.session')").await;
    shop.client().post("/api/auth/logout", token.as_str().expect("it is kept"), &json!({})).await;
    ann.presses("customer.coupons").await;
    ann.reads("login.expired").await;
    ann.log_in("ann", PASSWORD).await;
    ann.sees(DESCRIPTION).await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_one_customer_get_one_coupon() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let one = shop.customer("ann", DESK, English).await;
    let other = Browser::open(&shop.base(), DESK, English).await;
    other.go("/#log-in").await;
    other.log_in("ann", PASSWORD).await;
    other.reads("sales.get").await;
    one.presses("sales.get").await;
    one.reads("outcome.claimed").await;
    other.presses("sales.get").await;
    other.reads("outcome.already-claimed").await;
    other.sees("1st of 1,000").await;
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_button_leads_back_and_a_link_takes_nothing() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    shop.offer(Offer { name: "Cake", ..Offer::default() }).await;
    let ann = shop.customer("ann", PHONE, English).await;
    ann.go("/#coupon/corner-cafe/Cake").await;
    ann.reads("coupon.missing").await;
    ann.go("/#coupon/%E0%A4%A/x").await;
    ann.reads("sales.get").await;
    ann.presses("customer.coupons").await;
    ann.reads("coupons.none").await;
    ann.driver.back().await.expect("there is a page before");
    ann.reads("sales.get").await;
    ann.driver.forward().await.expect("there is a page after");
    ann.reads("coupons.none").await;
    ann.driver.refresh().await.expect("it reloads");
    ann.reads("coupons.none").await;
    ann.presses("shell.log-out").await;
    ann.reads("coupons.log-in").await;
    ann.driver.back().await.expect("there is a page before");
    ann.reads("sales.get-logged-out").await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_go_on_moving_after_the_stream_was_cut_and_without_any_stream() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let customers = shop.app.customers(3).await;
    // The offline emulation of the browser does not end an open stream, so a proxy breaks the connections.
    let network = Proxy::start(std::net::Ipv4Addr::LOCALHOST, shop.app.instances[0].address.port()).await;
    let browser = Browser::open(&format!("http://127.0.0.1:{}", network.port), PHONE, English).await;
    browser.go("/").await;
    browser.sees("1,000 of 1,000 left").await;
    shop.client().claim("corner-cafe", "Flat%20white", &customers[0]).await;
    browser.sees("999 of 1,000 left").await;
    browser.expect_error("net::ERR_");
    network.set(Mode::Reset);
    browser.reads("shell.unreachable").await;
    shop.client().claim("corner-cafe", "Flat%20white", &customers[1]).await;
    browser.sees("999 of 1,000 left").await;
    network.set(Mode::Pass);
    browser.sees("998 of 1,000 left").await;
    browser.sees_no(&English.says("shell.unreachable")).await;

    browser.expect_error("503");
    shop.switch_off("events").await;
    browser.go("/").await;
    browser.sees("998 of 1,000 left").await;
    shop.client().claim("corner-cafe", "Flat%20white", &customers[2]).await;
    let claimed = Instant::now();
    browser.sees("997 of 1,000 left").await;
    assert!(claimed.elapsed() < POLLED_WITHIN, "the units left were not polled, after {:?}", claimed.elapsed());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_clock_is_wrong_counts_down_by_the_server_s() {
    let shop = Shop::open().await;
    shop.offer(Offer { window: (290, 900), ..Offer::default() }).await;
    let browser = Browser::open(&shop.base(), PHONE, English).await;
    let wrong = "const right = Date.now; Date.now = () => right() + 3_600_000;";
    browser.devtools("Page.enable", json!({})).await;
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": wrong})).await;
    browser.go("/").await;
    browser.reads("sales.starts-in").await;
    let counted = async || browser.script("return document.querySelector('[role=timer]').innerText").await;
    browser.until("it is counted by the server's clock", async || counted().await.to_string().contains("00:04:")).await;
    browser.close().await;
}
