//! A merchant archives a coupon on the page, and brings it back.

use crate::browser::{DESK, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::{Chinese, English};

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_archives_a_coupon_and_brings_it_back() {
    for (size, language) in [(PHONE, English), (DESK, Chinese)] {
        let shop = Shop::open().await;
        shop.offer(Offer::default()).await;
        let customers = shop.app.customers(2).await;
        let claim = async |customer: usize| {
            let answer = shop.client().claim("corner-cafe", "Flat%20white", &customers[customer]).await;
            answer.result().to_owned()
        };
        assert_eq!(claim(0).await, "claimed");
        let cafe = shop.worker("/saler#coupon/1", "corner-cafe", size, language).await;
        cafe.presses("archive.do").await;
        cafe.sees(&language.says_with("archive.sure", &[("name", "Flat white")])).await;
        cafe.assert_fits().await;
        cafe.picture(&format!("saler-archive-{}", language.tag())).await;
        cafe.presses("confirm.no").await;
        assert_eq!(claim(0).await, "already-claimed");
        cafe.presses("archive.do").await;
        cafe.presses("archive.yes").await;
        cafe.reads("archive.text-archived").await;
        cafe.reads("saler.archived").await;
        cafe.assert_fits().await;
        cafe.script("window.scrollTo(0, document.body.scrollHeight)").await;
        cafe.picture(&format!("saler-archived-{}", language.tag())).await;
        assert_eq!((claim(0).await, claim(1).await), ("already-claimed".to_owned(), "ended".to_owned()));
        cafe.presses("archive.back").await;
        cafe.reads("archive.text").await;
        cafe.reads("sale.state-open").await;
        assert_eq!(claim(1).await, "claimed");
        cafe.close().await;
    }
}
