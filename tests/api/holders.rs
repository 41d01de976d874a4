//! `GET /api/users/{saler}/coupons/{name}/claims` and `.../claims.csv`: the holders of a coupon, for its saler.

use std::collections::BTreeMap;
use std::sync::Arc;

use couponrush::config::EXPORTS_MAX;
use couponrush::domain::Kind;
use serde_json::json;

use crate::helpers::{Client, TestApp};

const CLAIMS: &str = "/api/users/shop/coupons/ten/claims";
/// The claims in the export's format.
const ROWS: &str = "SELECT CONCAT_WS(',', username, seq, nth, claimed_at DIV 1000, activity_id, '') AS value \
    FROM claims JOIN users ON users.id = user_id ORDER BY seq";

/// Lets every customer claim `ten` of `shop`, many at the same time, and waits until MySQL has all claims.
async fn all_claim(app: &TestApp, tokens: Vec<String>) {
    let expected = i64::try_from(tokens.len()).expect("few claims");
    let tokens = Arc::new(tokens);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let (client, tokens) = (app.client().clone(), Arc::clone(&tokens));
        tasks.spawn(async move {
            for token in tokens.iter().skip(task).step_by(16) {
                claim_until_answered(&client, token).await;
            }
        });
    }
    tasks.join_all().await;
    app.settle().await;
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, expected);
}

/// Repeats a claim until it is answered. A busy machine may answer 503, and repeating is safe.
async fn claim_until_answered(client: &Client, token: &str) {
    loop {
        let answer = client.claim("shop", "ten", token).await;
        match answer.status {
            503 => {}
            201 | 204 => return assert!(["claimed", "already-claimed"].contains(&answer.result()), "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_show_250_claims_by_seq_100_at_a_time() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 300).await;
    assert_eq!(client.get(CLAIMS, &shop).await.status, 204, "the coupon has no holders yet");
    let customers = app.customers(250).await;
    all_claim(&app, customers).await;

    let mut listed = Vec::new();
    for (page, count) in [(1, 100), (2, 100), (3, 50)] {
        let answer = client.get(&format!("{CLAIMS}?page={page}"), &shop).await;
        let list = answer.json();
        assert_eq!((answer.status, &list["errMsg"]), (200, &json!("")));
        let items = list["data"].as_array().expect("a list");
        assert_eq!(items.len(), count, "page {page}");
        for item in items {
            assert_eq!(item.as_object().map(|item| item.len()), Some(6), "{item}");
            assert!(item["redeemed_at"].is_null());
            let username = item["username"].as_str().expect("a name");
            let numbers = ["seq", "nth", "claimed_at", "activity_id"].map(|key| item[key].as_u64().expect("a number"));
            listed.push(format!("{username},{},{},{},{},", numbers[0], numbers[1], numbers[2], numbers[3]));
        }
    }
    assert_eq!(listed, app.stores.texts(ROWS).await);
    for (page, status) in [("4", 204), ("9223372036854775807", 204), ("42949673", 204), ("0", 200), ("-1", 200)] {
        assert_eq!(client.get(&format!("{CLAIMS}?page={page}"), &shop).await.status, status, "page {page}");
    }
    let first = client.get(CLAIMS, &shop).await;
    assert_eq!(client.get(&format!("{CLAIMS}/?page="), &admin).await.text, first.text, "an admin may read");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_saler_and_admins_see_who_holds_a_coupon() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let other = app.user("other", Kind::Saler).await;
    let ann = app.user("ann", Kind::Customer).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 3).await;
    let answer = client.get(&format!("{CLAIMS}?page=x"), &shop).await;
    assert_eq!(answer.error(), (400, "Wrong format of page.".to_owned(), "bad-request".to_owned()));
    for ending in ["", ".csv"] {
        let rows = [
            (CLAIMS, "", 401, "not-logged-in"),
            (CLAIMS, ann.as_str(), 401, "wrong-kind"),
            (CLAIMS, other.as_str(), 401, "not-yours"),
            ("/api/users/shop/coupons/none/claims", other.as_str(), 401, "not-yours"),
            ("/api/users/shop/coupons/none/claims", shop.as_str(), 404, "not-found"),
            ("/api/users/shop/coupons/%FF/claims", shop.as_str(), 404, "not-found"),
            ("/api/users/shop/coupons/TEN/claims", shop.as_str(), 404, "not-found"),
            ("/api/users/nobody/coupons/ten/claims", admin.as_str(), 404, "not-found"),
            ("/api/users/shop/coupons/none/claims", admin.as_str(), 404, "not-found"),
        ];
        for (path, token, status, code) in rows {
            let answer = client.get(&format!("{path}{ending}"), token).await;
            assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{path}{ending}");
            assert_ne!(answer.message(), "");
        }
    }
    let answer = client.send("POST", &format!("{CLAIMS}.csv"), &shop, None).await;
    assert_eq!((answer.status, answer.header("Allow")), (405, "GET, HEAD"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_export_has_every_claim_once_by_seq_and_is_streamed() {
    const CUSTOMERS: usize = 2_600;
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    let admin = app.user("root", Kind::Admin).await;
    client.create_coupon("shop", &shop, "ten", 3_000).await;
    let header = "username,seq,nth,claimed_at,activity_id,redeemed_at";
    let empty = client.get(&format!("{CLAIMS}.csv"), &shop).await;
    assert_eq!((empty.status, empty.text), (200, format!("{header}\r\n")), "the coupon has no holders yet");
    let customers = app.customers(CUSTOMERS).await;
    all_claim(&app, customers).await;

    let answer = client.get(&format!("{CLAIMS}.csv"), &shop).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(answer.header("Content-Disposition"), "attachment; filename=\"claims.csv\"");
    assert_eq!((answer.header("Transfer-Encoding"), answer.header("Content-Length")), ("chunked", ""));
    let mut lines: Vec<&str> = answer.text.split("\r\n").collect();
    assert_eq!((lines.pop(), lines.remove(0)), (Some(""), header), "every line ends with CRLF");
    assert_eq!(lines, app.stores.texts(ROWS).await);
    assert_eq!(lines.len(), CUSTOMERS);
    assert_eq!(client.get(&format!("{CLAIMS}.csv"), &admin).await.text, answer.text, "an admin may read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_an_export_reads_no_claim() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 5).await;
    let path = format!("{CLAIMS}.csv");
    let get = app.client().get(&path, &shop).await;
    // While the table is locked, a read of claims does not return, and keeps one of the permits of exports.
    let _locked = app.stores.lock_table("claims").await;
    for _ in 0..=EXPORTS_MAX {
        let head = app.client().send("HEAD", &path, &shop, None).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        for name in ["Content-Type", "Content-Disposition"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_exports_once_at_a_time_and_others_can_meanwhile() {
    let app = TestApp::start().await;
    let (shop, cafe) = (app.user("shop", Kind::Saler).await, app.user("cafe", Kind::Saler).await);
    for (saler, token) in [("shop", &shop), ("cafe", &cafe)] {
        app.client().create_coupon(saler, token, "ten", 5).await;
    }
    // While the table is locked, an export waits for its rows.
    let locked = app.stores.lock_table("claims").await;
    let export = async |saler: &str, token: &str| {
        let path = format!("/api/users/{saler}/coupons/ten/claims.csv");
        app.client().request("GET", &path).header("Authorization", token).send().await.expect("the service answers")
    };
    let waiting = [export("shop", &shop).await, export("cafe", &cafe).await];
    assert_eq!(waiting.each_ref().map(|response| response.status().as_u16()), [200, 200]);
    let refused = export("shop", &shop).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["Retry-After"]), (429, &"10".parse().expect("a number")));
    drop(locked);
    for response in waiting {
        assert_eq!(response.text().await.expect("the export ends").lines().count(), 1);
    }
    assert_eq!(export("shop", &shop).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_has_exactly_as_many_rows_as_one_read_gives_where_there_are_as_many() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 1_000).await;
    let customers = app.customers(1_000).await;
    all_claim(&app, customers).await;
    let answer = app.client().get(&format!("{CLAIMS}.csv"), &shop).await;
    assert_eq!(answer.text.lines().count(), 1_001);
    assert_eq!(answer.text.matches("username").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_the_export_is_a_formula_or_breaks_its_row() {
    let names = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "=HYPERLINK(\"x\",\"y\")",
        "=cmd|' calc'!A0",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        "a,b",
        "\"",
        "say \"hi\", then",
        "a;b",
        "a;=1+1",
        "x;y;-1",
        "line\u{2028}and\u{2029}line",
        "'quoted'",
        "名前",
        "plain",
    ];
    let app = TestApp::start().await;
    let client = app.client();
    let shop = app.user("shop", Kind::Saler).await;
    client.create_coupon("shop", &shop, "ten", 100).await;
    let mut expected = BTreeMap::new();
    for (n, token) in app.users(&names, Kind::Customer).await.iter().enumerate() {
        assert_eq!(client.claim("shop", "ten", token).await.status, 201);
        let defused = |part: &str| {
            let formula = part.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
            if formula { format!("'{part}") } else { part.to_owned() }
        };
        // A spreadsheet may split the line at semicolons.
        expected.insert(n + 1, names[n].split(';').map(defused).collect::<Vec<_>>().join(";"));
    }
    app.settle().await;
    let answer = client.get(&format!("{CLAIMS}.csv"), &shop).await;
    assert_eq!(answer.text.matches("\r\n").count(), names.len() + 1);
    assert!(answer.text.contains("\r\n\"say \"\"hi\"\", then\",13,1,"), "{}", answer.text);
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let mut exported = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a row has as many fields as the header");
        exported.insert(record[1].parse().expect("a seq"), record[0].to_owned());
        for cell in record.iter().flat_map(|cell| cell.split([';', '\t'])) {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']), "{cell}");
        }
    }
    assert_eq!(exported, expected);
}
