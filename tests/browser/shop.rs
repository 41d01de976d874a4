//! A service with a merchant on it, for customers' browsers to look at.

use couponrush::domain::Kind;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::browser::Browser;
use crate::helpers::{Client, PASSWORD, TestApp, now_seconds};
use crate::words::Language;

/// What every coupon says of itself.
pub const DESCRIPTION: &str = "Any milk, to stay or to go";

/// Who measures has the machine for himself; everybody else shares it.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// The service, its merchant `corner-cafe` and an operator.
pub struct Shop {
    pub app: TestApp,
    merchant: String,
    admin: String,
    _share: Share,
}

/// What keeps a test that measures from running beside others; nobody reads it.
enum Share {
    Some { _guard: RwLockReadGuard<'static, ()> },
    All { _guard: RwLockWriteGuard<'static, ()> },
}

/// What is sold, and when, in seconds from now.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub name: &'a str,
    pub activity: &'a str,
    pub amount: u32,
    pub window: (i64, i64),
    pub buy_limit: u8,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self { name: "Flat white", activity: "Morning rush", amount: 1_000, window: (-5, 3_600), buy_limit: 1 }
    }
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_as("corner-cafe").await
    }

    /// A shop whose merchant has that name.
    pub async fn open_as(merchant: &str) -> Self {
        let share = Share::Some { _guard: MACHINE.read().await };
        Self::with(TestApp::start().await, merchant, share).await
    }

    /// A shop beside which no other is open.
    pub async fn open_alone() -> Self {
        let share = Share::All { _guard: MACHINE.write().await };
        Self::with(TestApp::start().await, "corner-cafe", share).await
    }

    /// A shop on a service that was started before.
    pub async fn on(app: TestApp, merchant: &str) -> Self {
        let share = Share::Some { _guard: MACHINE.read().await };
        Self::with(app, merchant, share).await
    }

    async fn with(app: TestApp, merchant: &str, share: Share) -> Self {
        let merchant = app.client().user(merchant, "saler").await;
        let admin = app.user("root", Kind::Admin).await;
        Self { app, merchant, admin, _share: share }
    }

    pub fn client(&self) -> &Client {
        self.app.client()
    }

    /// Where browsers find it.
    pub fn base(&self) -> String {
        format!("http://{}", self.app.instances[0].address)
    }

    /// Makes a coupon and a sale of it.
    pub async fn offer(&self, offer: Offer<'_>) {
        let Offer { name, activity, amount, window, buy_limit } = offer;
        let product = json!({"product_name": name, "product_total": amount, "stock": 4, "description": DESCRIPTION});
        let product = self.data(self.client().post("/product/create", &self.merchant, &product).await.json());
        let at = |offset: i64| now_seconds().checked_add_signed(offset).expect("a moment after 1970");
        let sale = json!({
            "activity_name": activity, "product_id": product["product_id"], "start_time": at(window.0),
            "end_time": at(window.1), "total": 0, "speed": 0, "buy_limit": buy_limit,
        });
        self.data(self.client().post("/activity/create", &self.merchant, &sale).await.json());
    }

    /// Turns a part of the service off.
    pub async fn switch_off(&self, part: &str) {
        let answer = self.client().put("/admin/switches", &self.admin, &json!({part: false})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A browser on the sales, with a customer logged in who is registered here.
    pub async fn customer(&self, name: &str, size: (u32, u32), language: Language) -> Browser {
        self.client().user(name, "customer").await;
        let browser = Browser::open(&self.base(), size, language).await;
        browser.go("/#log-in").await;
        browser.log_in(name, PASSWORD).await;
        browser.sees(name).await;
        browser
    }

    fn data(&self, answer: Value) -> Value {
        assert_eq!(answer["code"], 200, "{answer}");
        answer["data"].clone()
    }
}
