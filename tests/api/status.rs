//! `/admin/status`, the data of the operators' page.

use couponrush::domain::Kind;
use serde_json::json;

use crate::helpers::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn admins_see_how_an_instance_is_and_what_it_has_answered() {
    let app = TestApp::start().await;
    let client = app.client();
    let (admin, shop) = (app.user("root", Kind::Admin).await, app.user("shop", Kind::Saler).await);
    let customers = app.customers(2).await;
    client.create_coupon("shop", &shop, "ten", 1).await;
    for (customer, result) in customers.iter().zip(["claimed", "sold-out"]) {
        assert_eq!(client.claim("shop", "ten", customer).await.result(), result);
    }
    assert_eq!(client.put("/admin/blacklist/users/customer-1", &admin, &json!({})).await.status, 200);
    let blocked = app.token_of("customer-1").await;
    assert_eq!(client.claim("shop", "ten", &blocked).await.status, 403);

    let answer = client.get("/admin/status", &admin).await;
    assert_eq!((answer.status, answer.header("Cache-Control")), (200, "no-store"));
    let status = answer.json();
    assert_eq!((&status["ready"], &status["redis"]["state"]), (&json!(true), &json!("up")));
    assert_eq!((&status["attempts"]["claimed"], &status["attempts"]["sold-out"]), (&json!(1), &json!(1)));
    assert_eq!(status["turned_away"], json!({"rate_limited": 0, "blocked": 1, "switched_off": 0}));
    assert_eq!((&status["responses"]["403"], &status["blocks"]), (&json!(1), &json!(1)));
    assert_eq!(status["switches"]["claim"], true);
    let address = app.instances[0].address.to_string();
    assert!(status["instance"].as_str().is_some_and(|instance| instance.ends_with(&address)), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_an_admin_sees_it() {
    let app = TestApp::start().await;
    let client = app.client();
    assert_eq!(client.get("/admin/status", "").await.status, 401);
    for kind in [Kind::Customer, Kind::Saler] {
        let user = app.user(&format!("{kind:?}"), kind).await;
        assert_eq!(client.get("/admin/status", &user).await.status, 403);
    }
}
