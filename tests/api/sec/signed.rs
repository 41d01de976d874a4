//! The signed form of `/sec/kill`. The signature replaces the token if it is valid, unused and recent, and the page is
//! allowed.

use couponrush::domain::Kind;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::{Answer, PASSWORD, Stores, eventually, now_seconds};

const SECRET: &str = "the tests' secret of the signed form";
const PAGE: &str = "https://shop.example/rush?utm=1";

/// Two instances with the signed form allowed for pages of `shop.example`.
async fn start() -> (Sale, u64) {
    let sale = Sale::start_on(Stores::create(None).await, 2, Some(SECRET)).await;
    let app = &sale.app;
    let admin = app.user("root", Kind::Admin).await;
    let limits = json!({"allow_referers": ["shop.example"], "user_per_second": 0, "user_per_minute": 0});
    assert_eq!(app.client().put("/admin/limits", &admin, &limits).await.status, 200);
    eventually("every instance has the list", || async {
        app.instances[1].client.get("/admin/limits", &admin).await.text.contains("shop.example")
    })
    .await;
    let product = sale.product("ten", 1_000).await;
    sale.activity(product, json!({"buy_limit": 100})).await;
    (sale, product)
}

fn md5_hex(text: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(Md5::digest(text).into()))
}

/// A valid signed request. Tests change parts of it.
#[derive(Clone)]
struct Signed {
    auth_sign: String,
    referer: String,
    body: Value,
}

impl Signed {
    fn new(product: u64, user: i64, time: u64, nance: &str) -> Self {
        let auth_sign = md5_hex(&format!("{user}:{SECRET}"));
        let auth_code = md5_hex(&format!("{product}:{user}:{time}:{nance}:{auth_sign}"));
        let body = json!({
            "product_id": product, "user_id": user, "src": "web", "auth_code": auth_code, "time": time, "nance": nance,
        });
        Self { auth_sign, referer: PAGE.to_owned(), body }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    async fn send(&self, sale: &Sale, instance: usize) -> Answer {
        let mut request = sale.app.instances[instance].client.request("POST", "/sec/kill");
        for (name, value) in [("AuthSign", &self.auth_sign), ("Referer", &self.referer)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        Answer::of(request.body(self.body.to_string())).await
    }
}

impl Sale {
    async fn customer(&self, name: &str) -> i64 {
        self.app.user(name, Kind::Customer).await;
        self.app.stores.number(&format!("SELECT id FROM users WHERE username = '{name}'")).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_customers_what_they_sign_with() {
    let (sale, product) = start().await;
    let client = sale.app.client();
    client.user("ann", "customer").await;
    client.user("seller", "saler").await;
    let login = client.log_in("ann", PASSWORD).await;
    let user = sale.app.stores.number("SELECT id FROM users WHERE username = 'ann'").await;
    assert_eq!(login.header("User-Id"), user.to_string());
    assert_eq!(login.header("AuthSign"), md5_hex(&format!("{user}:{SECRET}")));
    let seller = client.log_in("seller", PASSWORD).await;
    assert_eq!((seller.header("User-Id"), seller.header("AuthSign")), ("", ""));
    let signed =
        Signed { auth_sign: login.header("AuthSign").to_owned(), ..Signed::new(product, user, now_seconds(), "n") };
    let bought = data(&signed.send(&sale, 1).await);
    assert_eq!((&bought["user_id"], &bought["seq"]), (&json!(user), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_signed_request_counts_once_on_all_instances() {
    let (sale, product) = start().await;
    let (ann, ben) = (sale.customer("ann").await, sale.customer("ben").await);
    let signed = Signed::new(product, ann, now_seconds(), "once");
    let all = (0..50).map(|n| signed.send(&sale, n % 2));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refusal(answer), (401, 1003), "{answer:?}");
    }
    // The service remembers pairs of user and nance. A second user may use the same nance. A new time does not make a
    // used pair valid.
    data(&Signed::new(product, ben, now_seconds(), "once").send(&sale, 0).await);
    let again = Signed::new(product, ben, now_seconds() - 1, "once").send(&sale, 1).await;
    assert_eq!(refusal(&again), (401, 1003));
    data(&Signed::new(product, ben, now_seconds(), &"é".repeat(32)).send(&sale, 1).await);
    sale.app.settle().await;
    assert_eq!(sale.app.stores.number("SELECT COUNT(*) FROM claims").await, 3);
    let key = sale.app.stores.keys().nonce(
        couponrush::domain::UserId(u64::try_from(ben).expect("an id")),
        u128::from_be_bytes(Md5::digest("once").into()),
    );
    let seconds: i64 = sale.app.stores.redis(redis::cmd("TTL").arg(key)).await;
    assert!((100..=121).contains(&seconds), "a nonce expires after its time window: {seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_well_buys_nothing_and_uses_nothing_up() {
    let (sale, product) = start().await;
    let (ann, ben) = (sale.customer("ann").await, sale.customer("ben").await);
    let shop = sale.app.stores.number("SELECT id FROM users WHERE username = 'shop'").await;
    let now = now_seconds();
    let good = Signed::new(product, ann, now, "n");
    let signed_by = |user: i64| Signed::new(product, user, now, "n");
    let bad = [
        ("another user's sign", Signed { auth_sign: signed_by(ben).auth_sign, ..good.clone() }),
        ("no sign", Signed { auth_sign: String::new(), ..good.clone() }),
        ("a sign in upper case", Signed { auth_sign: good.auth_sign.to_uppercase(), ..good.clone() }),
        ("no referer", Signed { referer: String::new(), ..good.clone() }),
        ("another page", Signed { referer: "https://evil.example/shop.example".to_owned(), ..good.clone() }),
        (
            "a host with the allowed host as its begin",
            Signed { referer: "https://shop.example.evil/".to_owned(), ..good.clone() },
        ),
        ("another user", good.clone().with("user_id", ben)),
        ("another product", good.clone().with("product_id", product + 1)),
        ("another time", good.clone().with("time", now - 1)),
        ("another nance", good.clone().with("nance", "m")),
        ("no code", good.clone().with("auth_code", "")),
        ("another's code", good.clone().with("auth_code", signed_by(ben).body["auth_code"].clone())),
        ("long ago", Signed::new(product, ann, now - 62, "n")),
        ("not yet", Signed::new(product, ann, now + 65, "n")),
        ("a saler", signed_by(shop)),
        ("nobody", signed_by(1_000_000)),
    ];
    for (fault, signed) in bad {
        assert_eq!(refusal(&signed.send(&sale, 0).await), (401, 1003), "{fault}");
    }
    for name in ["user_id", "time", "nance", "auth_code"] {
        let answer = good.clone().with(name, Value::Null).send(&sale, 0).await;
        assert_eq!(refusal(&answer), (400, 1001), "{name}");
        assert!(answer.text.contains(&format!("\"{name}: it is missing.")), "{answer:?}");
    }
    sale.app.settle().await;
    assert_eq!(sale.stored().await[3], 0, "no unit was sold");
    data(&good.send(&sale, 1).await);
    for (time, nance) in [(now_seconds() - 50, "early"), (now_seconds() + 50, "late")] {
        data(&Signed::new(product, ann, time, nance).send(&sale, 0).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nobody_is_given_a_sign_and_none_counts() {
    let sale = Sale::start(1).await;
    let client = sale.app.client();
    client.user("ann", "customer").await;
    let login = client.log_in("ann", PASSWORD).await;
    assert_eq!((login.header("User-Id"), login.header("AuthSign")), ("", ""));
    let product = sale.product("ten", 1).await;
    sale.activity(product, json!({})).await;
    let user = sale.app.stores.number("SELECT id FROM users WHERE username = 'ann'").await;
    let signed = Signed::new(product, user, now_seconds(), "n");
    assert_eq!(refusal(&signed.send(&sale, 0).await), (401, 1003));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_count_is_not_made_up_for_by_a_sign() {
    let (sale, product) = start().await;
    let ann = sale.customer("ann").await;
    let signed = Signed::new(product, ann, now_seconds(), "n");
    let request = sale.app.client().request("POST", "/sec/kill").header("Authorization", "x.y.z");
    let request = request.header("AuthSign", &signed.auth_sign).header("Referer", PAGE).body(signed.body.to_string());
    assert_eq!(refusal(&Answer::of(request).await), (401, 1003));
    data(&signed.send(&sale, 0).await);
}
