//! Names with the syntax of other languages. They are registered, offered, claimed, listed and exported unchanged.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::helpers::{PASSWORD, TestApp};

const NAMES: [&str; 19] = [
    "{s0}",
    "a{b}c",
    "return redis.call('FLUSHALL')",
    "']] .. KEYS[1] .. [['",
    "'; DROP TABLE coupons; --",
    "\" OR \"\"=\"",
    "%",
    "%%_%",
    "%2F",
    "%252e%252e",
    "*?[a-z]\\",
    "a:b:c",
    "a|b,c;d&e=f#g?h+i",
    "\\n\\0",
    "...",
    "名前 の 券",
    "\u{e9}",
    "🎟 👍🏽",
    "<b>&amp;<b>",
];

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_made_of_another_languages_syntax_is_a_name_from_end_to_end() {
    let app = TestApp::start().await;
    let client = app.client();
    for name in NAMES {
        // A saler and a customer need different names. A digit in front keeps the syntax.
        let (saler, customer) = (name.to_owned(), format!("1{name}"));
        let saler_token = client.user(&saler, "saler").await;
        let customer_token = client.user(&customer, "customer").await;
        let base = format!("/api/users/{}/coupons", encoded(&saler));

        let body = json!({"name": name, "amount": 2, "description": name, "stock": 7});
        let answer = client.post(&base, &saler_token, &body).await;
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        let answer = client.post(&base, &saler_token, &body).await;
        assert_eq!(answer.json()["code"], "name-taken", "{name}");
        let answer = client.claim(&encoded(&saler), &encoded(name), &customer_token).await;
        assert_eq!((answer.status, answer.result()), (201, "claimed"), "{name}");
        let answer = client.put(&format!("{base}/{}", encoded(name)), &saler_token, &json!({"amount": 3})).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");

        let held = client.list(&encoded(&customer), &customer_token).await.json();
        assert_eq!(held["data"], json!([{"name": name, "stock": 7, "description": name, "saler": saler}]));
        let offered = client.list(&encoded(&saler), &customer_token).await.json();
        let mut item = json!({"name": name, "stock": 7, "description": name, "amount": 3, "left": 2});
        item["product_id"] = offered["data"][0]["product_id"].clone();
        item["scheduled"] = json!(false);
        assert_eq!(offered["data"], json!([item]));
        app.settle().await;
        let holders = client.get(&format!("{base}/{}/claims", encoded(name)), &saler_token).await.json();
        assert_eq!(holders["data"][0]["username"], customer.as_str());
        let csv = client.get(&format!("{base}/{}/claims.csv", encoded(name)), &saler_token).await;
        let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
        let record = reader.records().next().expect("one row").expect("the export is valid CSV");
        assert_eq!(&record[0], customer);
    }
    let mut stored = app.stores.texts("SELECT name AS value FROM coupons ORDER BY id").await;
    assert_eq!(stored, NAMES);
    stored = app.stores.texts("SELECT username AS value FROM users WHERE kind = 'saler' ORDER BY id").await;
    assert_eq!(stored, NAMES);
    for name in NAMES {
        assert_eq!(client.log_in(name, PASSWORD).await.status, 200, "{name}");
    }
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, i64::try_from(NAMES.len()).expect("few"));
}
