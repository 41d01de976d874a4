//! A service with one merchant, for the browsers to visit.

use couponrush::domain::Kind;
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::browser::Browser;
use crate::helpers::{Client, PASSWORD, TestApp, now_seconds};
use crate::words::Language;

/// The description of every coupon.
pub const DESCRIPTION: &str = "Any milk, to stay or to go";

/// A test that measures time takes the write lock. All remaining tests share the machine by read locks.
static MACHINE: RwLock<()> = RwLock::const_new(());

/// The service, its merchant `corner-cafe` and an operator.
pub struct Shop {
    pub app: TestApp,
    merchant: String,
    admin: String,
    _share: Share,
}

/// The lock of `MACHINE`, held until the shop is dropped.
enum Share {
    Some { _guard: RwLockReadGuard<'static, ()> },
    All { _guard: RwLockWriteGuard<'static, ()> },
}

/// A coupon and the sale of the coupon. `window` holds start and end in seconds from now.
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
    /// A shop with the merchant `corner-cafe`.
    pub async fn open() -> Self {
        Self::open_as("corner-cafe").await
    }

    /// A shop with a merchant of the given name.
    pub async fn open_as(merchant: &str) -> Self {
        let share = Share::Some { _guard: MACHINE.read().await };
        Self::with(TestApp::start().await, merchant, share).await
    }

    /// A shop without a second open shop on the machine.
    pub async fn open_alone() -> Self {
        let share = Share::All { _guard: MACHINE.write().await };
        Self::with(TestApp::start().await, "corner-cafe", share).await
    }

    /// A shop on a running service.
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

    /// The URL of the service.
    pub fn base(&self) -> String {
        format!("http://{}", self.app.instances[0].address)
    }

    /// Creates a coupon and schedules the sale.
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

    /// Turns off the switch called `part`.
    pub async fn switch_off(&self, part: &str) {
        let answer = self.client().put("/admin/switches", &self.admin, &json!({part: false})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Registers a customer, and opens a browser with the customer logged in.
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
