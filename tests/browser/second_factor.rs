//! The second factor of an operator: enrolment, a change that needs a code, and a login with a code.

use totp_rs::{Builder, Secret, Totp};

use crate::browser::{Browser, DESK, PHONE};
use crate::helpers::{PASSWORD, now_seconds};
use crate::shop::Shop;
use crate::words::Language::{Chinese, English};

/// Presses the button of the last switch, `claim`.
const PRESS_CLAIM: &str = "[...document.querySelectorAll('.switch')].at(-1).querySelector('button').click()";

fn code(phone: &Totp) -> String {
    phone.generate(now_seconds()).to_string()
}

/// An app with the secret that the page shows as text.
async fn phone(browser: &Browser) -> Totp {
    let text = browser.script("return document.querySelector('code.token').textContent").await;
    let secret = Secret::try_from_base32(text.as_str().expect("a text")).expect("base32");
    Builder::new().with_secret(secret).build().expect("20 bytes")
}

/// Lets the codes of this time count again, as the codes of later times would.
async fn time_goes_by(shop: &Shop) {
    shop.app.stores.execute("UPDATE second_factors SET last_step = 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_enrols_proves_a_change_and_logs_in_with_a_code() {
    for (size, language) in [(DESK, English), (PHONE, Chinese)] {
        let shop = Shop::open().await;
        let root = shop.operator(size, language).await;
        // Chromium writes each answer with an error status to the console.
        root.expect_error("401");
        root.presses("admin.view-factor").await;
        root.fill("password", "not the password").await;
        root.presses("factor.begin").await;
        root.reads("factor.wrong-password").await;
        root.fill("password", PASSWORD).await;
        root.presses("factor.begin").await;
        root.reads("factor.scan").await;
        root.assert_accessible("a new secret").await;
        root.assert_fits().await;
        let phone = phone(&root).await;
        let link = root.script("return document.querySelector('a[href^=\"otpauth:\"]').href").await;
        let secret = phone.secret().to_base32();
        assert!(link.as_str().expect("a text").contains(&format!("secret={secret}&")), "{link}");
        assert!(root.script("return document.querySelector('canvas.qr').width").await.as_u64() > Some(30), "a QR code");
        root.fill("otp", "no code").await;
        root.presses("factor.confirm").await;
        root.reads("factor.wrong-otp").await;
        root.fill("otp", &code(&phone)).await;
        root.presses("factor.confirm").await;
        root.reads("factor.done").await;
        let codes =
            root.script("return [...document.querySelectorAll('li code')].map((code) => code.textContent)").await;
        let codes = codes.as_array().expect("a list").clone();
        assert_eq!(codes.len(), 10);

        root.presses("admin.view-switches").await;
        root.reads("switches.claim").await;
        root.script(PRESS_CLAIM).await;
        root.presses("switches.yes").await;
        root.reads("proof.title").await;
        root.assert_accessible("the question for a proof").await;
        root.fill("password", PASSWORD).await;
        root.fill("otp", &code(&phone)).await;
        root.presses("proof.action").await;
        root.reads("proof.failed-wrong-password").await; // the code has confirmed the enrolment
        root.presses("proof.cancel").await;
        root.reads("staff.failed-unproven").await;
        time_goes_by(&shop).await;
        root.script(PRESS_CLAIM).await;
        root.presses("switches.yes").await;
        root.fill("password", PASSWORD).await;
        root.fill("otp", &code(&phone)).await;
        root.presses("proof.action").await;
        root.reads("banner.off-claim").await;
        root.sees_no(&language.says("proof.title")).await;

        root.presses("shell.log-out").await;
        root.log_in("root", PASSWORD).await;
        root.reads("login.code-hint").await;
        root.assert_accessible("a login with a code").await;
        root.fill("otp", &code(&phone)).await;
        root.presses("login.log-in").await;
        root.reads("login.failed-wrong-code").await; // the code has proven the change
        root.fill("otp", codes[0].as_str().expect("a text")).await;
        root.presses("login.log-in").await;
        root.reads("switches.claim").await;
        root.close().await;
    }
}
