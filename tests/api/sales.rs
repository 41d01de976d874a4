//! Activities in the claim script and in the instances: windows, limits, quotas, totals and draws.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use couponrush::domain::{CouponId, Rate, Status, Terms, Window};
use couponrush::sales::ScheduleError;
use serde_json::json;
use tokio::task::JoinSet;

use crate::helpers::{Answer, Client, Customer, PASSWORD, TestApp, customers, eventually, now_seconds, proof, terms};

const COUPON: CouponId = CouponId(1);
/// How long an instance may refuse from memory after a change by another instance.
const MEMORY: Duration = Duration::from_millis(200);

type Change = fn(&mut Terms);

/// Two instances with a scheduled coupon `shop/sale` of `amount` units, and customers.
async fn shop(amount: u32, count: usize) -> (TestApp, Vec<Customer>) {
    let mut app = TestApp::start_without_rates().await;
    app.start_another().await;
    let saler = app.client().user("shop", "saler").await;
    let body = json!({"name": "sale", "amount": amount, "stock": 1, "scheduled": true});
    assert_eq!(app.client().post("/api/users/shop/coupons", &saler, &body).await.status, 201);
    let crowd = customers(&app.stores, "crowd", count).await;
    (app, crowd)
}

async fn claim(client: &Client, customer: &Customer) -> Answer {
    client.claim("shop", "sale", &customer.token).await
}

/// Claims at an instance that did not make the last change.
async fn claim_elsewhere(client: &Client, customer: &Customer) -> Answer {
    tokio::time::sleep(MEMORY).await;
    claim(client, customer).await
}

async fn claim_nth(client: &Client, customer: &Customer, nth: &str) -> Answer {
    let request = client.request("PATCH", "/api/users/shop/coupons/sale");
    Answer::of(request.header("Authorization", &customer.token).header("Claim-Nth", nth)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scheduled_coupon_is_sold_in_its_window_only_and_a_change_is_soon_in_force_on_every_instance() {
    let (app, crowd) = shop(100, 10).await;
    let (first, second) = (&app.instances[0], &app.instances[1]);
    for instance in [first, second] {
        assert_eq!(claim(&instance.client, &crowd[0]).await.result(), "not-on-sale");
    }
    let id = first.schedule(COUPON, &terms(60, 120)).await.expect("the activity can be created");
    assert_eq!(claim_elsewhere(&second.client, &crowd[0]).await.result(), "not-started");

    let window = |from, to| terms(from, to).window;
    first.reschedule(id, |terms| terms.window = window(-10, 60)).await.expect("the activity can be changed");
    assert_eq!(claim_elsewhere(&second.client, &crowd[0]).await.result(), "claimed");
    let changes: [(Change, &str); 4] = [
        (|terms| terms.status = Status::Disabled, "not-on-sale"),
        (|terms| terms.status = Status::SoldOut, "sold-out"),
        (|terms| (terms.status, terms.buy_rate) = (Status::Normal, Rate::new(0.0).expect("a rate")), "try-again"),
        (|terms| terms.buy_rate = Rate::ALL, "claimed"),
    ];
    for (n, (change, expected)) in changes.into_iter().enumerate() {
        let [changing, asked] = if n % 2 == 0 { [second, first] } else { [first, second] };
        changing.reschedule(id, change).await.expect("the activity can be changed");
        let answer = claim_elsewhere(&asked.client, &crowd[1]).await;
        assert_eq!(answer.result(), expected, "change {n}: {answer:?}");
    }
    second.reschedule(id, |terms| terms.window = window(-10, -5)).await.expect("the activity can be changed");
    assert_eq!(claim_elsewhere(&first.client, &crowd[2]).await.result(), "ended");
    let again = claim(&first.client, &crowd[0]).await;
    assert_eq!(
        (again.result(), proof(&again).activity),
        ("already-claimed", id),
        "a holder gets the claim after the end too"
    );
}

/// The outcome of the first claim was unknown, and Redis lost it. The second claim was answered, and MySQL has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_has_lost_a_claim_that_he_was_not_told_of_keeps_the_one_that_he_was() {
    let (app, crowd) = shop(2, 1).await;
    let (client, ann) = (app.client(), &crowd[0]);
    let mut twice = terms(-10, 600);
    twice.buy_limit = 2;
    app.instances[0].schedule(COUPON, &twice).await.expect("the activity can be created");
    claim_nth(client, ann, "1").await;
    let second = claim_nth(client, ann, "2").await;
    assert_eq!((second.result(), proof(&second).nth), ("claimed", 2));
    app.settle().await;
    app.stores.execute("DELETE FROM claims WHERE nth = 1; UPDATE coupons SET left_count = left_count + 1").await;
    app.stores.redis::<()>(redis::cmd("DEL").arg(app.stores.keys().live())).await;
    eventually("the shard is loaded again", || async {
        let again = claim_nth(client, ann, "2").await;
        again.result() == "already-claimed" && again.header("Claim-Token") == second.header("Claim-Token")
    })
    .await;
    // The next claim fills the gap of the lost one, once.
    let first = claim(client, ann).await;
    assert_eq!((first.result(), proof(&first).nth), ("claimed", 1));
    let again = claim(client, ann).await;
    assert_eq!((again.result(), proof(&again).nth), ("already-claimed", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_total_is_for_its_activity_and_survives_a_loss_of_redis() {
    let (app, crowd) = shop(100, 20).await;
    let client = app.client();
    let mut few = terms(-10, 600);
    few.total = 3;
    let id = app.instances[0].schedule(COUPON, &few).await.expect("the activity can be created");
    for customer in &crowd[..3] {
        assert_eq!(claim(client, customer).await.result(), "claimed");
    }
    assert_eq!(claim(client, &crowd[3]).await.result(), "sold-out");

    app.settle().await;
    let keys = app.stores.keys();
    app.stores.redis::<()>(redis::cmd("DEL").arg(keys.live()).arg(keys.activity(id))).await;
    eventually("the attempt is refused again", || async { claim(client, &crowd[3]).await.result() == "sold-out" })
        .await;
    app.instances[0].reschedule(id, |terms| terms.total = 4).await.expect("the activity can be changed");
    eventually("another unit is sold", || async { claim(client, &crowd[4]).await.result() == "claimed" }).await;
    assert_eq!(claim(client, &crowd[5]).await.result(), "sold-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_claims_up_to_the_limit_and_an_nth_claim_is_never_taken_twice() {
    let (app, crowd) = shop(100, 3).await;
    let client = app.client();
    let mut three = terms(-10, 600);
    three.buy_limit = 3;
    let id = app.instances[0].schedule(COUPON, &three).await.expect("the activity can be created");
    let ann = &crowd[0];

    let first = claim_nth(client, ann, "1").await;
    let again = claim_nth(client, ann, "1").await;
    assert_eq!((first.result(), again.result()), ("claimed", "already-claimed"));
    assert_eq!(first.header("Claim-Token"), again.header("Claim-Token"));
    let second = claim(client, ann).await;
    let third = claim(client, ann).await;
    let fourth = claim(client, ann).await;
    assert_eq!([&second, &third, &fourth].map(Answer::result), ["claimed", "claimed", "already-claimed"]);
    assert_eq!([&first, &second, &third].map(|answer| proof(answer).nth), [1, 2, 3]);
    assert_eq!(fourth.header("Claim-Token"), third.header("Claim-Token"), "the latest claim is returned");
    for (nth, answer) in [("1", &first), ("2", &second), ("3", &third)] {
        assert_eq!(claim_nth(client, ann, nth).await.header("Claim-Token"), answer.header("Claim-Token"), "{nth}");
    }
    for bad in ["0", "101", "-1", "x", "", "1.0", "4294967297"] {
        assert_eq!(claim_nth(client, &crowd[1], bad).await.status, 400, "{bad:?}");
    }
    let list = client.list(&ann.user.name.to_string(), &ann.token).await.json();
    assert_eq!((&list["data"][0]["count"], &list["data"][1]), (&json!(3), &json!(null)), "{list}");

    app.instances[0].reschedule(id, |terms| terms.buy_limit = 1).await.expect("the activity can be changed");
    let lowered = claim(client, ann).await;
    assert_eq!(
        (lowered.result(), proof(&lowered).nth),
        ("already-claimed", 3),
        "the latest claim is returned, though it is above the limit"
    );
    assert_eq!(claim(client, &crowd[1]).await.result(), "claimed");
    assert_eq!(claim(client, &crowd[1]).await.result(), "already-claimed");

    let login = client.log_in("shop", PASSWORD).await;
    let put =
        client.put("/api/users/shop/coupons/sale", login.header("Authorization"), &json!({"scheduled": false})).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let unscheduled = claim(client, ann).await;
    assert_eq!(
        (unscheduled.result(), proof(&unscheduled).nth),
        ("already-claimed", 3),
        "the latest claim is returned without an activity too"
    );
    assert_eq!(claim(client, &crowd[2]).await.result(), "claimed");
    assert_eq!(claim(client, &crowd[2]).await.result(), "already-claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_user_on_many_connections_never_passes_his_limit() {
    let (app, crowd) = shop(1_000, 1).await;
    let mut seven = terms(-10, 600);
    seven.buy_limit = 7;
    app.instances[0].schedule(COUPON, &seven).await.expect("the activity can be created");
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let (client, ann) = (app.instances[n % 2].client.clone(), crowd[0].clone());
        tasks.spawn(async move { claim(&client, &ann).await.result().to_owned() });
    }
    let results = tasks.join_all().await;
    let claimed = results.iter().filter(|result| *result == "claimed").count();
    assert_eq!(claimed, 7, "{results:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn activities_that_follow_each_other_sell_without_a_gap() {
    let (app, crowd) = shop(10_000, 6_000).await;
    let begin = i64::try_from(now_seconds()).expect("the time fits an i64");
    let edge = begin + 3;
    let mut ids = Vec::new();
    for (from, to) in [(begin - 5, edge), (edge, edge + 60)] {
        let mut terms = terms(0, 1);
        let second = |at: i64| u64::try_from(at).expect("the time is after 1970");
        terms.window = couponrush::domain::Window::new(second(from), second(to)).expect("a window");
        ids.push(app.instances[0].schedule(COUPON, &terms).await.expect("the activity can be created"));
    }
    let mut crowd = crowd.iter();
    let mut sold = BTreeMap::new();
    while i64::try_from(now_seconds()).expect("the time fits an i64") < edge + 1 {
        let customer = crowd.next().expect("there is a customer for every millisecond");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut answer = claim(app.client(), customer).await;
        // A busy machine misses the deadline occasionally.
        while answer.status == 503 {
            answer = claim(app.client(), customer).await;
        }
        assert!(["claimed", "already-claimed"].contains(&answer.result()), "{answer:?}");
        *sold.entry(proof(&answer).activity).or_insert(0) += 1;
    }
    assert_eq!(sold.keys().copied().collect::<Vec<_>>(), ids, "{sold:?}");
    let wrong =
        format!("SELECT COUNT(*) FROM claims WHERE (activity_id = {0}) <> (claimed_at < {1})", ids[0], edge * 1_000);
    app.settle().await;
    assert_eq!(app.stores.number(&wrong).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_second_sells_more_than_the_quota_even_when_redis_is_lost_in_it() {
    let (app, crowd) = shop(1_000, 1_000).await;
    let mut slow = terms(-10, 600);
    slow.speed = 20;
    app.instances[0].schedule(COUPON, &slow).await.expect("the activity can be created");
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut tasks = JoinSet::new();
    for lane in 0..8 {
        let (client, crowd) = (app.instances[lane % 2].client.clone(), crowd.clone());
        tasks.spawn(async move {
            for customer in crowd.iter().skip(lane).step_by(8).cycle() {
                if Instant::now() >= deadline {
                    return;
                }
                claim(&client, customer).await;
            }
        });
    }
    let keys = app.stores.keys();
    while Instant::now() < deadline {
        // Early in a second: its quota is just sold, and there is time to load Redis within it.
        tokio::time::sleep(Duration::from_millis(1_150 - couponrush::base::now_ms() % 1_000)).await;
        app.stores.redis::<()>(redis::cmd("DEL").arg(keys.live())).await;
    }
    tasks.join_all().await;
    // The last loss may still be unnoticed, and an instance may still report that it is ready.
    eventually("the shard is loaded again", || async {
        let live: Option<String> = app.stores.redis(redis::cmd("GET").arg(keys.live())).await;
        live.as_deref() == Some(app.stores.live().await.as_str())
    })
    .await;
    app.settle().await;
    let most = "SELECT MAX(sold) FROM (SELECT COUNT(*) AS sold FROM claims GROUP BY claimed_at DIV 1000) AS seconds";
    let most = app.stores.number(most).await;
    assert!((1..=20).contains(&most), "{most} claims in a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_share_of_attempts_is_let_through_without_bias() {
    let (app, crowd) = shop(10_000, 1_000).await;
    let mut third = terms(-10, 600);
    third.buy_rate = Rate::new(0.3).expect("a rate");
    app.instances[0].schedule(COUPON, &third).await.expect("the activity can be created");
    let mut claimed = 0;
    for customer in &crowd {
        claimed += i32::from(claim(app.client(), customer).await.result() == "claimed");
    }
    // Six standard deviations of a binomial distribution. One run in five hundred million is outside.
    assert!((300_i32 - claimed).abs() < 87, "{claimed} of 1,000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn terms_that_cannot_be_are_refused_and_change_nothing() {
    let (app, _) = shop(10, 1).await;
    let instance = &app.instances[0];
    // All windows are relative to the same moment, because touching edges must agree to the second.
    let now = terms(0, 1);
    let terms = |from: u64, to: u64| {
        let at = now.window.start();
        Terms { window: Window::new(at + from, at + to).expect("a window"), ..now.clone() }
    };
    let first = instance.schedule(COUPON, &terms(100, 200)).await.expect("the activity can be created");
    let mut large = terms(300, 400);
    large.total = 11;
    let refused = instance.schedule(COUPON, &large).await;
    assert!(matches!(refused, Err(ScheduleError::TotalAboveAmount)), "{refused:?}");
    let refused = instance.schedule(COUPON, &terms(150, 300)).await;
    assert!(matches!(refused, Err(ScheduleError::Overlaps(other)) if other == first), "{refused:?}");
    let refused = instance.schedule(CouponId(99), &terms(1, 2)).await;
    assert!(matches!(refused, Err(ScheduleError::NoSuchCoupon)), "{refused:?}");
    let touching = instance.schedule(COUPON, &terms(200, 300)).await.expect("touching windows do not overlap");
    let overlapping = terms(199, 300);
    let refused = instance.reschedule(touching, |terms| terms.window = overlapping.window).await;
    assert!(matches!(refused, Err(ScheduleError::Overlaps(_))), "{refused:?}");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM activities WHERE revision = 1").await, 2);
}
