//! Lockouts: guesses from many networks, while the owner of the name logs in.

use couponrush::config::ServeArgs;
use couponrush::mysql::known_networks::delete_before;
use serde_json::json;

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually, now_seconds};
use crate::limits::assert_rate_limited;

const HOME: &str = "203.0.113.7";
const OFFICE: &str = "2001:db8:1:2::9";
const ELSEWHERE: &str = "192.0.2.99";
const DAY: u64 = 86_400;

/// A name may fail once a minute from a network, and ten times from all.
fn few_guesses(args: &mut ServeArgs) {
    args.admission.trusted_proxies = "127.0.0.1".parse().expect("networks");
    args.admission.failed_logins_per_minute = 1;
}

async fn log_in(client: &Client, name: &str, password: &str, network: &str) -> Answer {
    let body = json!({"username": name, "password": password}).to_string();
    Answer::of(client.request("POST", "/api/auth").body(body).header("X-Forwarded-For", network)).await
}

/// A login with a mark of the device.
async fn log_in_with(client: &Client, mark: &str, name: &str, password: &str, network: &str) -> u16 {
    let body = json!({"username": name, "password": password}).to_string();
    let request = client.request("POST", "/api/auth").body(body).header("X-Forwarded-For", network);
    Answer::of(request.header("Login-Device", mark)).await.status
}

/// Guesses from more networks than a name has guesses.
async fn attack(client: &Client, name: &str) {
    let networks: Vec<String> = (0..30).map(|n| format!("198.51.100.{n}")).collect();
    let guesses = networks.iter().map(|network| log_in(client, name, "a guess", network));
    let guesses = futures_util::future::join_all(guesses).await;
    assert_eq!(guesses.iter().filter(|answer| answer.status == 401).count(), 10, "ten guesses for a name");
    assert_eq!(guesses.iter().filter(|answer| answer.status == 429).count(), 20);
}

/// Waits until MySQL has so many known networks.
async fn known(app: &TestApp, count: i64) {
    eventually("the networks are written", || async {
        app.stores.number("SELECT COUNT(*) FROM known_networks").await == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_many_networks_do_not_keep_out_a_network_that_knows_the_name() {
    let mut app = TestApp::start_with(few_guesses).await;
    app.client().register("ann", "customer").await;
    for network in [HOME, OFFICE] {
        assert_eq!(log_in(app.client(), "ann", PASSWORD, network).await.status, 200);
    }
    known(&app, 2).await;
    let attacked = app.start_another().await;
    let (client, ops) = (attacked.client.clone(), attacked.ops.clone());
    attack(&client, "ann").await;
    assert_rate_limited(&log_in(&client, "ann", PASSWORD, ELSEWHERE).await, 60);
    assert_rate_limited(&log_in(&client, "ann", PASSWORD, "198.51.100.1").await, 60);
    for _ in 0..3 {
        assert_eq!(log_in(&client, "ann", PASSWORD, HOME).await.status, 200);
    }
    assert_eq!(log_in(&client, "ann", PASSWORD, "2001:db8:1:2:3:4:5:6").await.status, 200, "of the same /64");
    assert_eq!(log_in(&client, "ann", "a typo", HOME).await.status, 401, "who is let through is told so");
    assert_rate_limited(&log_in(&client, "ann", PASSWORD, HOME).await, 60);
    let metrics = ops.get("/metrics", "").await.text;
    assert!(metrics.contains("couponrush_known_network_reads_total{result=\"done\"} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_a_network_at_many_names_do_not_keep_out_the_names_that_it_knows() {
    let app = TestApp::start_with(|args| {
        few_guesses(args);
        args.admission.ip_failed_logins_per_minute = 4;
    })
    .await;
    let client = app.client();
    for name in ["ann", "bob"] {
        client.register(name, "customer").await;
    }
    assert_eq!(log_in(client, "ann", PASSWORD, HOME).await.status, 200);
    assert_eq!(log_in(client, "bob", PASSWORD, OFFICE).await.status, 200);
    known(&app, 2).await;
    for n in 0..4 {
        assert_eq!(log_in(client, &format!("guess-{n}"), "a guess", HOME).await.status, 401);
    }
    assert_rate_limited(&log_in(client, "bob", PASSWORD, HOME).await, 60);
    assert_rate_limited(&log_in(client, "a/b", PASSWORD, HOME).await, 60);
    assert_eq!(log_in(client, "ann", PASSWORD, HOME).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_user_the_eight_latest_networks_are_known_for_thirty_days() {
    let mut app = TestApp::start_with(few_guesses).await;
    app.client().register("ann", "customer").await;
    let now = now_seconds();
    let seen = async |network: &str, seen_at: u64| {
        let sql = format!("INSERT INTO known_networks SELECT id, '{network}', {seen_at} FROM users");
        app.stores.execute(&sql).await;
    };
    seen("192.0.2.1", now - 31 * DAY).await;
    seen("192.0.2.2", now - 29 * DAY).await;
    for n in 3..=9 {
        seen(&format!("192.0.2.{n}"), now - 2 * DAY - n).await;
    }
    attack(app.client(), "ann").await;
    assert_rate_limited(&log_in(app.client(), "ann", PASSWORD, "192.0.2.1").await, 60);
    assert_eq!(log_in(app.client(), "ann", PASSWORD, "192.0.2.2").await.status, 200);
    eventually("a login renews the row", || async {
        let renewed = format!("SELECT seen_at >= {now} FROM known_networks WHERE network = '192.0.2.2'");
        app.stores.number(&renewed).await == 1
    })
    .await;

    // Another instance knows nothing of this attack.
    let other = app.start_another().await.client.clone();
    assert_eq!(log_in(&other, "ann", PASSWORD, HOME).await.status, 200);
    let networks = "SELECT network AS value FROM known_networks ORDER BY network";
    let replaced = ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8", HOME];
    eventually("the oldest row is replaced", || async { app.stores.texts(networks).await == replaced }).await;

    // An instance deletes rows older than thirty days when it starts, so 192.0.2.9 was the oldest one.
    assert_eq!(delete_before(&app.stores.db, now - 2 * DAY, 4).await.expect("MySQL deletes"), 4, "in batches");
    assert_eq!(delete_before(&app.stores.db, now - 2 * DAY, 4).await.expect("MySQL deletes"), 2);
    known(&app, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_network_is_written_at_most_once_a_day() {
    let mut app = TestApp::start_with(few_guesses).await;
    app.client().register("ann", "customer").await;
    assert_eq!(log_in(app.client(), "ann", PASSWORD, HOME).await.status, 200);
    known(&app, 1).await;
    for (age, is_written) in [(DAY - 60, false), (DAY + 60, true)] {
        let seen_at = now_seconds() - age;
        app.stores.execute(&format!("UPDATE known_networks SET seen_at = {seen_at}")).await;
        // Its memory is empty.
        let instance = app.start_another().await.client.clone();
        assert_eq!(log_in(&instance, "ann", PASSWORD, HOME).await.status, 200);
        // The instance writes the logins in order.
        assert_eq!(log_in(&instance, "ann", PASSWORD, &format!("192.0.2.{}", u8::from(is_written))).await.status, 200);
        known(&app, 2 + i64::from(is_written)).await;
        let sql = format!("SELECT seen_at > {seen_at} FROM known_networks WHERE network = '{HOME}'");
        assert_eq!(app.stores.number(&sql).await, i64::from(is_written));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_knows_the_name_is_let_in_from_anywhere_until_the_password_changes() {
    let app = TestApp::start_with(few_guesses).await;
    let client = app.client();
    for name in ["ann", "bob"] {
        client.register(name, "customer").await;
    }
    let ann = log_in(client, "ann", PASSWORD, HOME).await;
    let bob = log_in(client, "bob", PASSWORD, HOME).await;
    let (mark, token) = (ann.header("Login-Device"), ann.header("Authorization"));
    attack(client, "ann").await;

    for wrong in ["", "a.b.c", token, bob.header("Login-Device"), &mark.replacen('.', ".A", 1)] {
        assert_eq!(log_in_with(client, wrong, "ann", PASSWORD, ELSEWHERE).await, 429, "{wrong}");
    }
    assert_eq!(log_in_with(client, mark, "ann", PASSWORD, ELSEWHERE).await, 200);
    assert_eq!(log_in_with(client, mark, "ann", "a typo", "192.0.2.1").await, 401);
    assert_eq!(log_in_with(client, mark, "ann", PASSWORD, "192.0.2.1").await, 429, "a network has its guesses");
    assert_eq!(client.list("ann", mark).await.status, 401, "a mark is no login");

    let change = json!({"old": PASSWORD, "new": "another horse"});
    assert_eq!(client.put("/api/users/ann/password", token, &change).await.status, 200);
    for password in ["a guess", PASSWORD, "another horse"] {
        assert_eq!(log_in_with(client, mark, "ann", password, "192.0.2.2").await, 429, "it tells nothing: {password}");
    }
    let renewed = log_in(client, "ann", "another horse", HOME).await;
    assert_eq!(renewed.status, 200);
    let mark = renewed.header("Login-Device");
    assert_eq!(log_in_with(client, mark, "ann", "another horse", "192.0.2.2").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_does_not_get_through_the_limit_of_a_network() {
    let app = TestApp::start_with(|args| {
        few_guesses(args);
        args.admission.ip_failed_logins_per_minute = 4;
    })
    .await;
    let client = app.client();
    client.register("ann", "customer").await;
    let mark = log_in(client, "ann", PASSWORD, HOME).await.header("Login-Device").to_owned();
    for n in 0..4 {
        assert_eq!(log_in(client, &format!("guess-{n}"), "a guess", ELSEWHERE).await.status, 401);
    }
    assert_eq!(log_in_with(client, &mark, "ann", PASSWORD, ELSEWHERE).await, 429);
    assert_eq!(log_in_with(client, &mark, "ann", PASSWORD, OFFICE).await, 200);
}

/// Logins from one address at once, with the limits of failures off. Returns the statuses.
async fn at_once(client: &Client, guesses: impl Iterator<Item = (&str, String)>) -> Vec<u16> {
    let logins = guesses.map(|(name, password)| async move { client.log_in(name, &password).await.status });
    futures_util::future::join_all(logins).await
}

fn unlimited(args: &mut ServeArgs) {
    (args.admission.failed_logins_per_minute, args.admission.ip_failed_logins_per_minute) = (0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_with_one_name_and_password_at_once_share_a_hash() {
    let app = TestApp::start_with(unlimited).await;
    app.client().register("ann", "customer").await;
    let passwords = &app.instances[0].shared.accounts.passwords;
    for name in ["ann", "nobody"] {
        let before = passwords.computed();
        let statuses = at_once(app.client(), (0..100).map(|_| (name, "a guess".to_owned()))).await;
        assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
        let hashes = passwords.computed() - before;
        assert!((1..50).contains(&hashes), "{hashes} hashes for one guess at {name}");
    }
    assert_eq!(passwords.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_one_name_do_not_fill_the_line_of_their_network() {
    let app = TestApp::start_with(unlimited).await;
    app.client().register("ann", "customer").await;
    let others = (0..20).map(|n| ("bob", format!("another guess {n}")));
    let guesses = (0..300).map(|n| ("ann", format!("a guess {n}"))).chain(others);
    let statuses = at_once(app.client(), guesses).await;
    let count = |from: usize, to: usize, wanted| statuses[from..to].iter().filter(|status| **status == wanted).count();
    let (told, put_out) = (count(0, 300, 401), count(0, 300, 503));
    assert_eq!(told + put_out, 300, "{statuses:?}");
    assert!(told >= 64 && put_out > 0, "{put_out} guesses found 64 others of their name in the line");
    assert_eq!(count(300, 320, 401), 20, "another name has places");
}
