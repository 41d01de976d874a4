//! Staff and keys on the merchants' page, and the page as staff see it.

use crate::browser::{Browser, DESK, PHONE};
use crate::shop::{Offer, Shop};
use crate::words::Language::{Chinese, English};

const PASSWORD: &str = "correct horse battery";

impl Browser {
    /// Chooses the right to redeem in the form of a button.
    async fn chooses_to_redeem(&self, action: &str) {
        let button = self.language.says(action);
        let form =
            format!("[...document.querySelectorAll('form')].find((form) => form.innerText.includes({button:?}))");
        self.script(&format!("{form}.elements.redeem.click()")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_adds_staff_who_redeem_and_a_key_and_deletes_both() {
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let shop = Shop::open().await;
        shop.offer(Offer::default()).await;
        let ann = shop.app.customers(1).await.remove(0);
        let claimed = shop.client().claim("corner-cafe", "Flat%20white", &ann).await;
        shop.app.settle().await;

        let cafe = shop.worker("/saler", "corner-cafe", size, language).await;
        cafe.presses("people.title").await;
        cafe.reads("people.no-staff").await;
        cafe.reads("people.no-keys").await;
        cafe.fill("username", "till").await;
        cafe.fill("password", "too short").await;
        cafe.presses("people.add").await;
        cafe.sees(&language.says_with("people.password-short", &[("min", "12")])).await;
        cafe.reads("people.no-right").await;
        cafe.fill("password", PASSWORD).await;
        cafe.chooses_to_redeem("people.add").await;
        cafe.presses("people.add").await;
        cafe.sees_no(&language.says("people.no-staff")).await;
        cafe.fill("name", "till 1").await;
        cafe.fill("days", "30").await;
        cafe.chooses_to_redeem("people.make").await;
        cafe.presses("people.make").await;
        cafe.reads("people.made").await;
        cafe.reads("people.unused").await;
        cafe.assert_fits().await;
        cafe.assert_accessible("staff and keys").await;
        cafe.color_scheme("light").await;
        cafe.picture(&format!("saler-people-{}", language.tag())).await;
        let key = cafe.script("return document.querySelector('.made-key').value").await;
        let key = key.as_str().expect("a key").to_owned();
        assert_eq!(shop.client().list("corner-cafe", &key).await.error().2, "wrong-kind", "it may redeem only");

        let till = Browser::open(&shop.base(), size, language).await;
        till.go("/saler").await;
        till.log_in("till", PASSWORD).await;
        till.reads("check.how").await;
        let links = r##"return document.querySelectorAll('a[href="#people"], a[href="#new"]').length"##;
        assert_eq!(till.script(links).await, 0, "staff see the till only");
        till.fill("token", claimed.header("Claim-Token")).await;
        till.presses("check.look").await;
        till.reads("check.unused").await;
        till.presses("check.use").await;
        till.reads("check.first").await;
        till.close().await;

        cafe.presses("people.delete").await;
        cafe.sees(&language.says_with("people.sure", &[("name", "till")])).await;
        cafe.presses("people.yes").await;
        cafe.reads("people.no-staff").await;
        assert_eq!(shop.client().log_in("till", PASSWORD).await.status, 401);
        cafe.presses("people.delete").await;
        cafe.presses("people.yes").await;
        cafe.reads("people.no-keys").await;
        assert_eq!(shop.client().list("corner-cafe", &key).await.status, 401);
        cafe.close().await;
    }
}
