//! Conditions against robots: the merchant's form, the proof of work for a ticket, and the refusals.

use serde_json::json;

use crate::browser::{Browser, DESK, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::{Chinese, English};

/// Records every label of the button of a sale.
const RECORD: &str = "window.labels = []; new MutationObserver(() => \
    window.labels.push(document.querySelector('.sale button')?.innerText)).observe(document.body, \
    {subtree: true, childList: true, characterData: true});";

impl Browser {
    /// Opens a folded part of a form by its heading.
    async fn open_part(&self, key: &str) {
        let heading = self.language.says(key);
        let script =
            format!("[...document.querySelectorAll('summary')].find((e) => e.innerText === {heading:?}).click()");
        self.reads(key).await;
        self.script(&script).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_s_browser_works_for_a_ticket_and_shows_the_progress() {
    let shop = Shop::open().await;
    let offer = Offer::default();
    shop.offer(offer).await;
    let cafe = shop.worker("/saler", "corner-cafe", DESK, English).await;
    cafe.press(offer.name).await;
    cafe.presses("sale.change-it").await;
    cafe.open_part("sale.conditions").await;
    cafe.fill("ticket", "23").await;
    cafe.presses("sale.save").await;
    cafe.sees(&English.says_with("staff.whole-number", &[("min", "0"), ("max", "22")])).await;
    assert_eq!(shop.app.stores.number("SELECT ticket FROM activities").await, 0, "23 bits are too many");
    cafe.fill("ticket", "15").await;
    cafe.presses("sale.save").await;
    cafe.reads("sale.state-open").await;
    assert_eq!(shop.app.stores.number("SELECT ticket FROM activities").await, 15);

    let ann = shop.customer("ann", PHONE, Chinese).await;
    ann.presses("sales.get").await;
    ann.reads("outcome.claimed").await;
    let tickets = "return performance.getEntriesByName(location.origin + '/sec/ticket').length";
    assert_eq!(ann.script(tickets).await, json!(1), "the ticket was got in advance, and no second one at the press");

    // The sale of a page that is open begins to ask for tickets. The work of 16 bits takes a second of a busy machine.
    let set_bits = async |bits: u8| {
        shop.app.stores.execute(&format!("UPDATE activities SET ticket = {bits}, revision = revision + 1")).await;
        shop.app.instances[0].shared.selling.activities.load().await.expect("MySQL answers");
    };
    set_bits(0).await;
    let eve = shop.customer("eve", PHONE, Chinese).await;
    eve.reads("sales.get").await;
    eve.script(RECORD).await;
    set_bits(16).await;
    eve.presses("sales.get").await;
    eve.reads("outcome.claimed").await;
    let labels = eve.script("return window.labels.join('|')").await;
    let begin = Chinese.says("sales.proving").split('{').next().expect("a text").to_owned();
    assert!(labels.as_str().is_some_and(|labels| labels.contains(&begin)), "{labels}");

    let bob = shop.app.user("bob", couponrush::domain::Kind::Customer).await;
    let answer = shop.client().claim("corner-cafe", "Flat%20white", &bob).await;
    assert_eq!(answer.result(), "ticket-required", "the sale asks for tickets");
    for browser in [ann, eve, cafe] {
        browser.assert_fits().await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_registered_too_late_reads_why() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.customer("ann", PHONE, English).await;
    let late = "UPDATE activities SET registered_before = 1000, last_user_id = 0, revision = revision + 1";
    shop.app.stores.execute(late).await;
    shop.app.instances[0].shared.selling.activities.load().await.expect("MySQL answers");
    ann.presses("sales.get").await;
    ann.reads("outcome.not-eligible").await;
    let pressed = ann.script("return document.querySelectorAll('.notice-warn').length").await;
    assert_eq!(pressed, json!(1));
    ann.close().await;
}
