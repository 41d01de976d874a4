//! The blacklist: blocked users and addresses, on all instances, with and without an end.

use std::time::{Duration, Instant};

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually, now_seconds};

const ANN: &str = "/admin/blacklist/users/ann";
const HERE: &str = "/admin/blacklist/ips/127.0.0.1";
const EVERYWHERE: Duration = Duration::from_secs(1);

fn blocked() -> (u16, String, String) {
    (403, "Blocked.".to_owned(), "blocked".to_owned())
}

async fn put(client: &Client, path: &str, admin: &str, body: Option<&str>) -> Answer {
    let answer = client.send("PUT", path, admin, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Whether the user of `token` cannot claim. An admin's block of a user has ended the session.
async fn is_blocked(client: &Client, token: &str) -> bool {
    let answer = client.claim("nobody", "none", token).await;
    assert!([204, 401, 403].contains(&answer.status), "{answer:?}");
    answer.status == 401 || answer.status == 403 && answer.error() == blocked()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_made_shown_replaced_and_taken_away() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    app.user("ann", Kind::Customer).await;
    for path in [ANN, HERE, "/admin/blacklist/ips/2001:db8::7", "/admin/blacklist/ips/2001%3adb8%3A%3A7/"] {
        let none = (404, "Not on the blacklist.".to_owned(), "not-found".to_owned());
        assert_eq!(client.get(path, &admin).await.error(), none, "{path}");
        assert_eq!(client.send("DELETE", path, &admin, None).await.error(), none, "{path}");
        for (body, seconds) in [
            (None, None),
            (Some("{}"), None),
            (Some(r#"{"seconds":60}"#), Some(60)),
            (Some(r#"{"SECONDS":315360000,"x":1}"#), Some(315_360_000)),
            (Some(r#"{"seconds":null}"#), None),
        ] {
            let before = now_seconds();
            let answer = put(client, path, &admin, body).await.json();
            let since = answer["since"].as_u64().expect("a time");
            assert!((before..=now_seconds()).contains(&since), "{answer}");
            let until = seconds.map_or(Value::Null, |seconds| json!(since + seconds));
            assert_eq!(answer, json!({"until": until, "since": since, "by": "root", "reason": "admin"}));
            assert_eq!(client.get(path, &admin).await.json(), answer);
        }
        let gone = client.send("DELETE", path, &admin, None).await;
        assert_eq!((gone.status, gone.text.as_str()), (200, r#"{"errMsg":""}"#));
        assert_eq!(client.get(path, &admin).await.error(), none, "{path}");
        assert_eq!(client.send("DELETE", path, &admin, None).await.error(), none, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_is_kept_out_is_listed_with_the_latest_first() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    app.user("other", Kind::Admin).await;
    let ann = app.user("bob", Kind::Customer).await;
    app.user("ann", Kind::Customer).await;
    const LIST: &str = "/admin/blacklist";
    assert_eq!(client.get(LIST, &admin).await.status, 204, "the blacklist is empty");
    for (method, path, body) in [
        ("PUT", ANN, None),
        ("PUT", "/admin/blacklist/ips/2001:db8::7", Some(r#"{"seconds":600}"#)),
        ("PUT", "/admin/blacklist/ips/10.0.0.9", Some(r#"{"seconds":1}"#)),
        ("PUT", "/admin/blacklist/ips/10.0.0.8", None),
        ("DELETE", "/admin/blacklist/ips/10.0.0.8", None),
        ("PUT", "/admin/blacklist/users/other", None),
        ("DELETE", "/admin/blacklist/users/other", None),
    ] {
        assert_eq!(client.send(method, path, &admin, body).await.status, 200, "{method} {path}");
        tokio::time::sleep(Duration::from_millis(2)).await; // blocks are stamped to the millisecond
    }
    let ended = async || client.get(LIST, &admin).await.json()["data"].as_array().map(Vec::len) == Some(2);
    eventually("the short block has ended", ended).await;
    let list = client.get(LIST, &admin).await.json();
    for (place, (kind, value)) in [("ips", "2001:db8::"), ("users", "ann")].into_iter().enumerate() {
        let mut alone = client.get(&format!("{LIST}/{kind}/{value}"), &admin).await.json();
        alone["kind"] = json!(kind);
        alone["value"] = json!(value);
        assert_eq!(list["data"][place], alone, "{list}");
    }
    for (page, status) in [("1", 200), ("", 200), ("-1", 200), ("2", 204), ("9223372036854775807", 204), ("x", 400)] {
        assert_eq!(client.get(&format!("{LIST}?page={page}"), &admin).await.status, status, "{page}");
    }
    for n in 0..100 {
        put(client, &format!("/admin/blacklist/ips/10.1.0.{n}"), &admin, None).await;
    }
    for (page, blocks) in [(1, 100), (2, 2)] {
        let list = client.get(&format!("{LIST}?page={page}"), &admin).await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(blocks), "{page}");
    }
    assert_eq!(client.get(LIST, &admin).await.json()["data"][0]["value"], "10.1.0.99");
    assert_eq!(client.get(LIST, "").await.status, 401);
    assert_eq!(client.get(LIST, &ann).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_nobody_knows_and_what_is_malformed_is_refused_and_changes_nothing() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    app.user("ann", Kind::Customer).await;
    for value in ["nobody", "ANN", "%20ann", "%ff", "a%2fb", "1"] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = client.send(method, &format!("/admin/blacklist/users/{value}"), &admin, None).await;
            assert_eq!(answer.error(), (404, "No such user.".to_owned(), "not-found".to_owned()), "{method} {value}");
        }
    }
    for value in ["localhost", "127.0.0", "127.0.0.1%2f8", "127.0.0.1:80", "%5b::1%5d", "::1%25lo", "%ff", "1.2.3.4.5"]
    {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = client.send(method, &format!("/admin/blacklist/ips/{value}"), &admin, None).await;
            let message = "The path must name an IPv4 or IPv6 address.".to_owned();
            assert_eq!(answer.error(), (400, message, "bad-request".to_owned()), "{method} {value}");
        }
    }
    for bad in ["0", "-1", "1.5", "\"60\"", "true", "[]", "315360001", "18446744073709551616"] {
        let answer = client.send("PUT", ANN, &admin, Some(&format!(r#"{{"seconds":{bad}}}"#))).await;
        let message = "seconds must be a whole number from 1 to 315360000.".to_owned();
        assert_eq!(answer.error(), (400, message, "bad-request".to_owned()), "{bad}");
    }
    for body in ["null", "[]", "60", "seconds=60", "{"] {
        let answer = client.send("PUT", ANN, &admin, Some(body)).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, "Only receive JSON format."), "{body}");
    }
    assert_eq!(client.get("/admin/blacklist/other/ann", &admin).await.status, 404);
    assert_eq!(client.send("POST", ANN, &admin, None).await.header("Allow"), "GET, HEAD, PUT, DELETE");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM blocks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_user_neither_claims_nor_logs_in_and_others_do() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    let (ann, bob) = (client.user("ann", "customer").await, client.user("bob", "customer").await);
    put(client, ANN, &admin, None).await;
    assert!(is_blocked(client, &ann).await);
    let login = client.log_in("ann", PASSWORD).await;
    assert_eq!((login.error(), login.header("Authorization")), (blocked(), ""));
    assert_eq!(client.log_in("ann", "wrong").await.status, 401, "a wrong password does not reveal the block");
    assert_eq!(client.list("ann", &ann).await.status, 401, "the sessions have ended");
    let stubborn = app.token_of("ann").await;
    assert_eq!(client.claim("nobody", "none", &stubborn).await.error(), blocked());
    assert!(!is_blocked(client, &bob).await);
    assert_eq!(client.log_in("bob", PASSWORD).await.status, 200);
    client.send("DELETE", ANN, &admin, None).await;
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 200);
    assert!(!is_blocked(client, &stubborn).await, "the block ends at once");
    assert!(is_blocked(client, &ann).await, "the sessions stay ended");
    let own = client.send("PUT", "/admin/blacklist/users/root", &admin, None).await;
    assert_eq!((own.status, own.message().as_str()), (400, "Admins cannot block themselves."));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_blocked_address_nobody_claims_registers_or_logs_in_but_admins_do_their_work() {
    let app = TestApp::start_without_rates().await;
    let client = app.client();
    let admin = app.user("root", Kind::Admin).await;
    let ann = client.user("ann", "customer").await;
    put(client, HERE, &admin, None).await;
    assert!(is_blocked(client, &ann).await);
    let login = client.log_in("ann", PASSWORD).await;
    assert_eq!((login.error(), &login.json()["kind"]), (blocked(), &json!("")));
    assert_eq!(client.register("bob", "customer").await.error(), blocked());
    assert_eq!(client.list("ann", &ann).await.status, 204);
    assert_eq!(client.get("/healthz", "").await.status, 200);
    assert_eq!(client.send("DELETE", "/admin/blacklist/ips/::ffff:127.0.0.1", &admin, None).await.status, 200);
    assert!(!is_blocked(client, &ann).await);
    assert_eq!(client.register("bob", "customer").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_holds_on_every_instance_within_a_second_until_it_is_taken_away() {
    let mut app = TestApp::start_without_rates().await;
    app.start_another().await;
    let admin = app.user("root", Kind::Admin).await;
    app.user("ann", Kind::Customer).await;
    let other = app.instances[1].client.clone();
    for path in [ANN, HERE] {
        for (method, expected) in [("PUT", true), ("DELETE", false)] {
            let before = app.token_of("ann").await;
            assert_eq!(app.client().send(method, path, &admin, None).await.status, 200);
            let answered = Instant::now();
            // The end of a block does not bring a session back.
            for token in
                if expected { vec![before, app.token_of("ann").await] } else { vec![app.token_of("ann").await] }
            {
                eventually("the other instance has the change", || async {
                    is_blocked(&other, &token).await == expected
                })
                .await;
                assert!(answered.elapsed() <= EVERYWHERE, "the change took {:?}", answered.elapsed());
                assert_eq!(is_blocked(app.client(), &token).await, expected, "the change is in force here at once");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_with_an_end_ends_by_itself_on_every_instance() {
    let mut app = TestApp::start_without_rates().await;
    app.start_another().await;
    let admin = app.user("root", Kind::Admin).await;
    let ann = app.user("ann", Kind::Customer).await;
    put(app.client(), ANN, &admin, Some(r#"{"seconds":2}"#)).await;
    assert!(is_blocked(app.client(), &ann).await);
    let ann = app.token_of("ann").await;
    assert!(is_blocked(app.client(), &ann).await, "a new session would be blocked");
    for instance in &app.instances {
        eventually("the block ends", || async { !is_blocked(&instance.client, &ann).await }).await;
    }
    assert_eq!(app.client().get(ANN, &admin).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_outlive_a_restart_and_the_loss_of_redis() {
    let mut app = TestApp::start_without_rates().await;
    let admin = app.user("root", Kind::Admin).await;
    let (ann, bob) = (app.user("ann", Kind::Customer).await, app.user("bob", Kind::Customer).await);
    put(app.client(), ANN, &admin, None).await;
    put(app.client(), "/admin/blacklist/users/bob", &admin, None).await;
    app.client().send("DELETE", "/admin/blacklist/users/bob", &admin, None).await;
    app.stop().await;
    // An unreadable row must not prevent the others from being read.
    app.stores.execute("INSERT INTO blocks VALUES ('x', 'y', NULL, 0, '', 'z', UTC_TIMESTAMP(3))").await;
    let keys: Vec<String> = app.stores.redis(redis::cmd("KEYS").arg(format!("{}*", app.stores.prefix))).await;
    let _: () = app.stores.redis(redis::cmd("DEL").arg(keys)).await;
    app.start_another().await;
    assert!(is_blocked(app.client(), &app.token_of("ann").await).await);
    assert!(is_blocked(app.client(), &ann).await && is_blocked(app.client(), &bob).await, "ended sessions");
    assert!(!is_blocked(app.client(), &app.token_of("bob").await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_by_itself_does_not_shorten_what_an_admin_wants() {
    use couponrush::domain::{Block, BlockReason, Subject, Until, UserId};
    use couponrush::mysql::blocks::{add_offenders, find};

    let app = TestApp::start_without_rates().await;
    let (subject, now) = (Subject::User(UserId(7)), now_seconds());
    let block = |until, reason| Block { until: Until(until), since: now, by: String::new(), reason };
    let offender = block(Some(now + 60), BlockReason::Offender);
    for (before, expected) in [(None, None), (Some(now + 600), Some(now + 600)), (Some(now), Some(now + 60))] {
        let admins = block(before, BlockReason::Admin);
        couponrush::mysql::blocks::put(&app.stores.db, subject, &admins).await.expect("MySQL stores the block");
        add_offenders(&app.stores.db, &[(subject, offender.clone())]).await.expect("MySQL stores the block");
        let found = find(&app.stores.db, subject).await.expect("MySQL answers").expect("the block exists");
        assert_eq!(found.until, Until(expected));
        assert_eq!(found.reason == BlockReason::Offender, expected == Some(now + 60));
    }
}
