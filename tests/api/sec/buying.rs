//! `/sec/kill`: the answers to customers through both interfaces, and the stored claims.

use std::time::{Duration, Instant};

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, data, refusal};
use crate::helpers::{Answer, SECRET, eventually, now_seconds};

impl Sale {
    /// The results of an attempt through `/sec/kill` and through PATCH. The instance with this number gets the PATCH,
    /// the other one the POST.
    async fn both(&self, instance: usize, token: &str, (product, name): (u64, &str)) -> (u64, String) {
        let killed = self.kill(1 - instance, token, product).await;
        let code = if killed.status == 200 { 200 } else { refusal(&killed).1 };
        let patched = self.app.instances[instance].client.claim("shop", name, token).await;
        (code, patched.result().to_owned())
    }

    async fn nth(&self, token: &str, product: u64, nth: u8) -> Answer {
        self.post("/sec/kill", token, &json!({"product_id": product, "nth": nth})).await
    }
}

fn code_and_result(code: u64, result: &str) -> (u64, String) {
    (code, result.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_a_claim_and_says_the_same_whenever_it_is_repeated() {
    let sale = Sale::start(2).await;
    let [ann, ben]: [String; 2] = sale.app.customers(2).await.try_into().expect("two customers were created");
    let product = sale.product("ten", 5).await;
    let activity = sale.activity(product, json!({})).await;
    let first = sale.kill(0, &ann, product).await;
    let bought = data(&first);
    assert_eq!(bought.as_object().map(serde_json::Map::len), Some(9), "{bought}");
    let user = sale.app.stores.number("SELECT id FROM users WHERE username = 'customer-0'").await;
    assert_eq!(
        (&bought["product_id"], &bought["user_id"], &bought["seq"], &bought["nth"]),
        (&json!(product), &json!(user), &json!(1), &json!(1))
    );
    assert_eq!((&bought["start"], &bought["end"], &bought["status"]), (&json!(true), &json!(false), &json!(0)));
    let again = sale.kill(1, &ann, product).await;
    assert_eq!(refusal(&again), (400, 1010));
    assert_eq!(again.json()["data"], bought, "a repeated purchase returns the same claim");
    let patched = sale.app.client().claim("shop", "ten", &ann).await;
    assert_eq!((patched.result(), json!(patched.header("Claim-Token"))), ("already-claimed", bought["token"].clone()));

    assert_eq!(sale.app.client().claim("shop", "ten", &ben).await.result(), "claimed");
    assert_eq!(refusal(&sale.kill(0, &ben, product).await), (400, 1010), "both interfaces share the user's limit");
    sale.app.settle().await;
    let stored = "SELECT CONCAT_WS('|', seq, nth, activity_id, claimed_at DIV 1000) AS value FROM claims ORDER BY seq";
    let stored = sale.app.stores.texts(stored).await;
    assert_eq!(stored[0], format!("1|1|{activity}|{}", bought["token_time"]));
    assert_eq!(stored.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_code_and_its_result_and_who_holds_a_unit_is_always_told_so() {
    let sale = Sale::start(2).await;
    let [ann, ben]: [String; 2] = sale.app.customers(2).await.try_into().expect("two customers were created");
    let product = sale.product("ten", 5).await;
    let ten = (product, "ten");
    let now = now_seconds();
    for instance in [0, 1] {
        assert_eq!(refusal(&sale.kill(instance, &ann, product + 1_000).await), (400, 1002));
        assert_eq!(refusal(&sale.kill(instance, &ann, u64::MAX).await), (400, 1002));
        assert_eq!(
            sale.both(instance, &ann, ten).await,
            code_and_result(1002, "not-on-sale"),
            "the product has no activity"
        );
    }
    let activity = sale.activity(product, json!({"start_time": now + 900})).await;
    let change = async |change: Value| sale.update(activity, change).await;
    // A closed product cannot be bought from the moment of the change. The new reason is in force within a second.
    let both = async |token: &str, code: u64, result: &str| {
        let deadline = Instant::now() + Duration::from_secs(1);
        for instance in [0, 1] {
            loop {
                let answered = sale.both(instance, token, ten).await;
                if answered == code_and_result(code, result) {
                    break;
                }
                assert!(answered.0 != 200 && answered.1 != "claimed", "{answered:?} instead of {code} {result}");
                assert!(Instant::now() < deadline, "{answered:?} instead of {code} {result}");
            }
        }
    };
    both(&ann, 1005, "not-started").await;
    change(json!({"start_time": now - 10})).await;
    eventually("the activity has started", || async { sale.kill(1, &ann, product).await.status == 200 }).await;
    both(&ann, 1010, "already-claimed").await;
    change(json!({"buy_rate": 0})).await;
    both(&ben, 1011, "try-again").await;
    change(json!({"status": 2, "buy_rate": 1})).await;
    both(&ben, 1007, "sold-out").await;
    change(json!({"status": 1})).await;
    both(&ben, 1006, "not-on-sale").await;
    change(json!({"status": 0, "total": 1})).await;
    // The total is sold.
    both(&ben, 1007, "sold-out").await;
    change(json!({"total": 0, "end_time": now - 1})).await;
    both(&ben, 1006, "ended").await;
    // A holder gets the claim after the end too.
    both(&ann, 1010, "already-claimed").await;
    let shown = sale.kill(0, &ann, product).await.json()["data"].take();
    assert_eq!((&shown["start"], &shown["end"]), (&json!(false), &json!(true)));
    change(json!({"end_time": now + 900})).await;
    eventually("the product is on sale again", || async { sale.kill(1, &ben, product).await.status == 200 }).await;
    both(&ben, 1010, "already-claimed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_product_and_an_activity_sell_what_they_have_and_no_more() {
    let sale = Sale::start(2).await;
    let product = sale.product("ten", 20).await;
    let activity = sale.activity(product, json!({"total": 12})).await;
    let customers = sale.app.customers(60).await;
    let rush = async |customers: &[String]| {
        let all = customers.iter().enumerate().map(|(n, customer)| sale.kill_until_told(n % 2, customer, product));
        let outcomes = futures_util::future::join_all(all).await;
        assert!(outcomes.iter().all(|(code, _)| [200, 1010, 1007].contains(code)), "{outcomes:?}");
        outcomes.iter().filter(|(code, _)| *code != 1007).count()
    };
    let reopened = async |customer: &str| {
        eventually("the product is on sale again", || async { sale.kill(0, customer, product).await.status == 200 })
            .await;
    };
    assert_eq!(rush(&customers[..30]).await, 12, "the activity sells its total");
    sale.update(activity, json!({"total": 15})).await;
    reopened(&customers[30]).await;
    assert_eq!(rush(&customers[31..40]).await, 2, "a raised total includes earlier claims");
    sale.update(activity, json!({"total": 20})).await;
    reopened(&customers[40]).await;
    assert_eq!(rush(&customers[41..]).await, 4, "the product sells its remaining units");
    sale.app.settle().await;
    assert_eq!(sale.app.stores.number("SELECT MAX(seq) FROM claims").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_may_buy_up_to_the_limit_over_all_activities_and_names_which_he_means() {
    let sale = Sale::start(2).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 50).await;
    let now = now_seconds();
    let first = sale.activity(product, json!({"buy_limit": 3})).await;
    let one = data(&sale.nth(&ann, product, 1).await);
    for _ in 0..2 {
        let again = sale.nth(&ann, product, 1).await;
        assert_eq!(
            (refusal(&again), again.json()["data"].take()),
            ((400, 1010), one.clone()),
            "a repeated nth takes no second unit"
        );
    }
    let two = data(&sale.kill(1, &ann, product).await);
    assert_eq!((&two["nth"], &two["seq"]), (&json!(2), &json!(2)));
    sale.update(first, json!({"end_time": now - 1})).await;
    sale.activity(product, json!({"start_time": now - 1, "buy_limit": 3})).await;
    let three = data(&sale.nth(&ann, product, 3).await);
    assert_eq!(three["nth"], 3);
    for (nth, bought) in [(1, &one), (2, &two), (3, &three), (4, &three), (100, &three)] {
        let answer = sale.nth(&ann, product, nth).await;
        let mut shown = answer.json()["data"].take();
        assert_eq!(refusal(&answer), (400, 1010), "{nth}");
        // The first two claims belong to the activity that is over.
        let is_over = nth < 3;
        assert_eq!((shown["start"].take(), shown["end"].take()), (json!(!is_over), json!(is_over)), "{nth}");
        assert_eq!(shown["token"], bought["token"], "{nth}");
    }
    assert_eq!(
        sale.kill(0, &ann, product).await.json()["data"]["token"],
        three["token"],
        "without nth the latest claim is returned"
    );
    sale.app.settle().await;
    assert_eq!(sale.app.stores.texts("SELECT GROUP_CONCAT(nth ORDER BY seq) AS value FROM claims").await, ["1,2,3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_draw_lets_its_share_through() {
    let sale = Sale::start(2).await;
    let product = sale.product("ten", 1_000).await;
    sale.activity(product, json!({"buy_rate": 0.3})).await;
    let customers = sale.app.customers(600).await;
    let mut bought = 0;
    for chunk in customers.chunks(50) {
        let all = chunk.iter().enumerate().map(|(n, customer)| sale.kill_until_told(n % 2, customer, product));
        for (code, answer) in futures_util::future::join_all(all).await {
            bought += u32::from(code != 1011);
            assert!([200, 1010, 1011].contains(&code), "{answer:?}");
        }
    }
    // 180 are expected, with a standard deviation of 11. The range allows ten standard deviations.
    assert!((70..=290).contains(&bought), "{bought} of 600 at a rate of 0.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_customer_buys_and_only_for_himself() {
    let sale = Sale::start(1).await;
    let app = &sale.app;
    let product = sale.product("ten", 5).await;
    sale.activity(product, json!({})).await;
    let (ann, ben) = (app.client().user("ann", "customer").await, app.client().user("ben", "customer").await);
    let admin = app.user("root", Kind::Admin).await;
    let id = async |name: &str| app.stores.number(&format!("SELECT id FROM users WHERE username = '{name}'")).await;
    let (ann_id, ben_id) = (id("ann").await, id("ben").await);
    let before = sale.stored().await;
    let expired = {
        use couponrush::auth::{Secrets, UserTokens};
        use couponrush::domain::{User, UserId, UserName};
        let secrets = Secrets::parse("the tests' secret", SECRET).expect("the secret is long enough");
        let name = UserName::parse("ann".to_owned()).expect("a name");
        let user = User { id: UserId(u64::try_from(ann_id).expect("an id")), name, kind: Kind::Customer };
        UserTokens::new(&secrets, 60).issue(&user, 0, now_seconds() - 61)
    };
    let forged = format!("{}x", &ann[..ann.len() - 1]);
    for (token, fault) in [("", "none"), ("x", "no token"), (&forged, "forged"), (&expired, "expired")] {
        assert_eq!(refusal(&sale.kill(0, token, product).await), (401, 1003), "{fault}");
    }
    for token in [&sale.shop, &admin] {
        assert_eq!(refusal(&sale.kill(0, token, product).await), (401, 1003), "not a customer");
    }
    let others = json!({"product_id": product, "user_id": ben_id});
    assert_eq!(refusal(&sale.post("/sec/kill", &ann, &others).await), (401, 1003));
    // Malformed parameters are refused before the token is checked.
    assert_eq!(refusal(&sale.post("/sec/kill", "", &json!({"product_id": 0})).await), (400, 1001));
    assert_eq!(app.client().send("POST", "/api/auth/logout", &ben, None).await.status, 200);
    assert_eq!(refusal(&sale.kill(0, &ben, product).await), (401, 1003), "logged out");
    app.settle().await;
    assert_eq!(sale.stored().await, before, "no unit was sold");
    let body = format!("PRODUCT_ID={product}&user_id={ann_id}&src=web&unknown=%ff");
    data(&app.client().send("POST", "/sec/kill/", &format!("Bearer {ann}"), Some(&body)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_that_is_always_on_sale_can_be_bought_too() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    sale.app.client().create_coupon("shop", &sale.shop, "ten", 1).await;
    let product = u64::try_from(sale.app.stores.number("SELECT id FROM coupons").await).expect("an id");
    let bought = data(&sale.kill(0, &ann, product).await);
    assert_eq!((&bought["start"], &bought["end"], &bought["status"]), (&json!(true), &json!(false), &json!(0)));
    let ben = sale.app.user("ben", Kind::Customer).await;
    assert_eq!(refusal(&sale.kill(0, &ben, product).await), (400, 1007));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_nobody_made_raises_no_doubt_about_redis() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 1).await;
    sale.activity(product, json!({})).await;
    let epoch = "SELECT MAX(epoch) FROM shards";
    let before = sale.app.stores.number(epoch).await;
    for n in 0..50 {
        assert_eq!(refusal(&sale.kill(0, &ann, 1_000_000 + n).await), (400, 1002));
    }
    data(&sale.kill(0, &ann, product).await);
    assert_eq!(sale.app.stores.number(epoch).await, before, "no rebuild has happened");
}
