//! A browser and what a person does with it: look, press, type, go back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

use crate::driver::Driver;
use crate::helpers::DEADLINE;
use crate::words::Language;

/// A phone, and a desk.
pub const PHONE: (u32, u32) = (360, 740);
pub const DESK: (u32, u32) = (1280, 800);

/// One browser with one window, on one service.
pub struct Browser {
    pub driver: WebDriver,
    pub language: Language,
    base: String,
    /// Errors of the console that a test expects, each as a part of its message.
    expected: Mutex<Vec<String>>,
    process: Driver,
}

impl Browser {
    /// A new one, which has seen nothing, in front of the service at `base`.
    pub async fn open(base: &str, size: (u32, u32), language: Language) -> Self {
        let process = tokio::task::spawn_blocking(Driver::start).await.expect("it does not panic");
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] {
            wanted.add_arg(argument).expect("it is a text");
        }
        let tag = language.tag();
        wanted.add_arg(&format!("--lang={tag}")).expect("it is a text");
        wanted.add_experimental_option("prefs", json!({"intl.accept_languages": tag})).expect("it is JSON");
        wanted.set_logging_prefs("browser", LoggingPrefsLogLevel::All).expect("it is JSON");
        wanted.set_logging_prefs("performance", LoggingPrefsLogLevel::All).expect("it is JSON");
        let driver = WebDriver::new(format!("http://{}", process.address), wanted).await.expect("chromium starts");
        let browser = Self { driver, language, base: base.to_owned(), expected: Mutex::default(), process };
        browser.resize(size).await;
        browser
    }

    /// Another size of the window.
    pub async fn resize(&self, (width, height): (u32, u32)) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Light, or dark; at once, without a transition.
    pub async fn color_scheme(&self, scheme: &str) {
        let still = json!({"name": "prefers-reduced-motion", "value": "reduce"});
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}, still]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// A command of the developers' protocol.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.base)).await.expect("the page loads");
    }

    /// What a script comes to.
    pub async fn script(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"));
        result.json().clone()
    }

    /// Every text that is shown.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows `text`.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("the page shows {text:?}"), async || self.text().await.contains(text)).await;
    }

    /// Waits until the page shows the sentence of that key.
    pub async fn reads(&self, key: &str) {
        self.sees(&self.language.says(key)).await;
    }

    /// Waits until the page does not show `text` any more.
    pub async fn sees_no(&self, text: &str) {
        self.until(&format!("the page shows {text:?} no more"), async || !self.text().await.contains(text)).await;
    }

    /// Waits for a state; fails with what the page shows.
    pub async fn until(&self, what: &str, state: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !state().await {
            if Instant::now() >= deadline {
                panic!("not within {DEADLINE:?}: {what}; the page shows:\n{}", self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses the button or link that says `text`, once it is there and can be pressed.
    pub async fn press(&self, text: &str) {
        let quoted = xpath_text(text);
        let path = format!("//*[self::button or self::a][normalize-space(.)={quoted}][not(@disabled)]");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let pressed = match self.driver.find(By::XPath(path.as_str())).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match pressed {
                Ok(()) => return,
                Err(error) if Instant::now() >= deadline => {
                    panic!("{text:?} cannot be pressed: {error}; the page shows:\n{}", self.text().await)
                }
                // It is not there yet, or was replaced in this moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Presses what the sentence of that key is on.
    pub async fn presses(&self, key: &str) {
        self.press(&self.language.says(key)).await;
    }

    /// Types into the field of that name.
    pub async fn fill(&self, name: &str, text: &str) {
        let field = self.driver.query(By::Name(name)).wait(DEADLINE, Duration::from_millis(50)).first().await;
        let field = field.unwrap_or_else(|error| panic!("no field {name}: {error}"));
        field.clear().await.expect("it is a field");
        field.send_keys(text).await.expect("it is a field");
    }

    /// Logs in on the form that is shown.
    pub async fn log_in(&self, name: &str, password: &str) {
        self.fill("username", name).await;
        self.fill("password", password).await;
        self.presses("login.log-in").await;
    }

    /// From now on errors of the console that have `part` in them are a part of the test.
    pub fn expect_error(&self, part: &str) {
        self.expected.lock().expect("nobody panicked").push(part.to_owned());
    }

    /// Nothing on the page is wider than the window.
    pub async fn assert_fits(&self) {
        let wide = self.script("return document.documentElement.scrollWidth > innerWidth").await;
        assert_eq!(wide, Value::Bool(false), "the page is wider than its window: {}", self.text().await);
    }

    /// Closes it, after asserting what holds for every visit: no error, no violation, nobody else was asked.
    pub async fn close(self) {
        let log = self.driver.browser_log().await.expect("the log can be read");
        let expected = self.expected.lock().expect("nobody panicked").clone();
        let errors: Vec<String> = log
            .into_iter()
            .filter(|entry| entry.level == "SEVERE" || entry.message.contains("Content Security Policy"))
            .map(|entry| entry.message)
            .filter(|message| !expected.iter().any(|part| message.contains(part)))
            .collect();
        assert_eq!(errors, [] as [String; 0], "the console is clean");
        let requests = self.requests().await;
        assert!(!requests.is_empty(), "the log of requests works");
        let others: Vec<String> = requests.into_iter().filter(|url| !url.starts_with(&self.base)).collect();
        assert_eq!(others, [] as [String; 0], "only the service is asked");
        self.driver.quit().await.expect("the browser ends");
        drop(self.process);
    }

    /// Every address that was asked for over a network.
    async fn requests(&self) -> Vec<String> {
        let log = self.driver.get_log("performance").await.expect("the log can be read");
        let events = log.into_iter().filter_map(|entry| serde_json::from_str::<Value>(&entry.message).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let url = |event: Value| event["message"]["params"]["request"]["url"].as_str().map(str::to_owned);
        sent.filter_map(url).filter(|url| url.starts_with("http") || url.starts_with("ws")).collect()
    }
}

/// A text in XPath, which has no way to escape a quote.
fn xpath_text(text: &str) -> String {
    let parts: Vec<String> = text.split('\'').map(|part| format!("'{part}'")).collect();
    if parts.len() == 1 { parts.concat() } else { format!("concat({})", parts.join(", \"'\", ")) }
}
