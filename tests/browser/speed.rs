//! How soon the first view is shown over a slow network, on a slow phone.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::English;

const VISITS: usize = 5;
/// Of so many medians the best counts: what else the machine does at the time is not the page's fault.
const MEDIANS: usize = 3;
const VISIT: Duration = Duration::from_secs(3);
const SHOWN_MS_MAX: f64 = 1_500.0;
const ROUND_TRIP_MS: u32 = 150;
/// 1.6 Mbit/s.
const BYTES_PER_SECOND: u32 = 200_000;
/// How much slower a slow phone is than the machine on which the limit was set, and how long that one takes for [`WORK`]. A
/// machine that takes longer is slowed down by less, so that the phone is the same everywhere.
const PROCESSOR_SLOWDOWN: f64 = 4.0;
const WORK_MS: f64 = 18.0;
/// What a page does: objects, text and elements. In ms, the quickest of a few times.
const WORK: &str = "return Math.min(...Array.from({ length: 5 }, () => {
    const began = performance.now();
    const items = Array.from({ length: 10_000 }, (_, n) => ({ name: `item ${n}`, n }));
    const list = document.createElement('ul');
    for (const { name } of JSON.parse(JSON.stringify(items))) {
        list.append(Object.assign(document.createElement('li'), { textContent: name }));
    }
    return performance.now() - began;
}))";
/// Notes when a sale is drawn for the first time.
const NOTE_SHOWN: &str = "new MutationObserver(() => {
    if (window.shown || !document.querySelector('.sale button')) return;
    window.shown = -1;
    requestAnimationFrame(() => setTimeout(() => (window.shown = performance.now())));
}).observe(document, { childList: true, subtree: true });";

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_shown_soon_over_a_slow_network_on_a_slow_phone() {
    let shop = Shop::open_alone().await;
    shop.offer(Offer::default()).await;
    let browser = Browser::open(&shop.base(), PHONE, English).await;
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.setCacheDisabled", json!({"cacheDisabled": true})).await;
    let network = json!({"offline": false, "latency": ROUND_TRIP_MS,
        "downloadThroughput": BYTES_PER_SECOND, "uploadThroughput": BYTES_PER_SECOND});
    browser.devtools("Network.emulateNetworkConditions", network).await;
    browser.devtools("Page.enable", json!({})).await;
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": NOTE_SHOWN})).await;
    let mut medians = Vec::new();
    while medians.len() < MEDIANS && medians.last().is_none_or(|median| *median >= SHOWN_MS_MAX) {
        browser.slow_down().await;
        let mut shown = Vec::new();
        for _ in 0..VISITS {
            shown.push(browser.visit_ms().await);
        }
        shown.sort_by(f64::total_cmp);
        eprintln!("the first sale was shown after {shown:.0?} ms");
        medians.push(shown[VISITS / 2]);
    }
    assert!(medians.iter().any(|median| *median < SHOWN_MS_MAX), "{medians:?}");
    browser.close().await;
}

impl Browser {
    /// Makes a slow phone of this machine, as quick as it is now.
    async fn slow_down(&self) {
        self.devtools("Emulation.setCPUThrottlingRate", json!({"rate": 1})).await;
        let work_ms = self.script(WORK).await.as_f64().expect("a time");
        let rate = (PROCESSOR_SLOWDOWN * WORK_MS / work_ms).clamp(1.0, PROCESSOR_SLOWDOWN);
        eprintln!("what takes {WORK_MS} ms elsewhere takes {work_ms:.0} ms here: slowed down {rate:.1} times");
        self.devtools("Emulation.setCPUThrottlingRate", json!({"rate": rate})).await;
    }

    /// A visit from the beginning until the first sale is drawn, in ms.
    async fn visit_ms(&self) -> f64 {
        self.go("/").await;
        // Asked rarely: each question takes the slowed processor's time.
        tokio::time::sleep(VISIT).await;
        self.until("a sale is shown", async || self.shown_ms().await > 0.0).await;
        let shown = self.shown_ms().await;
        self.driver.goto("about:blank").await.expect("nothing can be shown");
        shown
    }

    /// When the first sale was drawn, in ms from the beginning of the visit; not above 0 before.
    async fn shown_ms(&self) -> f64 {
        self.script("return window.shown ?? 0").await.as_f64().unwrap_or_default()
    }
}
