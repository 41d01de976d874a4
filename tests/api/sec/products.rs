//! `/product/create` and `/product/list`.

use couponrush::domain::Kind;
use serde_json::json;

use super::{Sale, data, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_a_scheduled_coupon_of_whoever_made_it() {
    let sale = Sale::start(2).await;
    let (app, shop) = (&sale.app, sale.shop.as_str());
    let admin = app.user("root", Kind::Admin).await;
    let ann = app.user("ann", Kind::Customer).await;
    let first = data(
        &sale
            .post(
                "/product/create",
                shop,
                &json!({"Product_Name": "ten", "product_total": "30", "stock": 5, "description": "d", "status": 7}),
            )
            .await,
    );
    let form =
        app.client().send("POST", "/product/create/", &admin, Some("product_name=a+b%26c&product_total=7")).await;
    let second = data(&form);

    let list = data(&app.instances[1].client.get("/product/list?page=0", &ann).await);
    let expected = json!([
        {"product_id": second["product_id"], "product_name": "a b&c", "total": 7, "status": 1, "saler": "root"},
        {"product_id": first["product_id"], "product_name": "ten", "total": 30, "status": 1, "saler": "shop"},
    ]);
    assert_eq!(list, expected, "newest first");
    let columns = "SELECT CONCAT_WS('|', amount, left_count, face_value, description, scheduled) AS value FROM coupons";
    assert_eq!(app.stores.texts(columns).await, ["30|30|5|d|1", "7|7|0||1"]);
    for (saler, name) in [("shop", "ten"), ("root", "a%20b%26c")] {
        assert_eq!(app.client().claim(saler, name, &ann).await.result(), "not-on-sale", "the coupon has no activity");
    }
    assert_eq!(refusal(&sale.kill(0, &ann, first["product_id"].as_u64().expect("a number")).await), (400, 1002));
    assert_eq!(data(&sale.get("/product/list?page=2", shop).await), json!([]));
    assert_eq!(data(&sale.get("/product/list?page=9223372036854775807", shop).await), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_products_are_the_newest_thousand_each() {
    let sale = Sale::start(1).await;
    let saler = sale.app.stores.number("SELECT id FROM users").await;
    let rows: Vec<String> = (1..=1_001).map(|n| format!("({saler}, 'p-{n}', 1, 1, 0, '', 1, 1, 1)")).collect();
    let insert = "INSERT INTO coupons (saler_id, name, amount, left_count, face_value, description, scheduled, revision, \
        published_revision) VALUES";
    sale.app.stores.execute(&format!("{insert} {}", rows.join(","))).await;
    let mut names = Vec::new();
    for (page, count) in [(1, 1_000), (2, 1), (3, 0)] {
        let list = data(&sale.get(&format!("/product/list?page={page}"), &sale.shop).await);
        let list = list.as_array().expect("a list");
        assert_eq!(list.len(), count, "page {page}");
        names.extend(list.iter().map(|product| product["product_name"].as_str().expect("a name").to_owned()));
    }
    assert_eq!(names, (1..=1_001).rev().map(|n| format!("p-{n}")).collect::<Vec<_>>());
    // The rows were never published, and the final audit would find them.
    sale.app.stores.execute("DELETE FROM coupons").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_salers_and_admins_make_products_and_a_name_is_taken_once() {
    let sale = Sale::start(1).await;
    let ann = sale.app.user("ann", Kind::Customer).await;
    let body = json!({"product_name": "ten", "product_total": 1});
    assert_eq!(refusal(&sale.post("/product/create", "", &body).await), (401, 401));
    assert_eq!(refusal(&sale.post("/product/create", "x.y.z", &body).await), (401, 401));
    assert_eq!(refusal(&sale.post("/product/create", &ann, &body).await), (403, 403));
    assert_eq!(refusal(&sale.get("/product/list", "").await), (401, 401));
    assert_eq!(sale.stored().await[0], 0);
    sale.product("ten", 1).await;
    assert_eq!(refusal(&sale.post("/product/create", &sale.shop, &body).await), (400, 400));
    assert_eq!(sale.stored().await[0], 1);
}
