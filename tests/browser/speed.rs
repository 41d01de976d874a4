//! The time until the first view appears, over a slow network on a slow phone.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::English;

const VISITS: usize = 5;
/// The best of up to this many medians counts, because other work on the machine can slow down a measurement.
const MEDIANS: usize = 3;
const VISIT: Duration = Duration::from_secs(3);
const SHOWN_MS_MAX: f64 = 1_500.0;
const ROUND_TRIP_MS: u32 = 150;
/// 1.6 Mbit/s.
const BYTES_PER_SECOND: u32 = 200_000;
/// A slow phone is this many times slower than the reference machine, which runs [`WORK`] in [`WORK_MS`]. A slower
/// machine is throttled less, so that the emulated phone is equally fast on every machine.
const PROCESSOR_SLOWDOWN: f64 = 4.0;
const WORK_MS: f64 = 18.0;
/// Typical work of a page, with objects, text and elements. Returns the shortest of five times, in ms.
const WORK: &str = "return Math.min(...Array.from({ length: 5 }, () => {
    const began = performance.now();
    const items = Array.from({ length: 10_000 }, (_, n) => ({ name: `item ${n}`, n }));
    const list = document.createElement('ul');
    for (const { name } of JSON.parse(JSON.stringify(items))) {
        list.append(Object.assign(document.createElement('li'), { textContent: name }));
    }
    return performance.now() - began;
}))";
/// Stores the time of the first drawn sale in `window.shown`, in ms since the start of the visit.
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
    /// Throttles the processor to the speed of a slow phone, measured at the current speed of the machine.
    async fn slow_down(&self) {
        self.devtools("Emulation.setCPUThrottlingRate", json!({"rate": 1})).await;
        let work_ms = self.script(WORK).await.as_f64().expect("a time");
        let rate = (PROCESSOR_SLOWDOWN * WORK_MS / work_ms).clamp(1.0, PROCESSOR_SLOWDOWN);
        eprintln!("the reference work takes {work_ms:.0} ms instead of {WORK_MS} ms: throttled {rate:.1} times");
        self.devtools("Emulation.setCPUThrottlingRate", json!({"rate": rate})).await;
    }

    /// Visits the page. Returns the time until the first sale is drawn, in ms.
    async fn visit_ms(&self) -> f64 {
        self.go("/").await;
        // No polling during the visit: each script would take time of the throttled processor.
        tokio::time::sleep(VISIT).await;
        self.until("a sale is shown", async || self.shown_ms().await > 0.0).await;
        let shown = self.shown_ms().await;
        self.driver.goto("about:blank").await.expect("nothing can be shown");
        shown
    }

    /// The time of the first drawn sale, in ms since the start of the visit. Zero or less before.
    async fn shown_ms(&self) -> f64 {
        self.script("return window.shown ?? 0").await.as_f64().unwrap_or_default()
    }
}
