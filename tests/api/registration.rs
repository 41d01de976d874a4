//! Registration: every row of its table in the wire contract, in order, and names of every kind.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::helpers::{Answer, PASSWORD, TestApp};

const NOT_JSON: &str = "Only receive JSON format.";
const NAME_TOO_SHORT: &str = "User name too short.";
const NAME_TOO_LONG: &str = "User name too long.";
const NAME_NOT_ALLOWED: &str = "User name has characters that are not allowed.";
const TAKEN: &str = "Insert user failed. Maybe user name duplicates.";

/// Names with the syntax of languages and stores used by the service.
const SYNTAX_NAMES: [&str; 14] = [
    "{s0}",
    "}{",
    "cr:{s0}:live",
    "*?[a-z]",
    "'; DROP TABLE users; --",
    "\" OR 1=1 #",
    "%",
    "_",
    "a\\",
    "return redis.call('FLUSHALL')",
    "%2f..%2f",
    "a?b=c&d#e",
    "a b+c",
    "<script>alert(1)",
];

fn refused(message: &str) -> (u16, String, String) {
    (400, message.to_owned(), "bad-request".to_owned())
}

async fn register(app: &TestApp, body: &str) -> Answer {
    app.client().send("POST", "/api/users", "", Some(body)).await
}

fn form(username: &str, password: &str, kind: &str) -> String {
    json!({"username": username, "password": password, "kind": kind}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_stored_with_a_hash_and_not_the_password() {
    let app = TestApp::start().await;
    for kind in ["customer", "saler"] {
        let answer = app.client().register(&format!("a {kind}"), kind).await;
        assert_eq!((answer.status, answer.text.as_str()), (201, r#"{"errMsg":""}"#));
    }
    let rows = app.stores.texts("SELECT CONCAT(username, ':', kind) AS value FROM users ORDER BY id").await;
    assert_eq!(rows, ["a customer:customer", "a saler:saler"]);
    let hashes = app.stores.texts("SELECT password_hash AS value FROM users ORDER BY id").await;
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$") && !hash.contains(PASSWORD)), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "every hash has its own salt");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_json_object_of_texts_is_refused() {
    let app = TestApp::start().await;
    for body in [
        "",
        " ",
        "null",
        "[]",
        "7",
        "\"text\"",
        "{",
        "username=a&password=b&kind=customer",
        r#"{"username":"a","password":"b","kind":"customer"} x"#,
        r#"{"username":7,"password":"b","kind":"customer"}"#,
        r#"{"username":"a","password":["b"],"kind":"customer"}"#,
        r#"{"username":"a","password":"b","kind":true}"#,
        r#"{"username":"a","password":"b","kind":{}}"#,
        r#"{"username":"\ud800","password":"b","kind":"customer"}"#,
    ] {
        assert_eq!(register(&app, body).await.error(), refused(NOT_JSON), "{body:?}");
    }
    let answer = Answer::of(app.client().request("POST", "/api/users")).await;
    assert_eq!(answer.error(), refused(NOT_JSON), "no body at all");
    let request = app.client().request("POST", "/api/users").body(&b"{\"username\":\"\xff\"}"[..]);
    assert_eq!(Answer::of(request).await.error(), refused(NOT_JSON), "not UTF-8");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_checked_in_the_order_of_the_table() {
    let app = TestApp::start().await;
    assert_eq!(app.client().register("taken", "customer").await.status, 201);
    let long_name = "n".repeat(65);
    let long_password = "p".repeat(257);
    let rows: [(String, &str); 23] = [
        // In every row, all fields checked later are wrong too.
        (r#"{"kind":"king"}"#.to_owned(), NAME_TOO_SHORT),
        (r#"{"username":null,"password":null,"kind":null}"#.to_owned(), NAME_TOO_SHORT),
        (form("", "", ""), NAME_TOO_SHORT),
        (form(&long_name, "", ""), NAME_TOO_LONG),
        (form(&"é/".repeat(33), "", ""), NAME_TOO_LONG),
        (form("a/b", "", ""), NAME_NOT_ALLOWED),
        (form("/", "", ""), NAME_NOT_ALLOWED),
        (form(".", "", ""), NAME_NOT_ALLOWED),
        (form("..", "", ""), NAME_NOT_ALLOWED),
        (form(" a", "", ""), NAME_NOT_ALLOWED),
        (form("a\u{a0}", "", ""), NAME_NOT_ALLOWED),
        (form("a\u{0}b", "", ""), NAME_NOT_ALLOWED),
        (form("a\r\nb", "", ""), NAME_NOT_ALLOWED),
        (form("a\u{7f}b", "", ""), NAME_NOT_ALLOWED),
        (form("taken", "", ""), "Password too short."),
        (r#"{"username":"taken"}"#.to_owned(), "Password too short."),
        (form("taken", "éàçñß", "king"), "Password too short."),
        (form("taken", &long_password, ""), "Password too long."),
        (form("taken", &"é".repeat(129), "king"), "Password too long."),
        (form("taken", "secret", ""), "Empty field of kind."),
        (r#"{"username":"taken","password":"secret"}"#.to_owned(), "Empty field of kind."),
        (form("taken", "secret", "admin"), "Unexpected value of kind, admin"),
        (form("taken", "secret", "Saler"), "Unexpected value of kind, Saler"),
    ];
    for (body, message) in rows {
        assert_eq!(register(&app, &body).await.error(), refused(message), "{body}");
    }
    let answer = register(&app, &form("taken", "secret", "saler")).await;
    assert_eq!(answer.error(), (400, TAKEN.to_owned(), "name-taken".to_owned()));
    let rows = app.stores.texts("SELECT CONCAT(username, ':', kind) AS value FROM users").await;
    assert_eq!(rows, ["taken:customer"], "refusals store and change no rows");
    assert_eq!(app.client().log_in("taken", PASSWORD).await.status, 200, "the first password is still valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_and_password_are_taken() {
    let app = TestApp::start().await;
    let (name, password) = ("\u{1f3ab}".repeat(64), "p".repeat(256));
    assert_eq!(register(&app, &form(&name, &password, "saler")).await.status, 201);
    assert_eq!(app.client().log_in(&name, &password).await.status, 200);
    assert_eq!(app.client().log_in(&name, &password[1..]).await.status, 401);
    assert_eq!(app.stores.texts("SELECT username AS value FROM users").await, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_match_without_regard_to_case_and_unknown_ones_are_ignored() {
    let app = TestApp::start().await;
    let bodies = [
        r#"{"Username":"a","PASSWORD":"secret","kInD":"customer"}"#,
        r#"{"username":"b","password":"secret","kind":"customer","id":7,"admin":true,"x":{"y":[null]}}"#,
        r#"{"username":null,"UserName":"c","password":"secret","kind":"customer"}"#,
    ];
    for body in bodies {
        assert_eq!(register(&app, body).await.status, 201, "{body}");
    }
    assert_eq!(app.stores.texts("SELECT username AS value FROM users ORDER BY id").await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_type_is_ignored() {
    let app = TestApp::start().await;
    for (name, content_type) in [("a", "application/x-www-form-urlencoded"), ("b", "text/plain"), ("c", "x"), ("d", "")]
    {
        let body = form(name, "secret", "customer");
        let request = app.client().request("POST", "/api/users").header("Content-Type", content_type).body(body);
        assert_eq!(Answer::of(request).await.status, 201, "{content_type:?}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_in_case_or_accent_are_different_users() {
    let app = TestApp::start().await;
    let names = ["alice", "ALICE", "Alice", "straße", "strasse", "r\u{e9}ne", "rene", "名前", "🎟"];
    for name in names {
        let password = format!("password of {name}");
        assert_eq!(register(&app, &form(name, &password, "customer")).await.status, 201, "{name}");
    }
    for name in names {
        let answer = register(&app, &form(name, "another", "saler")).await;
        assert_eq!(answer.error(), (400, TAKEN.to_owned(), "name-taken".to_owned()), "{name}");
        assert_eq!(app.client().log_in(name, &format!("password of {name}")).await.status, 200, "{name}");
    }
    assert_eq!(app.client().log_in("aLICE", "of alice").await.status, 401);
    assert_eq!(app.client().log_in("alice", "of ALICE").await.status, 401);
    assert_eq!(app.stores.texts("SELECT username AS value FROM users ORDER BY id").await, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_registered_many_times_at_once_is_one_user() {
    let app = TestApp::start().await;
    let registrations = (0..20).map(|_| app.client().register("popular", "customer"));
    let answers = futures_util::future::join_all(registrations).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.error(), (400, TAKEN.to_owned(), "name-taken".to_owned()));
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_made_of_other_languages_syntax_are_names_from_end_to_end() {
    let app = TestApp::start().await;
    let client = app.client();
    for name in SYNTAX_NAMES {
        let (shop, buyer) = (format!("{name}$"), name);
        let saler = client.user(&shop, "saler").await;
        let customer = client.user(buyer, "customer").await;
        let (shop_path, name_path) = (encode(&shop), encode(name));
        client.create_coupon(&shop_path, &saler, name, 2).await;
        assert_eq!(client.claim(&shop_path, &name_path, &customer).await.result(), "claimed", "{name}");

        let held = client.list(&name_path, &customer).await.json();
        let expected = json!([{"name": name, "stock": 10, "description": "of a test", "saler": shop}]);
        assert_eq!((&held["errMsg"], &held["data"]), (&json!(""), &expected), "{name}");
        let offered = client.list(&shop_path, &customer).await.json();
        let id = &offered["data"][0]["product_id"];
        let expected: Value = json!([{
            "name": name, "stock": 10, "description": "of a test", "amount": 2, "left": 1,
            "product_id": id, "scheduled": false,
        }]);
        assert_eq!((id.is_u64(), &offered["data"]), (true, &expected), "{name}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM users").await, 2 * SYNTAX_NAMES.len() as i64);
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM coupons").await, SYNTAX_NAMES.len() as i64);

    let keys: Vec<String> = app.stores.redis(redis::cmd("KEYS").arg(format!("{}*", app.stores.prefix))).await;
    assert!(!keys.is_empty());
    for key in keys {
        let rest = key[app.stores.prefix.len()..].strip_prefix("{s0}:").expect("a key begins with the shard's tag");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':';
        assert!(rest.bytes().all(plain), "the key {key} contains characters of a name");
    }
}

fn encode(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_mysql_has_rolled_back_has_certainly_not_happened() {
    let app = TestApp::start().await;
    // A node of a cluster answers so if another node had an earlier commit of the same rows.
    app.stores
        .execute(
            "CREATE TRIGGER rolled_back BEFORE INSERT ON users FOR EACH ROW SIGNAL SQLSTATE '40001' \
             SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found when trying to get lock; try restarting transaction'",
        )
        .await;
    let answer = app.client().register("ann", "customer").await;
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{}", answer.text);
    app.stores.execute("DROP TRIGGER rolled_back").await;
    assert_eq!(app.client().register("ann", "customer").await.status, 201);
}
