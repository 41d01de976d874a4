//! Accounts: the dialog for a new password, and logins while others guess at a name.

use serde_json::json;

use crate::browser::{Browser, PHONE};
use crate::helpers::{Answer, PASSWORD, TestApp, eventually};
use crate::shop::Shop;
use crate::words::Language::{Chinese, English};

const NEW: &str = "battery staple";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_changes_the_password_and_stays_logged_in() {
    let shop = Shop::open().await;
    for (name, language) in [("ann", English), ("名 ann", Chinese)] {
        let ann = shop.customer(name, PHONE, language).await;
        // Chromium writes each answer with an error status to the console.
        ann.expect_error("/password");
        ann.press(name).await;
        for (old, new, sentence) in [
            ("not her password", NEW, "password.failed-old"),
            (PASSWORD, "short", "password.failed-short"),
            (PASSWORD, &"x".repeat(257), "password.failed-long"),
        ] {
            ann.fill("old", old).await;
            ann.fill("new", new).await;
            ann.presses("password.action").await;
            ann.reads(sentence).await;
        }
        ann.assert_fits().await;
        ann.fill("old", PASSWORD).await;
        ann.fill("new", NEW).await;
        ann.presses("password.action").await;
        ann.reads("password.done").await;
        ann.presses("password.close").await;
        // The new session can read the customer's list.
        ann.presses("customer.coupons").await;
        ann.reads("coupons.none").await;
        ann.presses("shell.log-out").await;
        ann.go("/#log-in").await;
        ann.log_in(name, NEW).await;
        ann.sees(name).await;
        ann.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dialog_of_the_password_closes_without_a_change() {
    let shop = Shop::open().await;
    let ann = shop.customer("ann", PHONE, English).await;
    ann.press("ann").await;
    ann.reads("password.title").await;
    ann.presses("password.cancel").await;
    ann.sees_no(&English.says("password.title")).await;
    ann.press("ann").await;
    ann.reads("password.title").await;
    ann.close().await;
    assert_eq!(shop.client().log_in("ann", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_logged_in_before_logs_in_while_others_guess_at_the_name() {
    let app = TestApp::start_with(|args| {
        args.admission.failed_logins_per_minute = 1;
        args.admission.trusted_proxies = "127.0.0.1".parse().expect("networks");
    })
    .await;
    let mut shop = Shop::on(app, "corner-cafe").await;
    let ann = shop.customer("ann", PHONE, English).await;
    let marks = ann.script("return localStorage.getItem('couponrush.devices')").await;
    ann.close().await;
    let networks = "SELECT COUNT(*) FROM known_networks";
    eventually("both networks are known", || async { shop.app.stores.number(networks).await == 2 }).await;
    shop.app.stores.execute("DELETE FROM known_networks").await;

    // Another instance knows nothing of her network.
    let other = shop.app.start_another().await;
    let guess = json!({"username": "ann", "password": "a guess"}).to_string();
    for n in 0..10 {
        let request = other.client.request("POST", "/api/auth").body(guess.clone());
        assert_eq!(Answer::of(request.header("X-Forwarded-For", format!("198.51.100.{n}"))).await.status, 401);
    }
    let ann = Browser::open(&format!("http://{}", other.address), PHONE, English).await;
    ann.expect_error("/api/auth");
    ann.go("/#log-in").await;
    ann.log_in("ann", PASSWORD).await;
    ann.reads("login.failed-rate-limited").await;
    ann.script(&format!("localStorage.setItem('couponrush.devices', {marks});")).await;
    ann.log_in("ann", PASSWORD).await;
    ann.reads("customer.coupons").await;
    ann.close().await;
}
