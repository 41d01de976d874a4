//! `/activity/create`, `/activity/update` and `/activity/list`.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use super::{Sale, activity, data, refusal};
use crate::helpers::now_seconds;

const STORED: &str = "SELECT CONCAT_WS('|', name, start_time, end_time, total, status, speed, buy_limit, buy_rate) AS value \
    FROM activities ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn activities_are_listed_as_they_were_stated() {
    let sale = Sale::start(2).await;
    let admin = sale.app.user("root", Kind::Admin).await;
    let other = sale.app.user("other", Kind::Saler).await;
    let (ten, twenty) = (sale.product("ten", 30).await, sale.product("twenty", 30).await);
    let long_ago = json!({"start_time": "951782400", "end_time": 951_868_800, "status": 2, "buy_rate": "0.2"});
    let first = sale.activity(ten, long_ago).await;
    let to_come = json!({
        "ACTIVITY_NAME": "spring sale!", "start_time": 4_107_542_400_u64, "end_time": 4_107_542_401_u64,
        "total": 30, "speed": 4_294_967_295_u64, "buy_limit": 100, "buy_rate": 0.123_456,
    });
    let mut second = activity(twenty, to_come);
    second.as_object_mut().expect("an object").remove("activity_name");
    let second = data(&sale.post("/activity/create", &admin, &second).await)["activity_id"].clone();
    let form = format!("activity_name=f&product_id={ten}&start_time=1&end_time=2&total=0&speed=0");
    let third = data(&sale.app.client().send("POST", "/activity/create", &sale.shop, Some(&form)).await);
    sale.update(third["activity_id"].as_u64().expect("a number"), json!({"status": 1, "end_time": 4_102_444_800_u64}))
        .await;

    let listed = json!([
        {
            "activity_id": third["activity_id"], "activity_name": "f", "product_id": ten, "start_time": 1,
            "end_time": 4_102_444_800_u64, "total": 0, "status": 1, "sec_speed": 0, "buy_limit": 1, "buy_rate": "1.00",
            "start_time_str": "1970-01-01 00:00:01", "end_time_str": "2100-01-01 00:00:00", "status_str": "disabled",
            "changed_by": "shop",
        },
        {
            "activity_id": second, "activity_name": "spring sale!", "product_id": twenty,
            "start_time": 4_107_542_400_u64, "end_time": 4_107_542_401_u64, "total": 30, "status": 0,
            "sec_speed": 4_294_967_295_u64, "buy_limit": 100, "buy_rate": "0.123456",
            "start_time_str": "2100-03-01 00:00:00", "end_time_str": "2100-03-01 00:00:01", "status_str": "normal",
            "changed_by": "root",
        },
        {
            "activity_id": first, "activity_name": "rush", "product_id": ten, "start_time": 951_782_400,
            "end_time": 951_868_800, "total": 0, "status": 0, "sec_speed": 0, "buy_limit": 1, "buy_rate": "0.20",
            "start_time_str": "2000-02-29 00:00:00", "end_time_str": "2000-03-01 00:00:00", "status_str": "ended",
            "changed_by": "shop",
        },
    ]);
    for (instance, token) in [(0, &sale.shop), (1, &sale.shop), (1, &admin)] {
        let list = data(&sale.app.instances[instance].client.get("/activity/list", token).await);
        assert_eq!(list, listed, "newest first");
    }
    assert_eq!(
        data(&sale.get("/activity/list?page=1", &other).await),
        json!([]),
        "salers see only their own activities"
    );
    assert_eq!(data(&sale.get("/activity/list?page=2", &sale.shop).await), json!([]));
    sale.update(second.as_u64().expect("a number"), json!({"status": 2})).await;
    assert_eq!(data(&sale.get("/activity/list", &sale.shop).await)[1]["status_str"], "sold out");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_of_a_product_and_admins_make_and_change_its_activities() {
    let sale = Sale::start(1).await;
    let other = sale.app.user("other", Kind::Saler).await;
    let admin = sale.app.user("root", Kind::Admin).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let product = sale.product("ten", 3).await;
    let made = sale.activity(product, json!({})).await;
    let before = sale.stored().await;
    for (token, refused) in [("", (401, 401)), ("x", (401, 401)), (&ann, (403, 403)), (&other, (403, 403))] {
        let later = json!({"start_time": 4_000_000_000_u64, "end_time": 4_000_000_001_u64});
        assert_eq!(refusal(&sale.post("/activity/create", token, &activity(product, later)).await), refused);
        let changes =
            [json!({"activity_id": made, "total": 1}), json!({"activity_id": made, "product_id": 1, "total": 1})];
        for change in changes {
            assert_eq!(refusal(&sale.post("/activity/update", token, &change).await), refused, "{change}");
        }
    }
    for token in ["", &ann] {
        assert!([(401, 401), (403, 403)].contains(&refusal(&sale.get("/activity/list", token).await)));
    }
    for token in [&sale.shop, &admin] {
        let unknown = activity(product + 1_000, json!({}));
        assert_eq!(refusal(&sale.post("/activity/create", token, &unknown).await), (404, 404));
        let unknown = json!({"activity_id": made + 1_000, "total": 1});
        assert_eq!(refusal(&sale.post("/activity/update", token, &unknown).await), (404, 404));
        let unknown = json!({"activity_id": made + 1_000, "product_id": product, "total": 1});
        assert_eq!(refusal(&sale.post("/activity/update", token, &unknown).await), (404, 404));
    }
    assert_eq!(sale.stored().await, before, "refusals change no rows");
    data(&sale.post("/activity/update", &admin, &json!({"activity_id": made, "total": 1})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_made_at_once_both_survive_for_two_products_and_one_for_one() {
    let sale = Sale::start(2).await;
    let (ten, twenty) = (sale.product("ten", 30).await, sale.product("twenty", 30).await);
    let now = now_seconds();
    for round in 0..10 {
        let window = json!({"start_time": now + 100 * round, "end_time": now + 100 * round + 100});
        let make = async |instance, product| {
            sale.post_to(instance, "/activity/create", &sale.shop, &activity(product, window.clone())).await
        };
        let all = futures_util::future::join4(make(0, ten), make(1, twenty), make(1, ten), make(0, twenty)).await;
        for (one, two) in [(all.0, all.2), (all.1, all.3)] {
            let (made, refused) = if one.status == 200 { (one, two) } else { (two, one) };
            data(&made);
            assert_eq!(refusal(&refused), (400, 1001));
            assert!(refused.text.contains("start_time, end_time"), "activities that touch do not overlap: {refused:?}");
        }
    }
    assert_eq!(sale.app.stores.number("SELECT COUNT(*) FROM activities").await, 20);
    let ann = sale.app.user("ann", Kind::Customer).await;
    for product in [ten, twenty] {
        data(&sale.kill(1, &ann, product).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let sale = Sale::start(1).await;
    let product = sale.product("ten", 30).await;
    let window =
        json!({"start_time": 1_000, "end_time": 2_000, "total": 5, "speed": 6, "buy_limit": 7, "buy_rate": 0.5});
    let made = sale.activity(product, window).await;
    let changes = [
        (json!({"activity_name": "name"}), "name|1000|2000|5|0|6|7|0.5"),
        (json!({"start_time": 1_999}), "name|1999|2000|5|0|6|7|0.5"),
        (json!({"start_time": 5_000, "end_time": 6_000}), "name|5000|6000|5|0|6|7|0.5"),
        (json!({"end_time": "5001"}), "name|5000|5001|5|0|6|7|0.5"),
        (json!({"total": 30}), "name|5000|5001|30|0|6|7|0.5"),
        (json!({"total": 0, "status": "2"}), "name|5000|5001|0|2|6|7|0.5"),
        (json!({"speed": 0, "buy_limit": 1, "buy_rate": 0}), "name|5000|5001|0|2|0|1|0"),
        (json!({"status": 0, "product_id": product}), "name|5000|5001|0|0|0|1|0"),
    ];
    for (change, stored) in changes {
        sale.update(made, change.clone()).await;
        assert_eq!(sale.app.stores.texts(STORED).await, [stored], "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_makes_activities_overlap_unless_one_is_disabled() {
    let sale = Sale::start(1).await;
    let product = sale.product("ten", 30).await;
    let window = |start: u64, end: u64| json!({"start_time": start, "end_time": end});
    let first = sale.activity(product, window(1_000, 2_000)).await;
    let second = sale.activity(product, window(2_000, 3_000)).await;
    let refused = async |id: u64, mut change: Value| {
        change["activity_id"] = json!(id);
        let answer = sale.post("/activity/update", &sale.shop, &change).await;
        assert_eq!(refusal(&answer), (400, 1001), "{change}");
        assert!(answer.text.contains("start_time, end_time"), "{answer:?}");
    };
    refused(first, json!({"end_time": 2_001})).await;
    refused(second, json!({"start_time": 1_999})).await;
    refused(second, window(0, 9_000)).await;
    sale.update(first, json!({"status": 1})).await;
    sale.update(second, json!({"start_time": 1_500})).await;
    refused(first, json!({"status": 0})).await;
    refused(first, json!({"status": 2})).await;
    sale.update(first, json!({"status": 0, "end_time": 1_500})).await;
}
