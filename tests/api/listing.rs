//! `GET /api/users/{username}/coupons`: the coupons that a saler offers or a customer holds.

use couponrush::domain::{Kind, UserId};
use serde_json::{Value, json};

use crate::helpers::{Client, TestApp, eventually};

const NO_PAGE: &str = "Wrong format of page.";

/// The names on all pages, up to the first empty page. Every page but the last has 20.
async fn names_of_all_pages(client: &Client, user: &str, token: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for page in 1.. {
        let answer = client.get(&format!("/api/users/{user}/coupons?page={page}"), token).await;
        if answer.status == 204 {
            assert_eq!(answer.text, "");
            break;
        }
        let list = answer.json();
        assert_eq!((answer.status, &list["errMsg"]), (200, &json!("")));
        assert_eq!(names.len() % 20, 0, "only the last page is not full");
        let items = list["data"].as_array().expect("a list");
        names.extend(items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()));
    }
    names
}

async fn refused(client: &Client, path: &str, token: &str, row: (u16, &str, &str)) {
    let answer = client.get(path, token).await;
    assert_eq!(answer.error(), (row.0, row.1.to_owned(), row.2.to_owned()), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_each_of_45_coupons_once_and_the_newest_first() {
    let mut app = TestApp::start_without_rates().await;
    app.start_another().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    client.create_coupon("other", &other, "not of this saler", 5).await;
    let mut created = Vec::new();
    for n in 0..45 {
        created.push(format!("coupon-{n}"));
        client.create_coupon("shop", &shop, &created[n], 5).await;
    }
    let newest_first: Vec<String> = created.iter().rev().cloned().collect();
    assert_eq!(names_of_all_pages(client, "shop", &shop).await, newest_first);

    // The claims are in another order than the coupons. A customer's list begins with the latest claim.
    let mut claimed: Vec<String> = (0..45).map(|n| created[n * 7 % 45].clone()).collect();
    for (n, name) in claimed.iter().enumerate() {
        assert_eq!(app.instances[n % 2].client.claim("shop", name, &ann).await.result(), "claimed");
    }
    claimed.reverse();
    for instance in &app.instances {
        assert_eq!(names_of_all_pages(&instance.client, "ann", &ann).await, claimed);
        assert_eq!(names_of_all_pages(&instance.client, "shop", &ann).await, newest_first);
    }
}

/// Lists requested at the same time on a worker share a call of a script.
#[tokio::test(flavor = "multi_thread")]
async fn many_lists_at_once_are_each_their_own_and_one_that_cannot_be_read_spoils_no_other() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let salers = [("bakery", app.user("bakery", Kind::Saler).await), ("cafe", app.user("cafe", Kind::Saler).await)];
    for (saler, token) in &salers {
        for n in 0..21 {
            client.create_coupon(saler, token, &format!("{saler}-{n}"), 5).await;
        }
    }
    let customers = app.customers(3).await;
    for (n, customer) in customers.iter().enumerate() {
        for coupon in [n, n + 1, 20] {
            assert_eq!(client.claim("cafe", &format!("cafe-{coupon}"), customer).await.status, 201);
        }
    }
    let broken = app.users(&["mallory"], Kind::Customer).await.remove(0);
    let id = app.stores.number("SELECT id FROM users WHERE username = 'mallory'").await.unsigned_abs();
    let key = app.stores.keys().holder(UserId(id)).to_string();
    app.stores.redis::<()>(redis::cmd("SET").arg(&key).arg("no hash")).await;

    let name = |saler: &str, n: usize| format!("{saler}-{n}");
    let page = |saler: &str, numbers: std::ops::Range<usize>| numbers.rev().map(|n| name(saler, n)).collect();
    let held = |n: usize| [20, n + 1, n].map(|coupon| name("cafe", coupon)).to_vec();
    let cases: [(&str, &str, Vec<String>); 6] = [
        ("bakery", &salers[0].1, page("bakery", 1..21)),
        ("cafe?page=2", &broken, page("cafe", 0..1)),
        ("cafe", &customers[0], page("cafe", 1..21)),
        ("customer-0", &customers[0], held(0)),
        ("customer-1", &customers[1], held(1)),
        ("customer-2", &customers[2], held(2)),
    ];
    let asked = (0..240).map(|n| {
        let (path, token, names) = &cases[n % cases.len()];
        let (owner, query) = path.split_once('?').unwrap_or((path, ""));
        async move {
            let list = client.get(&format!("/api/users/{owner}/coupons?{query}"), token).await.json();
            let items = list["data"].as_array().unwrap_or_else(|| panic!("{path}: {list}"));
            assert_eq!(&items.iter().map(|item| item["name"].as_str().unwrap_or_default()).collect::<Vec<_>>(), names);
        }
    });
    let spoiling = (0..60).map(|_| async {
        assert_eq!(client.get("/api/users/mallory/coupons", &broken).await.status, 503);
    });
    tokio::join!(futures_util::future::join_all(asked), futures_util::future::join_all(spoiling));
    app.stores.redis::<()>(redis::cmd("DEL").arg(&key)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_has_the_fields_of_its_kind_of_list() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    let [ann, ben]: [String; 2] = app.customers(2).await.try_into().expect("two customers were created");
    client.create_coupon("shop", &shop, "ten", 3).await;
    assert_eq!(client.claim("shop", "ten", &ann).await.status, 201);

    let offered = json!({"errMsg": "", "data": [
        {"name": "ten", "stock": 10, "description": "of a test", "amount": 3, "left": 2, "product_id": 1, "scheduled": false}]});
    for token in [&shop, &other, &ann, &ben, &admin] {
        let answer = client.list("shop", token).await;
        assert_eq!((answer.status, answer.json()), (200, offered.clone()), "every user may read a saler's list");
    }
    let held = json!({"errMsg": "", "data": [
        {"name": "ten", "stock": 10, "description": "of a test", "saler": "shop"}]});
    for token in [&ann, &admin] {
        let answer = client.list("customer-0", token).await;
        assert_eq!((answer.status, answer.json()), (200, held.clone()), "the customer and admins may read the list");
    }
    let head = client.send("HEAD", "/api/users/shop/coupons", &ann, None).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("Content-Length"), client.list("shop", &ann).await.text.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_in_both_lists_from_its_answer_on_whichever_instance_is_asked() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(12).await;
    app.client().create_coupon("shop", &shop, "ten", 12).await;
    for (n, customer) in customers.iter().enumerate() {
        let (here, there) = (&app.instances[n % 2].client, &app.instances[(n + 1) % 2].client);
        assert_eq!(here.list(&format!("customer-{n}"), customer).await.status, 204);
        assert_eq!(here.claim("shop", "ten", customer).await.status, 201);
        let left = there.list("shop", customer).await.json()["data"][0]["left"].clone();
        assert_eq!(left, 12 - (n + 1));
        let held = there.list(&format!("customer-{n}"), customer).await.json();
        assert_eq!(held["data"][0]["name"], "ten");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_a_number_or_refused() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    for n in 0..21 {
        client.create_coupon("shop", &shop, &format!("coupon-{n}"), 1).await;
    }
    let first = client.list("shop", &shop).await.json();
    assert_eq!(first["data"].as_array().map(Vec::len), Some(20));
    for query in
        ["", "page", "page=", "page=0", "page=-1", "page=-9223372036854775808", "page=1", "page=%31", "pages=2"]
    {
        let answer = client.get(&format!("/api/users/shop/coupons?{query}"), &shop).await;
        assert_eq!((answer.status, answer.json()), (200, first.clone()), "{query}");
    }
    let second = client.get("/api/users/shop/coupons/?x=y&page=2", &shop).await.json();
    assert_eq!(second["data"].as_array().map(Vec::len), Some(1));
    for query in ["page=3", "page=50000001", "page=9223372036854775807", "page=922337203685477581"] {
        let answer = client.get(&format!("/api/users/shop/coupons?{query}"), &shop).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{query}");
    }
    for page in
        ["x", "1.5", "1_0", "1e1", "0x1", "9223372036854775808", "-9223372036854775809", "%FF", "1%00", "%201", "١"]
    {
        let path = format!("/api/users/shop/coupons?page={page}");
        refused(client, &path, &shop, (400, NO_PAGE, "bad-request")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_may_not_be_seen_is_refused_by_the_first_row_that_applies() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    let [ann, ben]: [String; 2] = app.customers(2).await.try_into().expect("two customers were created");

    refused(client, "/api/users/nobody/coupons?page=x", "", (401, "Not Authorized.", "not-logged-in")).await;
    for user in ["nobody", "customer-0", "shop"] {
        let path = format!("/api/users/{user}/coupons?page=x");
        refused(client, &path, &ben, (400, NO_PAGE, "bad-request")).await;
    }
    for user in ["nobody", "%FF", "SHOP", "Customer-0", "shop%20", "a%2Fb", "%00"] {
        for token in [&ann, &shop, &admin] {
            let path = format!("/api/users/{user}/coupons?page=7");
            refused(client, &path, token, (400, "Record not found.", "bad-request")).await;
        }
    }
    for token in [&ben, &shop] {
        let answer = client.list("customer-0", token).await;
        let expected = json!({"errMsg": "Cannot check other customer.", "code": "not-yours", "data": []});
        assert_eq!((answer.status, answer.json()), (401, expected));
        assert_eq!(answer.header("WWW-Authenticate"), "Bearer");
    }
    for (user, token) in [("customer-0", &ann), ("customer-0", &admin), ("shop", &ann), ("root", &admin)] {
        assert_eq!(client.list(user, token).await.status, 204, "{user} has nothing yet");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_nobody_a_moment_ago_is_found_after_registering() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let [here, there] = [&app.instances[0].client, &app.instances[1].client];
    let ann = app.user("ann", Kind::Customer).await;
    for client in [here, there] {
        refused(client, "/api/users/late/coupons", &ann, (400, "Record not found.", "bad-request")).await;
    }
    let late = here.user("late", "saler").await;
    assert_eq!(here.list("late", &ann).await.status, 204);
    here.create_coupon("late", &late, "ten", 1).await;
    let listed: Value = here.list("late", &ann).await.json();
    eventually("the other instance finds the new user", || async {
        let answer = there.list("late", &ann).await;
        answer.status == 200 && answer.json() == listed
    })
    .await;
}
