//! The operators' page: health, switches, limits, blacklist and audit trail.

use couponrush::domain::Kind;
use serde_json::json;
use thirtyfour::Key;

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::{RedisServer, Stores, TestApp};
use crate::shop::{Offer, Shop};
use crate::words::Language::{self, Chinese, English};

/// Presses the button of the last switch, `claim`.
const PRESS_CLAIM: &str = "[...document.querySelectorAll('.switch')].at(-1).querySelector('button').click()";

impl Shop {
    /// A browser with an operator logged in. The operator has the merchant's password.
    pub async fn operator(&self, size: (u32, u32), language: Language) -> Browser {
        let same = "UPDATE users AS admin JOIN users AS saler ON saler.username = 'corner-cafe' \
            SET admin.password_hash = saler.password_hash WHERE admin.username = 'root'";
        self.app.stores.execute(same).await;
        let browser = self.worker("/admin", "root", size, language).await;
        browser.reads("health.ready").await;
        browser
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_happens_and_blocks_one() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    shop.client().user("mallory", "customer").await;
    let customers = shop.app.customers(3).await;
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let root = shop.operator(size, language).await;
        for customer in &customers {
            shop.client().claim("corner-cafe", "Flat%20white", customer).await;
        }
        root.reads("attempts.claimed").await;
        root.reads("state.storing").await;
        let banners = "return document.querySelectorAll('.banner').length";
        root.until("all is well", async || root.script(banners).await == 0).await;

        root.presses("admin.view-blacklist").await;
        root.expect_error("404");
        root.fill("value", "nobody-here").await;
        root.presses("blacklist.look").await;
        root.reads("blacklist.nobody").await;
        root.fill("value", "mallory").await;
        root.presses("blacklist.look").await;
        root.reads("blacklist.not-blocked").await;
        root.presses("blacklist.for-0").await;
        root.sees(&language.says_with("blacklist.is-out-for-ever", &[("value", "mallory")])).await;
        assert_eq!(shop.client().log_in("mallory", crate::helpers::PASSWORD).await.status, 403);
        root.presses("admin.view-health").await;
        root.presses("admin.view-blacklist").await;
        root.press("mallory").await; // the row of the list
        root.presses("blacklist.let-in").await;
        root.sees(&language.says_with("blacklist.is-in", &[("value", "mallory")])).await;
        root.reads("blacklist.empty").await;
        root.assert_fits().await;
        root.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_turned_off_by_nobodys_slip() {
    let shop = Shop::open().await;
    shop.offer(Offer::default()).await;
    let ann = shop.client().user("ann", "customer").await;
    let root = shop.operator(DESK, English).await;
    root.presses("admin.view-switches").await;
    root.reads("switches.claim").await;
    root.script(PRESS_CLAIM).await;
    root.reads("switches.claim-danger").await;
    root.assert_accessible("a question").await;
    root.driver.action_chain().send_keys(Key::Escape).perform().await.expect("a key can be pressed");
    root.sees_no(&English.says("switches.claim-danger")).await;
    let other = shop.app.user("other", Kind::Admin).await;
    assert_eq!(shop.client().get("/admin/switches", &other).await.json()["claim"], true, "Escape is no");

    root.script(PRESS_CLAIM).await;
    root.presses("switches.yes").await;
    root.sees("Claiming: On → Off").await;
    assert_eq!(shop.client().claim("corner-cafe", "Flat%20white", &ann).await.status, 503);
    root.reads("banner.off-claim").await;
    root.script(PRESS_CLAIM).await;
    root.sees("Claiming: Off → On").await;
    assert_eq!(shop.client().claim("corner-cafe", "Flat%20white", &ann).await.status, 201);
    root.sees_no(&English.says("banner.off-claim")).await;
    root.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_with_the_switch_for_pages_comes_up_while_they_are_off() {
    let shop = Shop::open().await;
    let root = shop.operator(DESK, English).await;
    shop.switch_off("pages").await;
    assert_eq!(shop.client().get("/saler", "").await.status, 503);
    root.go("/admin#switches").await;
    root.driver.refresh().await.expect("the page loads");
    root.presses("switches.turn-on").await;
    root.sees("Web pages: Off → On").await;
    assert_eq!(shop.client().get("/saler", "").await.status, 200);
    root.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_changed_are_told_one_by_one() {
    let shop = Shop::open().await;
    let root = shop.operator(DESK, English).await;
    root.presses("admin.view-limits").await;
    root.fill("user_per_second", "-1").await;
    root.presses("limits.save").await;
    root.sees(&English.says_with("staff.whole-number", &[("min", "0"), ("max", "1,000,000")])).await;
    root.fill("user_per_second", "7").await;
    root.fill("allow_ips", "10.0.0.0/8\nnowhere").await;
    root.expect_error("400");
    root.presses("limits.save").await;
    root.reads("limits.allow_ips-wrong").await;
    root.fill("allow_ips", "10.0.0.0/8").await;
    root.presses("limits.save").await;
    root.sees("Claims per user and second: 20 → 7").await;
    root.sees("Addresses exempt from limits: – → 10.0.0.0/8").await;
    let admin = shop.app.user("other", Kind::Admin).await;
    let limits = shop.client().get("/admin/limits", &admin).await.json();
    assert_eq!((&limits["user_per_second"], &limits["user_per_minute"]), (&json!(7), &json!(300)));
    root.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banner_says_what_is_degraded_and_since_when() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await;
    let mut shop = Shop::on(app, "corner-cafe").await;
    let root = shop.operator(PHONE, English).await;
    for error in ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "503"] {
        root.expect_error(error);
    }
    redis.kill();
    root.reads("banner.title-down").await;
    root.sees(&format!("{} Since ", English.says("banner.redis-down"))).await;
    root.assert_accessible("a banner").await;
    root.assert_fits().await;
    redis.restart().await;
    root.sees_no(&English.says("banner.title-down")).await;
    root.reads("health.ready").await;

    let address = shop.app.instances[0].address;
    shop.app.stop().await;
    root.reads("banner.title-silent").await;
    shop.app.args.http_addr = address;
    shop.app.start_another().await;
    root.sees_no(&English.says("banner.title-silent")).await;
    root.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_operators_keeps_anybody_out() {
    let shop = Shop::open().await;
    for (size, language, picture) in [(PHONE, Chinese, "phone"), (DESK, English, "desk")] {
        let root = shop.operator(size, language).await;
        for (view, key) in [
            ("health", "backlog.title"),
            ("limits", "limits.save"),
            ("switches", "switches.claim"),
            ("blacklist", "blacklist.look"),
            ("audit", "audit.find"),
        ] {
            root.presses(&format!("admin.view-{view}")).await;
            root.reads(key).await;
            root.assert_accessible(view).await;
            root.assert_fits().await;
            root.color_scheme("light").await;
            root.picture(&format!("admin-{view}-{picture}")).await;
        }
        root.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_work_here_is_told_where_to_go() {
    let shop = Shop::open().await;
    let ann = shop.customer("ann", DESK, English).await;
    ann.go("/admin").await;
    ann.reads("staff.only-admin").await;
    ann.go("/saler").await;
    ann.reads("staff.only-saler").await;
    ann.close().await;
}

/// The number of events on the page.
const EVENTS: &str = "return document.querySelectorAll('tbody tr').length";

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_read_to_its_end_and_by_user_and_event() {
    let shop = Shop::open().await;
    let insert =
        "INSERT INTO audit_trail (at_ms, actor, actor_kind, event, object, address, request_id, status, repeated) ";
    // Older than all others, and hostile where a client has written the text.
    let rows = "SELECT 1000 + seq, IF(seq % 50 = 0, 'mallory', 'ann'), 'saler', 'changeCoupon', '/<img src=x onerror=window.pwned=1>', \
        '192.0.2.9', CONCAT('<b>', seq), 401, seq % 2 FROM (SELECT a.n * 50 + b.n + 1 AS seq FROM \
        (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) a, \
        (SELECT ROW_NUMBER() OVER () - 1 AS n FROM information_schema.columns LIMIT 50) b) numbers";
    shop.app.stores.execute(&format!("{insert} {rows}")).await;
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let root = shop.operator(size, language).await;
        root.presses("admin.view-audit").await;
        root.until("a page of events is shown", async || root.script(EVENTS).await == 100).await;
        root.presses("audit.older").await;
        root.until("two pages are shown", async || root.script(EVENTS).await == 200).await;
        root.presses("audit.older").await;
        root.until("all events are shown", async || root.script(EVENTS).await.as_u64() > Some(250)).await;
        root.sees_no(&language.says("audit.older")).await;
        let ids = "const ids = [...document.querySelectorAll('tbody td:last-child')].map((cell) => cell.innerText); \
            return new Set(ids).size - ids.length";
        assert_eq!(root.script(ids).await, 0, "no event is shown twice");
        root.fill("user", " mallory ").await;
        root.presses("audit.find").await;
        root.until("the user's events are shown", async || root.script(EVENTS).await == 5).await;
        root.sees("<b>250").await;
        root.fill("event", "logIn").await;
        root.presses("audit.find").await;
        root.reads("audit.none").await;
        root.fill("user", "").await;
        root.presses("audit.find").await;
        root.until("logins are shown", async || root.script(EVENTS).await.as_u64() > Some(0)).await;
        root.sees("corner-cafe").await;
        assert_eq!(
            root.script("return window.pwned ?? document.querySelector('main img, main b')").await,
            serde_json::Value::Null
        );
        root.assert_fits().await;
        root.close().await;
    }
}
