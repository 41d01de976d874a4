//! The account of whoever is logged in: the dialog that changes the password.

use crate::browser::PHONE;
use crate::helpers::PASSWORD;
use crate::shop::Shop;
use crate::words::Language::{Chinese, English};

const NEW: &str = "battery staple";

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_changes_the_password_and_stays_logged_in() {
    let shop = Shop::open().await;
    for (name, language) in [("ann", English), ("名 ann", Chinese)] {
        let ann = shop.customer(name, PHONE, language).await;
        // The browser logs every answer that is an error.
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
        // The session is a new one, so a list can be read.
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
