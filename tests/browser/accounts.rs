//! Accounts on the operators' page, the link that sets a password, and what an unapproved merchant reads.

use couponrush::domain::Kind;
use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::{Chinese, English};

const NEW_PASSWORD: &str = "a password of the link";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_approves_a_merchant_who_reads_that_he_awaits_it() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let admin = shop.app.user("other", Kind::Admin).await;
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let wait = json!({"approved": false});
        assert_eq!(shop.client().put("/admin/users/corner-cafe", &admin, &wait).await.status, 200);
        let cafe = shop.worker("/saler", "corner-cafe", size, language).await;
        cafe.reads("saler.awaits-approval").await;
        cafe.assert_fits().await;
        let root = shop.operator(size, language).await;
        root.presses("admin.view-accounts").await;
        root.presses("accounts.show").await;
        root.presses("accounts.approve").await;
        root.sees(&language.says_with("accounts.is-approved", &[("name", "corner-cafe")])).await;
        root.reads("accounts.none-awaits").await;
        root.assert_fits().await;
        root.assert_accessible("an account").await;
        cafe.driver.refresh().await.expect("the page loads");
        cafe.reads("saler.coupons").await;
        cafe.sees_no(&language.says("saler.awaits-approval")).await;
        let visitor = Browser::open(&shop.base(), size, language).await;
        visitor.go("/").await;
        visitor.reads("sales.approved").await;
        for browser in [root, cafe, visitor] {
            browser.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sets_a_password_by_a_link_that_an_operator_has_made() {
    let shop = Shop::open().await;
    shop.client().user("ann", "customer").await;
    let root = shop.operator(DESK, English).await;
    root.presses("admin.view-accounts").await;
    root.expect_error("404");
    root.fill("name", "nobody-here").await;
    root.presses("accounts.look").await;
    root.reads("accounts.nobody").await;
    root.fill("name", "ann").await;
    root.presses("accounts.look").await;
    root.presses("accounts.password-link").await;
    root.sees("/#reset/").await;
    let text = root.script("return document.body.innerText.match(/#reset\\/[\\w.-]+/)[0]").await;
    let link = text.as_str().expect("a link").to_owned();
    root.presses("accounts.disable").await;
    root.reads("accounts.disable-danger").await;
    root.close().await;

    let ann = Browser::open(&shop.base(), PHONE, English).await;
    ann.go(&format!("/{link}")).await;
    ann.expect_error("400");
    ann.fill("new", "short").await;
    ann.presses("reset.action").await;
    ann.reads("password.failed-short").await;
    ann.fill("new", NEW_PASSWORD).await;
    ann.presses("reset.action").await;
    ann.reads("reset.done").await;
    ann.assert_fits().await;
    assert_eq!(shop.client().log_in("ann", NEW_PASSWORD).await.status, 200);
    ann.close().await;
}
