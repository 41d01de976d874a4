//! A browser under test, with the actions of a person: look, press and type.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

use crate::driver::Driver;
use crate::helpers::DEADLINE;
use crate::words::Language;

/// Window sizes of a phone and a desktop computer.
pub const PHONE: (u32, u32) = (360, 740);
pub const DESK: (u32, u32) = (1280, 800);

/// A browser with one window, in front of one service.
pub struct Browser {
    pub driver: WebDriver,
    pub language: Language,
    base: String,
    /// Parts of the messages of console errors that the test expects.
    expected: Mutex<Vec<String>>,
    process: Driver,
}

impl Browser {
    /// A new browser with an empty profile, for the service at `base`.
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

    /// Sets the size of the window. A width below 500 emulates a phone.
    pub async fn resize(&self, (width, height): (u32, u32)) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets the colour scheme, light or dark, without transitions.
    pub async fn color_scheme(&self, scheme: &str) {
        let still = json!({"name": "prefers-reduced-motion", "value": "reduce"});
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}, still]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Sends a command of the Chrome DevTools protocol.
    pub async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Opens a path of the service.
    pub async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.base)).await.expect("the page loads");
    }

    /// The result of a script.
    pub async fn script(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"));
        result.json().clone()
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows `text`.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("the page shows {text:?}"), async || self.text().await.contains(text)).await;
    }

    /// Waits until the page shows the sentence of `key`.
    pub async fn reads(&self, key: &str) {
        self.sees(&self.language.says(key)).await;
    }

    /// Waits until the page no longer shows `text`.
    pub async fn sees_no(&self, text: &str) {
        self.until(&format!("the page shows {text:?} no more"), async || !self.text().await.contains(text)).await;
    }

    /// Waits for a state. Fails at the deadline with the text of the page.
    pub async fn until(&self, what: &str, state: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !state().await {
            if Instant::now() >= deadline {
                panic!("not within {DEADLINE:?}: {what}; the page shows:\n{}", self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for an enabled button or link with exactly this text, and presses it.
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
                // The element does not exist yet, or has just been replaced.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Presses the button or link with the sentence of `key`.
    pub async fn presses(&self, key: &str) {
        self.press(&self.language.says(key)).await;
    }

    /// Replaces the text of the field called `name`.
    pub async fn fill(&self, name: &str, text: &str) {
        let field = self.driver.query(By::Name(name)).wait(DEADLINE, Duration::from_millis(50)).first().await;
        let field = field.unwrap_or_else(|error| panic!("no field {name}: {error}"));
        field.clear().await.expect("it is a field");
        field.send_keys(text).await.expect("it is a field");
    }

    /// Fills in and sends the login form.
    pub async fn log_in(&self, name: &str, password: &str) {
        self.fill("username", name).await;
        self.fill("password", password).await;
        self.presses("login.log-in").await;
    }

    /// Allows console errors with `part` in the message.
    pub fn expect_error(&self, part: &str) {
        self.expected.lock().expect("nobody panicked").push(part.to_owned());
    }

    /// Fails if the page is wider than the window.
    pub async fn assert_fits(&self) {
        let wide = self.script("return document.documentElement.scrollWidth > innerWidth").await;
        assert_eq!(wide, Value::Bool(false), "the page is wider than its window: {}", self.text().await);
    }

    /// Closes the browser. Fails after a console error, a violation of the Content-Security-Policy, or a request to a
    /// foreign address.
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

    /// The URLs of all network requests.
    async fn requests(&self) -> Vec<String> {
        let log = self.driver.get_log("performance").await.expect("the log can be read");
        let events = log.into_iter().filter_map(|entry| serde_json::from_str::<Value>(&entry.message).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let url = |event: Value| event["message"]["params"]["request"]["url"].as_str().map(str::to_owned);
        sent.filter_map(url).filter(|url| url.starts_with("http") || url.starts_with("ws")).collect()
    }
}

/// `text` as an XPath expression. XPath cannot escape quotes, so text with quotes becomes a `concat`.
fn xpath_text(text: &str) -> String {
    let parts: Vec<String> = text.split('\'').map(|part| format!("'{part}'")).collect();
    if parts.len() == 1 { parts.concat() } else { format!("concat({})", parts.join(", \"'\", ")) }
}
