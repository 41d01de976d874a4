//! Bad values of every parameter. The answer names the parameter, and no row changes.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, activity, refusal};
use crate::helpers::{Answer, raw};

/// JSON values that are no whole number.
const NOT_NUMBERS: [&str; 13] = [
    r#""""#,
    r#""x""#,
    "-1",
    r#""-1""#,
    "1.5",
    r#""1.5""#,
    "1e3",
    "true",
    "[1]",
    "{}",
    "18446744073709551616",
    r#""18446744073709551616""#,
    r#"" 1""#,
];

/// `object` as JSON, with a member written as `raw`.
fn with(object: &Value, name: &str, raw: &str) -> String {
    let mut members: Vec<String> = object
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(key, _)| *key != name)
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    members.push(format!("\"{name}\":{raw}"));
    format!("{{{}}}", members.join(","))
}

/// `object` as a form.
fn form(object: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members = object.as_object().expect("an object").iter();
    members.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join("&")
}

/// Asserts that the refusal names the parameter and shows no internals.
fn assert_named(answer: &Answer, name: &str, fault: &str) {
    assert_eq!(refusal(answer), (400, 1001), "{name} {fault}: {answer:?}");
    let msg = answer.json()["msg"].as_str().expect("a sentence").to_owned();
    assert!(msg.split([':', ',']).any(|part| part.trim() == name), "{name} {fault}: {msg}");
    for word in ["serde", "expected", "line 1", "sql", "redis", "utf-8 sequence"] {
        assert!(!msg.to_lowercase().contains(word), "{name} {fault}: {msg}");
    }
}

/// Sends bad values for every parameter of a route: the values of `bad`, a missing value if required, duplicates, and
/// invalid UTF-8.
async fn try_out(sale: &Sale, path: &str, good: &Value, parameters: &[(&str, bool, &[&str])]) {
    let client = sale.app.client();
    let send = async |body: String| client.send("POST", path, &sale.shop, Some(&body)).await;
    for (name, required, bad) in parameters {
        for bad in *bad {
            assert_named(&send(with(good, name, bad)).await, name, bad);
        }
        let mut without = good.clone();
        let value = without.as_object_mut().expect("an object").remove(*name).unwrap_or(json!(1));
        if *required {
            assert_named(&send(without.to_string()).await, name, "missing");
            assert_named(&send(form(&without)).await, name, "missing in a form");
            assert_named(&send(with(good, name, "null")).await, name, "null");
        }
        let twice = with(good, name, &format!("{value},\"{}\":{value}", name.to_uppercase()));
        assert_named(&send(twice).await, name, "twice");
        let mut with_value = good.clone();
        with_value[*name] = value.clone();
        let once = form(&with_value);
        assert_named(&send(format!("{once}&{}={}", name.to_uppercase(), 1)).await, name, "twice in a form");
        assert_named(&send(format!("{}&{name}=%ff", form(&without))).await, name, "no UTF-8");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_parameter_makes_a_product() {
    let sale = Sale::start(1).await;
    let good = json!({"product_name": "ten", "product_total": 3, "stock": 1, "description": "d"});
    let long = format!("\"{}\"", "x".repeat(61));
    let names = [r#""""#, "1", "[]", r#"" a""#, r#""a/b""#, r#""..""#, r#""a\u0000""#, long.as_str()];
    let totals = [&NOT_NUMBERS[..], &["0", "10000001"]].concat();
    let stocks = [&NOT_NUMBERS[..], &["1000000001"]].concat();
    let description = format!("\"{}\"", "x".repeat(256));
    let descriptions = ["1", "true", description.as_str()];
    let before = sale.stored().await;
    try_out(
        &sale,
        "/product/create",
        &good,
        &[
            ("product_name", true, &names),
            ("product_total", true, &totals),
            ("stock", false, &stocks),
            ("description", false, &descriptions),
        ],
    )
    .await;
    assert_eq!(sale.stored().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_bad_parameter_makes_or_changes_an_activity() {
    let sale = Sale::start(1).await;
    let product = sale.product("ten", 3).await;
    let window = json!({"start_time": 1_000, "end_time": 2_000});
    let made = sale.activity(product, window).await;
    let before = sale.stored().await;
    let numbers = |more: &[&'static str]| [&NOT_NUMBERS[..], more].concat();
    let long = format!("\"{}\"", "x".repeat(61));
    let names = [r#""""#, "1", "[]", r#""a ""#, r#""a\n""#, long.as_str()];
    let times = numbers(&["253402300800"]);
    // Also totals above the product's amount.
    let totals = numbers(&["4", "10000001", "4294967296"]);
    let speeds = numbers(&["4294967296"]);
    let limits = numbers(&["0", "101", "256"]);
    let rates = [r#""""#, r#""x""#, "-0.1", "1.1", r#""1.000001""#, "true", "[]", r#""NaN""#, r#""inf""#, "1e9"];
    let statuses = numbers(&["3", "256"]);
    let ids = numbers(&["0"]);
    let update_parameters: Vec<(&str, bool, &[&str])> = vec![
        ("activity_name", false, &names),
        ("start_time", false, &times),
        ("end_time", false, &times),
        ("total", false, &totals),
        ("speed", false, &speeds),
        ("buy_limit", false, &limits),
        ("buy_rate", false, &rates),
    ];
    let optional = ["buy_limit", "buy_rate"];
    let mut create_parameters: Vec<(&str, bool, &[&str])> =
        update_parameters.iter().map(|(name, _, bad)| (*name, !optional.contains(name), *bad)).collect();
    create_parameters.push(("product_id", true, &ids));
    let later = json!({"start_time": 5_000, "end_time": 6_000});
    try_out(&sale, "/activity/create", &activity(product, later), &create_parameters).await;

    let ids = numbers(&["0", "4294967296"]);
    let mut update_parameters = update_parameters;
    update_parameters.push(("status", false, &statuses));
    update_parameters.push(("activity_id", true, &ids));
    let moved = format!("{}", product + 1);
    let products = [NOT_NUMBERS.as_slice(), &[moved.as_str()]].concat();
    update_parameters.push(("product_id", false, &products));
    let good = json!({"activity_id": made, "activity_name": "changed", "product_id": product});
    try_out(&sale, "/activity/update", &good, &update_parameters).await;

    let post = async |path: &str, body: Value| sale.post(path, &sale.shop, &body).await;
    for (start, end) in [(2_000, 2_000), (2_001, 2_000), (u64::from(u32::MAX), 0)] {
        let window = json!({"start_time": start, "end_time": end});
        assert_named(&post("/activity/create", activity(product, window)).await, "end_time", "before the start");
        let window = json!({"activity_id": made, "start_time": start, "end_time": end});
        assert_named(&post("/activity/update", window).await, "end_time", "before the start");
    }
    assert_named(&post("/activity/update", json!({"activity_id": made, "start_time": 2_000})).await, "end_time", "");
    assert_named(&post("/activity/update", json!({"activity_id": made, "end_time": 1_000})).await, "end_time", "");
    assert_named(
        &post("/activity/update", json!({"activity_id": made, "colour": 1})).await,
        "activity_id",
        "no change",
    );
    assert_eq!(sale.stored().await, before, "refusals change no rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bad_parameter_buys() {
    let mut sale = Sale::start(1).await;
    let product = sale.product("ten", 3).await;
    sale.activity(product, json!({})).await;
    sale.shop = sale.app.user("ann", Kind::Customer).await;
    let before = sale.stored().await;
    let numbers = |more: &[&'static str]| [&NOT_NUMBERS[..], more].concat();
    let (ids, limits) = (numbers(&["0"]), numbers(&["0", "101", "256"]));
    let long = format!("\"{}\"", "x".repeat(65));
    let nances = [r#""""#, "1", "true", long.as_str()];
    let parameters: [(&str, bool, &[&str]); 6] = [
        ("product_id", true, &ids),
        ("user_id", false, &ids),
        ("nth", false, &limits),
        ("time", false, &NOT_NUMBERS),
        ("nance", false, &nances),
        ("auth_code", false, &["1", "[]"]),
    ];
    try_out(&sale, "/sec/kill", &json!({"product_id": product}), &parameters).await;
    let body = format!("product_id={product}&src=a&src=b");
    assert_named(&sale.app.client().send("POST", "/sec/kill", &sale.shop, Some(&body)).await, "src", "twice");
    sale.app.settle().await;
    assert_eq!(sale.stored().await, before);
    for path in ["/sec/token", "/sec/redeem"] {
        // Redeeming needs a saler's token.
        let shop = sale.app.user(&format!("of{}", path.replace('/', "-")), Kind::Saler).await;
        for (body, fault) in
            [("", "missing"), ("token=%ff", "no UTF-8"), (r#"{"token":1}"#, "a number"), ("token=a&token=a", "")]
        {
            let answer = sale.app.client().send("POST", path, &shop, Some(body)).await;
            assert_named(&answer, "token", fault);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_as_strict_as_bodies() {
    let sale = Sale::start(1).await;
    for (path, token) in [("/product/list", &sale.shop), ("/activity/list", &sale.shop), ("/sec/list", &String::new())]
    {
        for (query, fault) in [
            ("page=x", "a word"),
            ("page=1.5", "a fraction"),
            ("page=9223372036854775808", "too large"),
            ("page=%ff", "no UTF-8"),
            ("page=1&PAGE=1", "twice"),
            ("page=%201", "padded"),
        ] {
            assert_named(&sale.get(&format!("{path}?{query}"), token).await, "page", fault);
        }
        for query in ["", "page=", "page=0", "page=-1", "other=%ff", "page=1&other=1&other=1"] {
            assert_eq!(sale.get(&format!("{path}?{query}"), token).await.status, 200, "{path}?{query}");
        }
    }
    for query in ["", "product_id=", "product_id=0", "product_id=x", "product_id=-1", "product_id=1&product_id=1"] {
        assert_named(&sale.get(&format!("/sec/info?{query}"), "").await, "product_id", query);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_this_interface_is_refused_in_its_envelope() {
    let sale = Sale::start(1).await;
    let client = sale.app.client();
    let answer = client.send("GET", "/sec/kill", "", None).await;
    assert_eq!((refusal(&answer), answer.header("Allow")), ((405, 405), "POST"));
    let answer = client.send("DELETE", "/product/list/", &sale.shop, None).await;
    assert_eq!((refusal(&answer), answer.header("Allow")), ((405, 405), "GET, HEAD"));
    for path in ["/sec/none", "/activity/", "/product/list/x"] {
        assert_eq!(refusal(&client.send("GET", path, "", None).await), (404, 404), "{path}");
    }
    let long = format!("product_name={}", "x".repeat(5_000));
    assert_eq!(refusal(&client.send("POST", "/product/create", &sale.shop, Some(&long)).await), (413, 413));
    for body in ["{", r#"{"product_name":"a","product_total":1"#, "{]", " \n{\"a\":\"\u{0}\"}", r#"{"a":"\ud800"}"#] {
        let answer = client.send("POST", "/product/create", &sale.shop, Some(body)).await;
        assert_eq!(refusal(&answer), (400, 1001), "{body}");
    }
    let address = sale.app.instances[0].address;
    let head = format!("POST /product/create HTTP/1.1\r\nAuthorization: {}\r\nContent-Length: 14", sale.shop);
    let answer = raw(address, &head, "%ff=1&b=1&c=1&");
    assert_eq!(answer.status(), 400, "{}", answer.text);
    assert_eq!(client.send("HEAD", "/sec/list", "", None).await.status, 200);
    assert_eq!(sale.stored().await[0], 0);
}
