//! Limits set by admins, and refusals of requests above the limits.

use std::time::{Duration, Instant};

use couponrush::domain::{Kind, RateShare};
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually};

const LIMITS: &str = "/admin/limits";
const EVERYWHERE: Duration = Duration::from_secs(1);

fn defaults() -> Value {
    json!({"user_per_second": 20, "user_per_minute": 300, "ip_per_second": 0, "ip_per_minute": 0,
        "ip_glances_per_minute": 0, "user_reads_per_minute": 0, "ip_reads_per_minute": 0, "user_exports_per_minute": 0,
        "ip_exports_per_minute": 0, "user_writes_per_minute": 0, "ip_writes_per_minute": 0, "ip_hashes_per_minute": 0,
        "offences_per_minute": 1000, "offender_seconds": 600, "allow_ips": [], "allow_referers": []})
}

/// Sets limits. Limits without a name get their defaults.
pub async fn set(app: &TestApp, limits: Value) {
    let admin = app.user(&format!("root-{:x}", rand::random::<u32>()), Kind::Admin).await;
    let answer = app.client().put(LIMITS, &admin, &limits).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The number of passed attempts. All others must be 429 with a correct `Retry-After`.
async fn count_passed(client: &Client, token: &str, attempts: usize) -> usize {
    let mut passed = 0;
    for _ in 0..attempts {
        let answer = client.claim("nobody", "none", token).await;
        match answer.status {
            204 => passed += 1,
            _ => assert_rate_limited(&answer, 60),
        }
    }
    passed
}

pub fn assert_rate_limited(answer: &Answer, wait_max: u64) {
    assert_eq!((answer.status, answer.error().2.as_str()), (429, "rate-limited"), "{answer:?}");
    let wait: u64 = answer.header("Retry-After").parse().expect("whole seconds");
    assert!((1..=wait_max).contains(&wait), "{answer:?}");
    assert_eq!(answer.result(), "", "a 429 has no result");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_in_force_are_shown_and_replaced_as_a_whole() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    assert_eq!(app.client().get(LIMITS, &admin).await.json(), defaults());
    let some = json!({"User_Per_Second": 7, "allow_ips": ["10.1.2.3/8", "::1"], "allow_referers": ["Shop.Example"],
        "offender_seconds": null, "unknown": "ignored"});
    let mut expected = defaults();
    expected["user_per_second"] = json!(7);
    expected["allow_ips"] = json!(["10.0.0.0/8", "::/64"]);
    expected["allow_referers"] = json!(["shop.example"]);
    let answer = app.client().put(LIMITS, &admin, &some).await;
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    assert_eq!(app.client().get("/admin/limits/", &admin).await.json(), expected);
    assert_eq!(app.stores.number("SELECT revision FROM settings WHERE name = 'limits'").await, 1);
    assert_eq!(app.stores.texts("SELECT changed_by AS value FROM settings").await, ["root"]);

    let answer = app.client().put(LIMITS, &admin, &json!({"ip_per_minute": 1_000_000})).await;
    let mut expected = defaults();
    expected["ip_per_minute"] = json!(1_000_000);
    assert_eq!(answer.json(), expected, "unnamed limits return to their defaults");
    let refused = app.client().send("POST", LIMITS, &admin, Some("{}")).await;
    assert_eq!((refused.status, refused.header("Allow")), (405, "GET, HEAD, PUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_see_and_change_what_operators_do() {
    let app = TestApp::start().await;
    let tokens = [app.user("ann", Kind::Customer).await, app.user("shop", Kind::Saler).await];
    let paths = [LIMITS, "/admin/switches", "/admin/blacklist/users/ann", "/admin/blacklist/ips/192.0.2.1"];
    for (path, method) in paths.iter().flat_map(|path| ["GET", "PUT", "DELETE"].map(|method| (path, method))) {
        if method == "DELETE" && !path.contains("blacklist") {
            continue;
        }
        for body in [None, Some("{}"), Some("not json")] {
            let answer = app.client().send(method, path, "", body).await;
            assert_eq!((answer.status, answer.error().2.as_str()), (401, "not-logged-in"), "{method} {path}");
            for token in &tokens {
                let answer = app.client().send(method, path, token, body).await;
                assert_eq!((answer.status, answer.error().2.as_str()), (403, "wrong-kind"), "{method} {path}");
            }
        }
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM settings").await, 0);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM blocks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_limit_is_refused_by_name_and_changes_nothing() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    let limits = defaults();
    let numbers = limits.as_object().expect("an object").iter().filter(|(_, value)| value.is_number());
    for name in numbers.map(|(name, _)| name) {
        for bad in ["-1", "1.5", "\"20\"", "\"\"", "true", "[]", "{}", "31536001", "18446744073709551616", "1e99"] {
            let body = format!(r#"{{"{name}":{bad},"allow_referers":["shop.example"]}}"#);
            let answer = app.client().send("PUT", LIMITS, &admin, Some(&body)).await;
            assert_eq!((answer.status, answer.error().2.as_str()), (400, "bad-request"), "{body}");
            assert!(answer.message().starts_with(&format!("{name} must be a whole number from 0 to ")), "{answer:?}");
        }
    }
    for (name, bad) in [
        ("allow_ips", json!("10.0.0.0/8")),
        ("allow_ips", json!([1])),
        ("allow_ips", json!(["10.0.0.0/33"])),
        ("allow_ips", json!([""])),
        ("allow_referers", json!("shop.example")),
        ("allow_referers", json!(["https://shop.example"])),
        ("allow_referers", json!([["shop.example"]])),
    ] {
        let answer = app.client().put(LIMITS, &admin, &json!({name: bad})).await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.message().starts_with(&format!("{name} must be a list of at most ")), "{answer:?}");
    }
    for body in ["", "null", "[]", "user_per_second=1", "{", "7", r#"{"user_per_second":}"#] {
        let answer = app.client().send("PUT", LIMITS, &admin, Some(body)).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, "Only receive JSON format."), "{body:?}");
    }
    assert_eq!(app.client().get(LIMITS, &admin).await.json(), defaults());
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM settings").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_on_every_instance_within_a_second_and_after_a_restart() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let admin = app.user("root", Kind::Admin).await;
    let ann = app.user("ann", Kind::Customer).await;
    let other = app.instances[1].client.clone();
    for per_minute in [2, 3] {
        set(&app, json!({"user_per_minute": per_minute})).await;
        let answered = Instant::now();
        let shown = || async { other.get(LIMITS, &admin).await.json()["user_per_minute"] == per_minute };
        eventually("the other instance has the change", shown).await;
        assert!(answered.elapsed() <= EVERYWHERE, "the change took {:?}", answered.elapsed());
    }
    assert_eq!(count_passed(&other, &ann, 5).await, 3);
    app.stop().await;
    app.start_another().await;
    assert_eq!(app.client().get(LIMITS, &admin).await.json()["user_per_minute"], 3);
    assert_eq!(count_passed(app.client(), &ann, 5).await, 3, "counts start again, with the stored limits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_value_that_cannot_be_understood_leaves_what_is_in_force() {
    let mut app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    set(&app, json!({"user_per_second": 5})).await;
    let revised = "changed_at = UTC_TIMESTAMP(3), revision = revision + 1";
    app.stores.execute(&format!("UPDATE settings SET value = 'not json', {revised}")).await;
    app.start_another().await;
    assert_eq!(
        app.instances[1].client.get(LIMITS, &admin).await.json(),
        defaults(),
        "the instance starts with the defaults"
    );
    assert_eq!(app.client().get(LIMITS, &admin).await.json()["user_per_second"], 5);
    app.stores.execute(&format!("UPDATE settings SET value = '{{\"user_per_second\": 6}}', {revised}")).await;
    for instance in &app.instances {
        let shown = || async { instance.client.get(LIMITS, &admin).await.json()["user_per_second"] == 6 };
        eventually("the repaired row is in force", shown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_claims_too_fast_is_told_when_to_come_back_and_others_go_on() {
    let app = TestApp::start_with(|args| args.admission.user_per_minute = 6).await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let (ann, bob) = (app.user("ann", Kind::Customer).await, app.user("bob", Kind::Customer).await);
    client.create_coupon("shop", &shop, "ten", 10).await;
    assert_eq!(count_passed(client, &ann, 20).await, 6);
    let metrics = app.instances[0].ops.get("/metrics", "").await.text;
    for figure in ["couponrush_refused_rate_total 14", "couponrush_rate_keys 2", "couponrush_offenders_total 0"] {
        assert!(metrics.lines().any(|line| line == figure), "{figure} in {metrics}");
    }
    let refused = client.claim("shop", "ten", &ann).await;
    assert_rate_limited(&refused, 10);
    assert_eq!(client.list("ann", &ann).await.status, 204, "lists are not limited, and no unit was claimed");
    assert_eq!(client.claim("shop", "ten", &bob).await.result(), "claimed");
    set(&app, json!({"user_per_second": 0, "user_per_minute": 0})).await;
    assert_eq!(count_passed(client, &ann, 100).await, 100, "0 removes the limit at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_all_instances_and_one_that_stops_soon_leaves_its_part_to_the_others() {
    let mut app = TestApp::start_with(|args| {
        args.admission.rate_share = RateShare::Divided;
        (args.admission.user_per_second, args.admission.user_per_minute) = (0, 7);
        args.drain_seconds = 60;
    })
    .await;
    app.start_another().await;
    app.start_another().await;
    let customers = app.customers(2).await;
    let serving = async |count: u32| {
        for instance in &app.instances {
            eventually("the instances are counted", || async {
                let metrics = instance.ops.get("/metrics", "").await.text;
                metrics.contains(&format!("\ncouponrush_serving_instances {count}\n"))
            })
            .await;
        }
    };
    serving(3).await;
    for instance in &app.instances {
        assert_eq!(count_passed(&instance.client, &customers[0], 10).await, 3, "a third of 7, rounded up");
    }
    app.instances[2].signal();
    serving(2).await;
    for instance in &app.instances {
        assert_eq!(count_passed(&instance.client, &customers[1], 10).await, 4, "half of 7, rounded up");
    }
    // The second signal ends the drain time.
    app.instances[2].signal();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_claims_too_fast_is_refused_unless_it_is_allowed() {
    let app = TestApp::start().await;
    let customers = app.customers(4).await;
    set(&app, json!({"ip_per_minute": 5})).await;
    let mut sum = 0;
    for customer in &customers {
        sum += count_passed(app.client(), customer, 3).await;
    }
    assert_eq!(sum, 5);
    set(&app, json!({"ip_per_minute": 5, "allow_ips": ["127.0.0.0/8"]})).await;
    assert_eq!(count_passed(app.client(), &customers[0], 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offender_is_blocked_by_himself_everywhere_and_for_a_while() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let admin = app.user("root", Kind::Admin).await;
    let (ann, bob) = (app.user("ann", Kind::Customer).await, app.user("bob", Kind::Customer).await);
    set(&app, json!({"user_per_second": 1, "offences_per_minute": 10, "offender_seconds": 4})).await;
    let mut refused = 0;
    let blocked = loop {
        let answer = app.client().claim("nobody", "none", &ann).await;
        match answer.status {
            204 => {}
            429 => refused += 1,
            _ => break answer,
        }
    };
    assert_eq!(blocked.error(), (403, "Blocked.".to_owned(), "blocked".to_owned()));
    assert_eq!(refused, 11, "the eleventh refusal blocks the user");
    let since = Instant::now();
    let other = app.instances[1].client.clone();
    let ops = app.instances[1].ops.clone();
    let figures = async || ops.get("/metrics", "").await.text;
    eventually("the other instance has the block", || async { figures().await.contains("\ncouponrush_blocks 1\n") })
        .await;
    assert!(figures().await.contains("\ncouponrush_offenders_total 0\n"), "the other instance has seen no offender");
    assert_eq!(other.claim("nobody", "none", &ann).await.status, 403);
    assert!(since.elapsed() < Duration::from_secs(2), "the block took {:?}", since.elapsed());
    let shown = app.client().get("/admin/blacklist/users/ann", &admin).await.json();
    assert_eq!((&shown["by"], &shown["reason"]), (&json!(""), &json!("offender")));
    assert_eq!(shown["until"].as_u64().zip(shown["since"].as_u64()).map(|(until, since)| until - since), Some(4));
    assert_eq!(app.client().claim("nobody", "none", &bob).await.status, 204);
    for client in [app.client(), &other] {
        eventually("the block ends", || async { client.claim("nobody", "none", &ann).await.status == 204 }).await;
    }
    assert_eq!(app.client().get("/admin/blacklist/users/ann", &admin).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_too_many_failed_logins_of_a_name_the_right_password_is_no_answer_either() {
    let app = TestApp::start().await;
    let client = app.client();
    for name in ["ann", "bob"] {
        assert_eq!(client.register(name, "customer").await.status, 201);
    }
    let guesses = futures_util::future::join_all((0..40).map(|_| client.log_in("ann", "wrong"))).await;
    let answered = guesses.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(answered, 10, "concurrent guesses get no more answers than sequential ones");
    for answer in guesses.iter().filter(|answer| answer.status != 401) {
        assert_rate_limited(answer, 60);
        assert_eq!(answer.json()["kind"], "", "every answer to a login has a kind");
    }
    assert_rate_limited(&client.log_in("ann", PASSWORD).await, 60);
    assert_eq!(client.log_in("bob", PASSWORD).await.status, 200);
    for _ in 0..11 {
        client.log_in("nobody", "wrong").await;
    }
    assert_rate_limited(&client.log_in("nobody", "wrong").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_too_many_failed_logins_from_an_address_nobody_logs_in_from_there() {
    let app = TestApp::start_with(|args| args.admission.ip_failed_logins_per_minute = 4).await;
    let client = app.client();
    assert_eq!(client.register("ann", "customer").await.status, 201);
    for n in 0..4 {
        assert_eq!(client.log_in(&format!("guess-{n}"), "wrong").await.status, 401);
    }
    assert_rate_limited(&client.log_in("ann", PASSWORD).await, 60);
    set(&app, json!({"allow_ips": ["127.0.0.1"]})).await;
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 200, "allowed addresses have no limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_registrations_from_an_address_are_refused_and_make_nobody() {
    let app = TestApp::start_with(|args| args.admission.registrations_per_minute = Some(3)).await;
    let client = app.client();
    for body in ["", "{}", r#"{"username":"x"}"#, r#"{"username":"x","password":"x","kind":"admin"}"#] {
        let answer = client.send("POST", "/api/users", "", Some(body)).await;
        assert_eq!(answer.status, 400, "malformed registrations are not counted");
    }
    for n in 0..3 {
        assert_eq!(client.register(&format!("user-{n}"), "customer").await.status, 201);
    }
    assert_rate_limited(&client.register("user-3", "customer").await, 60);
    assert_rate_limited(&client.register("user-0", "customer").await, 60);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcd_has_of_a_setting_is_noted_for_the_revision_that_it_has() {
    use couponrush::mysql::settings::{SettingName, lagging, note_etcd, read, write};

    let app = TestApp::start().await;
    let (db, name) = (&app.stores.db, SettingName::Switches);
    let lags = async || lagging(db).await.expect("MySQL answers").iter().map(|row| row.revision).collect::<Vec<_>>();
    let stored = async || read(db, name).await.expect("MySQL answers").expect("the setting is stored");
    let put = async |value: &str, by: &str| write(db, name, value, by).await.expect("MySQL stores the setting");
    let note = async |revision, etcd| note_etcd(db, name, revision, etcd).await.expect("MySQL stores the setting");
    assert_eq!(read(db, name).await.expect("MySQL answers"), None);
    assert_eq!((put("{}", "ann").await, lags().await), (1, vec![1]));
    assert!(note(1, 40).await);
    assert_eq!((stored().await.etcd_revision, lags().await), (40, vec![]));
    assert_eq!(
        (put("{}", "bob").await, stored().await.changed_by.as_str()),
        (1, "ann"),
        "the same value changes no row"
    );
    assert_eq!(lags().await, [] as [u64; 0]);
    assert_eq!((put(r#"{"claim":false}"#, "bob").await, lags().await), (2, vec![2]));
    assert!(!note(1, 41).await, "an earlier revision is not recorded");
    assert!(note(2, 42).await && note(2, 7).await, "a restored etcd has lower revisions");
    assert_eq!((stored().await.etcd_revision, lags().await), (7, vec![]));
}
