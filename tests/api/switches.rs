//! Switches that turn off parts of the service during a rush.

use std::time::{Duration, Instant};

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually};

const SWITCHES: &str = "/admin/switches";
const NAMES: [&str; 8] = ["register", "register_saler", "login", "list", "pages", "docs", "events", "claim"];

/// The switches with all but `off` on.
fn all_but(off: &[&str]) -> Value {
    NAMES.iter().map(|name| ((*name).to_owned(), json!(!off.contains(name)))).collect::<serde_json::Map<_, _>>().into()
}

/// Turns the switches in `off` off, and all others on.
async fn turn_off(client: &Client, admin: &str, off: &[&str]) {
    let body: Value =
        off.iter().map(|name| ((*name).to_owned(), json!(false))).collect::<serde_json::Map<_, _>>().into();
    let answer = client.put(SWITCHES, admin, &body).await;
    assert_eq!((answer.status, answer.json()), (200, all_but(off)));
}

fn assert_off(answer: &Answer) {
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{answer:?}");
    assert_eq!((answer.header("Retry-After"), answer.result()), ("1", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_are_shown_and_replaced_as_a_whole_and_survive_a_restart() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let admin = app.user("root", Kind::Admin).await;
    assert_eq!(app.client().get(SWITCHES, &admin).await.json(), all_but(&[]));
    turn_off(app.client(), &admin, &["docs", "pages"]).await;
    let answered = Instant::now();
    let other = &app.instances[1].client;
    let known = || async { other.get(SWITCHES, &admin).await.json() == all_but(&["docs", "pages"]) };
    eventually("the other instance has the change", known).await;
    assert!(answered.elapsed() <= Duration::from_secs(1), "the change took {:?}", answered.elapsed());
    turn_off(app.client(), &admin, &["events"]).await;
    app.stop().await;
    app.start_another().await;
    assert_eq!(app.client().get(SWITCHES, &admin).await.json(), all_but(&["events"]));
    let unknown = app.client().put(SWITCHES, &admin, &json!({"everything": false, "CLAIM": null})).await;
    assert_eq!((unknown.status, unknown.json()), (200, all_but(&[])), "unknown switches are ignored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_switch_is_refused_by_name_and_changes_nothing() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    turn_off(app.client(), &admin, &["docs"]).await;
    for name in NAMES {
        for bad in [json!(0), json!(1), json!("off"), json!("false"), json!([]), json!({})] {
            let answer = app.client().put(SWITCHES, &admin, &json!({name: bad})).await;
            let message = format!("{name} must be true or false.");
            assert_eq!(answer.error(), (400, message, "bad-request".to_owned()), "{bad}");
        }
    }
    for body in ["", "null", "[]", "claim=false", "false"] {
        let answer = app.client().send("PUT", SWITCHES, &admin, Some(body)).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, "Only receive JSON format."), "{body:?}");
    }
    assert_eq!(app.client().get(SWITCHES, &admin).await.json(), all_but(&["docs"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_that_is_off_answers_503_and_the_others_go_on() {
    let app = TestApp::start().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    let shop = client.user("shop", "saler").await;
    let ann = client.user("ann", "customer").await;
    client.create_coupon("shop", &shop, "ten", 10).await;

    turn_off(client, &admin, &["register", "login", "claim"]).await;
    assert_off(&client.register("bob", "customer").await);
    assert_off(&client.register("other", "saler").await);
    assert_off(&client.send("POST", "/api/users", "", Some("not json")).await);
    let login = client.log_in("ann", PASSWORD).await;
    assert_off(&login);
    assert_eq!(login.json()["kind"], "");
    assert_off(&client.claim("shop", "ten", &ann).await);
    assert_off(&client.claim("shop", "none", &ann).await);
    assert_eq!(client.claim("shop", "ten", "").await.status, 401);
    assert_eq!(client.list("shop", &ann).await.json()["data"][0]["left"], 10, "no unit was claimed");

    turn_off(client, &admin, &["register_saler"]).await;
    assert_off(&client.register("other", "saler").await);
    assert_eq!(client.register("bob", "customer").await.status, 201);
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 200);
    assert_eq!(client.claim("shop", "ten", &ann).await.result(), "claimed");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users WHERE username = 'other'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_off_is_up_to_a_second_old_and_shows_nobody_what_he_may_not_see() {
    let app = TestApp::start().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    let shop = app.user("shop", Kind::Saler).await;
    let (ann, bob) = (app.user("ann", Kind::Customer).await, app.user("bob", Kind::Customer).await);
    client.create_coupon("shop", &shop, "ten", 10).await;
    let fresh = client.list("shop", &bob).await;
    turn_off(client, &admin, &["list"]).await;

    let old = client.list("shop", &bob).await;
    assert_eq!((old.status, &old.text), (200, &fresh.text), "the same list as with the switch on");
    assert_eq!(old.header("Content-Type"), "application/json; charset=utf-8");
    assert_eq!(client.list("ann", &ann).await.status, 204);
    assert_eq!(client.claim("shop", "ten", &ann).await.result(), "claimed");
    for (owner, token) in [("shop", &bob), ("ann", &ann), ("ann", &admin)] {
        let shows = || async { client.list(owner, token).await.text.contains(r#""name":"ten""#) };
        eventually("the claim is listed", shows).await;
    }
    let left = || async { client.list("shop", &bob).await.json()["data"][0]["left"] == 9 };
    eventually("the list is read again", left).await;

    assert_eq!(client.list("ann", &ann).await.status, 200);
    let refused = client.list("ann", &bob).await;
    assert_eq!(
        (refused.status, &refused.json()["data"]),
        (401, &json!([])),
        "a cached list is not shown to other users"
    );
    assert_eq!(client.list("ann", &shop).await.status, 401);
    assert_eq!(client.list("ann", "").await.status, 401);
    assert_eq!(client.get("/api/users/ann/coupons?page=2", &ann).await.status, 204, "every page is cached separately");
    assert_eq!(client.get("/api/users/ann/coupons?page=x", &ann).await.status, 400);
    assert_eq!(client.list("nobody", &ann).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_ask_for_a_list_that_is_off_share_one_read_a_second() {
    let app = TestApp::start().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    let shop = app.user("shop", Kind::Saler).await;
    let customers = app.customers(50).await;
    client.create_coupon("shop", &shop, "ten", 10_000).await;
    turn_off(client, &admin, &["list"]).await;
    // Every claim changes the number of units left. All answers between two reads of Redis show the same number.
    let began = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    let mut answers = 0;
    while began.elapsed() < Duration::from_millis(1_500) {
        for customer in &customers {
            assert_ne!(client.claim("shop", "ten", customer).await.status, 503);
            let left = client.list("shop", customer).await.json()["data"][0]["left"].as_u64();
            seen.insert(left.expect("a number"));
            answers += 1;
        }
        if answers >= 5_000 {
            break;
        }
    }
    let reads_max = usize::try_from(began.elapsed().as_secs()).expect("few seconds") + 2;
    assert!(answers > 4 * reads_max && seen.len() <= reads_max, "{answers} answers showed {seen:?}");
}
