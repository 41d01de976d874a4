//! `/sec/events`: live unit counts as server-sent events.

use std::time::{Duration, Instant};

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{
    Answer, Client, DEADLINE, RedisServer, Stores, TestApp, eventually, eventually_within, now_seconds, terms,
};

/// A viewer of a product.
struct Viewer {
    response: reqwest::Response,
    /// Received data without a complete event.
    rest: String,
}

impl Viewer {
    /// Opens the stream. `Err` is the answer if it is no stream.
    async fn open(client: &Client, product: u64) -> Result<Self, Answer> {
        let request = client.request("GET", &format!("/sec/events?product_id={product}"));
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if status != 200 {
            return Err(Answer { status, headers, text: response.text().await.expect("the body arrives") });
        }
        assert_eq!(headers["Content-Type"], "text/event-stream");
        assert_eq!(headers["Cache-Control"], "no-store");
        Ok(Self { response, rest: String::new() })
    }

    async fn see(client: &Client, product: u64) -> Self {
        Self::open(client, product).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// The next block, up to its empty line. `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await.expect("data arrives in time");
            let chunk = chunk.expect("the stream does not break")?;
            self.rest.push_str(std::str::from_utf8(&chunk).expect("events are UTF-8"));
        }
    }

    /// The data of the next event.
    async fn event(&mut self) -> Value {
        let block = self.block().await.expect("the stream goes on");
        let (name, data) = block.split_once("\ndata: ").unwrap_or_else(|| panic!("no event: {block:?}"));
        assert!(name.ends_with("event: units"), "{block:?}");
        serde_json::from_str(data).expect("data are JSON")
    }

    /// Reads events until the counts are as expected. Returns the number of events read.
    async fn wait_until_counts(&mut self, left: u64, claimed: u64) -> usize {
        for count in 1..100 {
            let event = self.event().await;
            if (&event["left"], &event["claimed"]) == (&json!(left), &json!(claimed)) {
                return count;
            }
        }
        panic!("never {left} left and {claimed} claimed");
    }
}

/// The id of the first coupon.
async fn first_coupon(app: &TestApp) -> u64 {
    u64::try_from(app.stores.number("SELECT MIN(id) FROM coupons").await).expect("ids are positive")
}

/// A service with a coupon `shop/ten` of ten units, its id, and customers.
async fn selling(viewers_max: u32) -> (TestApp, u64, Vec<String>) {
    let app = TestApp::start_with(|args| args.viewers_max = viewers_max).await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    let (id, customers) = (first_coupon(&app).await, app.customers(10).await);
    (app, id, customers)
}

async fn claim(client: &Client, customer: &str) {
    assert_eq!(client.claim("shop", "ten", customer).await.result(), "claimed");
}

fn assert_full(answer: Result<Viewer, Answer>) {
    let answer = answer.err().expect("the viewer is refused");
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(1009)), "{answer:?}");
    assert_eq!(answer.header("Retry-After"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_the_present_state_at_once_and_every_change_soon_on_every_instance() {
    let (mut app, ten, customers) = selling(100).await;
    app.start_another().await;
    claim(app.client(), &customers[0]).await;
    let began = Instant::now();
    let mut viewers = [Viewer::see(app.client(), ten).await, Viewer::see(&app.instances[1].client, ten).await];
    for viewer in &mut viewers {
        let first = viewer.block().await.expect("the stream begins with an event");
        let lines: Vec<&str> = first.lines().collect();
        let retry = lines[0].strip_prefix("retry: ").and_then(|ms| ms.parse::<u32>().ok());
        assert!(retry.is_some_and(|ms| (1_000..5_000).contains(&ms)), "{first}");
        assert_eq!(lines[1], "event: units");
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!((&data["product_id"], &data["left"], &data["claimed"]), (&json!(ten), &json!(9), &json!(1)));
        assert!(data["time_ms"].as_u64().is_some_and(|ms| (ms / 1_000).abs_diff(now_seconds()) <= 2), "{data}");
        assert_eq!(data.as_object().map(serde_json::Map::len), Some(4));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for customer in &customers[1..] {
        claim(app.client(), customer).await;
    }
    let sold_out = Instant::now();
    for viewer in &mut viewers {
        viewer.wait_until_counts(0, 10).await;
    }
    assert!(sold_out.elapsed() < Duration::from_secs(1), "{:?}", sold_out.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_gets_four_events_a_second_at_most_and_none_where_nothing_changes() {
    let app = TestApp::start().await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10_000).await;
    let (ten, customers) = (first_coupon(&app).await, app.customers(400).await);
    let mut viewer = Viewer::see(app.client(), ten).await;
    viewer.block().await.expect("the stream begins with an event");
    let began = Instant::now();
    for customer in &customers {
        claim(app.client(), customer).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = began.elapsed().as_secs_f64() + 0.5;
    let count = viewer.wait_until_counts(9_600, 400).await;
    assert!(count as f64 <= seconds * 4.0 + 1.0, "{count} events in {seconds} s");
    assert!(count >= 4, "{count} events in {seconds} s");
    let silence = tokio::time::timeout(Duration::from_secs(1), viewer.block()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_product_is_refused_as_everywhere_and_takes_no_place() {
    let (app, ten, _) = selling(1).await;
    for (query, status, code) in [
        ("", 400, 1001),
        ("?product_id=", 400, 1001),
        ("?product_id=x", 400, 1001),
        ("?product_id=0", 400, 1001),
        ("?product_id=18446744073709551615", 404, 404),
        (&format!("?product_id={}", ten + 1_000), 404, 404),
        (&format!("?product_id={ten}&product_id={ten}"), 400, 1001),
    ] {
        let answer = app.client().get(&format!("/sec/events{query}"), "").await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{query}: {answer:?}");
    }
    let head = Answer::of(app.client().request("HEAD", &format!("/sec/events?product_id={ten}"))).await;
    assert_eq!((head.status, head.header("Content-Type"), head.text.as_str()), (200, "text/event-stream", ""));
    let post = app.client().post("/sec/events", "", &json!({})).await;
    assert_eq!((post.status, post.header("Allow")), (405, "GET, HEAD"));
    Viewer::see(app.client(), ten).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_as_many_as_may_be_and_whoever_leaves_makes_room() {
    // A saler has half of the places.
    let (app, ten, customers) = selling(6).await;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        viewers.push(Viewer::see(app.client(), ten).await);
    }
    assert_full(Viewer::open(app.client(), ten).await);
    let figures = app.instances[0].shared.selling.events.figures();
    assert_eq!((figures.viewers, figures.of_one_saler), (3, 3));
    viewers.pop();
    // A closed viewer is noticed by writing: the first write is answered by a reset, and the second one fails.
    for (claimed, customer) in (1..).zip(&customers[..3]) {
        claim(app.client(), customer).await;
        viewers[0].wait_until_counts(10 - claimed, claimed).await;
    }
    eventually("a new viewer is accepted", || async { Viewer::open(app.client(), ten).await.is_ok() }).await;
}

/// One address must not hoard the places of all.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_places_and_others_have_theirs() {
    let app = TestApp::start_with(|args| {
        args.admission.ip_viewers_max = Some(2);
        args.admission.trusted_proxies = "127.0.0.1".parse().expect("proxies");
    })
    .await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 3).await;
    let path = format!("/sec/events?product_id={}", first_coupon(&app).await);
    let open = async |from: &str| {
        let request = app.client().request("GET", &path).header("X-Forwarded-For", from);
        request.send().await.expect("the service answers")
    };
    let hoarder = [open("192.0.2.1").await, open("192.0.2.1").await];
    assert!(hoarder.iter().all(|response| response.status() == 200));
    let refused = open("192.0.2.1").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["Retry-After"]), (429, &"30".parse().expect("a number")));
    assert!(refused.text().await.expect("a body").contains("1004"));
    assert_eq!(open("192.0.2.2").await.status(), 200, "others have places of their own");
    // A viewer who has left is noticed by a write.
    drop(hoarder);
    eventually_within(Duration::from_secs(40), "the places are free again", || async {
        open("192.0.2.1").await.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_gate_lets_no_viewer_in_and_keeps_those_who_are_there() {
    let (app, ten, customers) = selling(10).await;
    let mut viewer = Viewer::see(app.client(), ten).await;
    viewer.wait_until_counts(10, 0).await;
    let gate = app.instances[0].claiming().gate;
    let passes: Vec<_> = (0..gate.in_flight_limit() / 2).map(|_| gate.enter()).collect();
    assert_full(Viewer::open(app.client(), ten).await);
    claim(app.client(), &customers[0]).await;
    let silence = tokio::time::timeout(Duration::from_millis(700), viewer.block()).await;
    assert!(silence.is_err(), "Redis is not read for viewers: {silence:?}");
    drop(passes);
    viewer.wait_until_counts(9, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_events_off_ends_every_stream_and_lets_nobody_in() {
    let (app, ten, _) = selling(10).await;
    let admin = app.user("root", Kind::Admin).await;
    let mut viewer = Viewer::see(app.client(), ten).await;
    viewer.wait_until_counts(10, 0).await;
    assert_eq!(app.client().put("/admin/switches", &admin, &json!({"events": false})).await.status, 200);
    assert_full(Viewer::open(app.client(), ten).await);
    assert_eq!(viewer.block().await, None);
    assert_eq!(app.client().put("/admin/switches", &admin, &json!({})).await.status, 200);
    Viewer::see(app.client(), ten).await.wait_until_counts(10, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_do_not_hold_a_stop_up() {
    let (mut app, ten, _) = selling(100).await;
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(Viewer::see(app.client(), ten).await);
    }
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "the stop took {:?}", began.elapsed());
    for viewer in &mut viewers {
        viewer.wait_until_counts(10, 0).await;
        assert_eq!(viewer.block().await, None, "the stream ends in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_stay_while_redis_is_away_and_see_what_happens_after() {
    let mut redis = RedisServer::start().await;
    let stores = Stores::create(Some(redis.url())).await;
    let app = TestApp::start_on(stores, |_| {}).await;
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    let (ten, customers) = (first_coupon(&app).await, app.customers(2).await);
    let mut viewer = Viewer::see(app.client(), ten).await;
    viewer.wait_until_counts(10, 0).await;
    claim(app.client(), &customers[0]).await;
    viewer.wait_until_counts(9, 1).await;
    redis.kill();
    let comment = viewer.block().await.expect("the stream goes on");
    assert!(comment.starts_with(": "), "{comment}");
    redis.restart().await;
    let client = app.client();
    eventually("units can be claimed", || async {
        !client.claim("shop", "ten", &customers[1]).await.header("Claim-Token").is_empty()
    })
    .await;
    viewer.wait_until_counts(8, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_with_sales_shows_what_its_present_one_can_still_sell() {
    let (app, ten, customers) = selling(10).await;
    let instance = &app.instances[0];
    let mut viewer = Viewer::see(app.client(), ten).await;
    viewer.wait_until_counts(10, 0).await;
    let coupon = couponrush::domain::CouponId(ten);
    let mut sale = terms(-10, 3_600);
    sale.total = 2;
    instance.schedule(coupon, &sale).await.expect("the activity can be created");
    viewer.wait_until_counts(2, 0).await;
    claim(app.client(), &customers[0]).await;
    viewer.wait_until_counts(1, 1).await;
}

/// One merchant must not take the places of all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_saler_has_half_of_the_places_over_all_products_and_others_have_the_rest() {
    let (app, ten, _) = selling(4).await;
    let (client, shop) = (app.client(), app.user("cafe", Kind::Saler).await);
    client.create_coupon("cafe", &shop, "tea", 10).await;
    let product = client.post("/product/create", &shop, &json!({"product_name": "cake", "product_total": 5})).await;
    let cake = product.json()["data"]["product_id"].as_u64().expect("an id");
    app.instances[0].schedule(couponrush::domain::CouponId(cake), &terms(-10, 3_600)).await.expect("it can be created");
    let _seen = [Viewer::see(client, ten + 1).await, Viewer::see(client, cake).await];
    assert_full(Viewer::open(client, ten + 1).await);
    assert_full(Viewer::open(client, cake).await);
    let _others = [Viewer::see(client, ten).await, Viewer::see(client, ten).await];
    assert_full(Viewer::open(client, ten).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_products_on_sale_have_viewers() {
    let (app, ten, _) = selling(10).await;
    let (client, instance, coupon) = (app.client(), &app.instances[0], couponrush::domain::CouponId(ten));
    let shop = app.user("cafe", Kind::Saler).await;
    let product = client.post("/product/create", &shop, &json!({"product_name": "cake", "product_total": 5})).await;
    let cake = product.json()["data"]["product_id"].as_u64().expect("an id");
    assert_full(Viewer::open(client, cake).await);
    let id = instance.schedule(coupon, &terms(3_700, 7_200)).await.expect("the activity can be created");
    assert_full(Viewer::open(client, ten).await);
    let windows = [(3_500, 7_200, true), (-7_200, -70, false), (-7_200, -30, true), (-10, 3_600, true)];
    for (start, end, is_shown) in windows {
        let window = terms(start, end).window;
        instance.reschedule(id, |terms| terms.window = window).await.expect("the activity can be changed");
        assert_eq!(Viewer::open(client, ten).await.is_ok(), is_shown, "{start} to {end}");
    }
    let mut viewer = Viewer::see(client, ten).await;
    viewer.wait_until_counts(10, 0).await;
    let over = terms(-7_200, -70).window;
    instance.reschedule(id, |terms| terms.window = over).await.expect("the activity can be changed");
    assert_eq!(viewer.block().await, None, "the stream ends a minute after the sale");
    eventually("no product is viewed", || async { instance.shared.selling.events.figures().products == 0 }).await;
}
