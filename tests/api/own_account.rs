//! A user's own data: reading all of it, and erasing the account.

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{Answer, Client, PASSWORD, TestApp, eventually};

async fn erase(client: &Client, name: &str, token: &str, password: &str) -> Answer {
    let body = json!({"password": password}).to_string();
    client.send("DELETE", &format!("/api/users/{name}"), token, Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_all_that_is_stored_about_him_and_nobody_else_does() {
    let app = TestApp::start().await;
    let client = app.client();
    let shop = client.user("shop", "saler").await;
    client.create_coupon("shop", &shop, "ten", 5).await;
    let (ann, bob) = (client.user("ann", "customer").await, client.user("bob", "customer").await);
    assert_eq!(client.claim("shop", "ten", &ann).await.status, 201);
    app.settle().await;
    let data = async || client.get("/api/users/ann/data", &ann).await.json();
    eventually("the login is in the data", || async { !data().await["networks"].as_array().is_none_or(Vec::is_empty) })
        .await;
    let data = data().await;
    assert_eq!(
        (&data["username"], &data["kind"], &data["complete"]),
        (&json!("ann"), &json!("customer"), &json!(true))
    );
    let claim = &data["claims"][0];
    assert_eq!((&claim["saler"], &claim["name"], &claim["nth"]), (&json!("shop"), &json!("ten"), &json!(1)));
    assert_eq!(data["networks"][0]["network"], json!("127.0.0.1"));
    assert_eq!(client.get("/api/users/ann/data", &bob).await.status, 401);
    assert_eq!(client.get("/api/users/bob/data", &bob).await.json()["claims"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customer_leaves_claims_without_a_name_and_the_name_is_never_given_out_again() {
    let mut app = TestApp::start().await;
    app.start_another().await;
    let (client, other) = (app.client(), app.instances[1].client.clone());
    let shop = client.user("shop", "saler").await;
    client.create_coupon("shop", &shop, "ten", 5).await;
    let (ann, bob) = (client.user("ann", "customer").await, client.user("bob", "customer").await);
    assert_eq!(client.claim("shop", "ten", &ann).await.status, 201);
    app.settle().await;
    assert_eq!(erase(client, "ann", &bob, PASSWORD).await.status, 401);
    let wrong = erase(client, "ann", &ann, "wrong").await;
    assert_eq!((wrong.status, wrong.json()["code"].as_str()), (401, Some("wrong-password")));
    assert_eq!(client.list("ann", &ann).await.status, 200, "nothing has happened");

    assert_eq!(erase(client, "ann", &ann, PASSWORD).await.status, 200);
    eventually("the session ends", || async { other.list("ann", &ann).await.status == 401 }).await;
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 401);
    for (instance, kind) in [(client, "customer"), (&other, "saler")] {
        let again = instance.register("ann", kind).await;
        assert_eq!((again.status, again.json()["code"].as_str()), (400, Some("name-taken")));
    }
    let claims = client.get("/api/users/shop/coupons/ten/claims", &shop).await.json();
    let holder = claims["data"][0]["username"].as_str().unwrap_or_default().to_owned();
    assert!(holder.starts_with("erased-"), "{claims}");
    let left = "SELECT COUNT(*) FROM known_networks JOIN users ON user_id = users.id WHERE erased_at IS NOT NULL";
    // A login is written within seconds, also after the user was erased.
    eventually("the networks are forgotten", || async { app.stores.number(left).await == 0 }).await;
    assert_eq!(client.log_in(&holder, PASSWORD).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saler_is_erased_after_the_last_coupon_is_archived_and_keeps_the_name_on_coupons() {
    let app = TestApp::start().await;
    let client = app.client();
    let (shop, cafe) = (client.user("shop", "saler").await, client.user("cafe", "saler").await);
    client.create_coupon("shop", &shop, "ten", 5).await;
    let open = erase(client, "shop", &shop, PASSWORD).await;
    assert_eq!((open.status, open.message().as_str()), (400, "Archive your coupons first."));
    assert_eq!(client.put("/api/users/shop/coupons/ten", &shop, &json!({"archived": true})).await.status, 200);
    let helper = json!({"username": "helper", "password": "correct horse battery", "rights": ["view"]});
    assert_eq!(client.post("/api/users/shop/staff", &shop, &helper).await.status, 201);
    let key = client.post("/api/users/shop/keys", &shop, &json!({"name": "till", "rights": ["view"]})).await;
    let key = format!("Bearer {}", key.json()["key"].as_str().expect("a key"));
    let helper = client.log_in("helper", "correct horse battery").await.header("Authorization").to_owned();
    for token in [&key, &helper] {
        assert_eq!(client.get("/activity/list", token).await.status, 200);
    }
    assert_eq!(client.send("DELETE", "/api/users/helper", &helper, Some(r#"{"password":"x"}"#)).await.status, 400);
    assert_eq!(erase(client, "shop", &shop, PASSWORD).await.status, 200);
    assert_eq!(client.log_in("shop", PASSWORD).await.status, 401);
    for token in [&key, &helper] {
        eventually("staff and keys end", || async { client.get("/activity/list", token).await.status == 401 }).await;
    }
    assert_eq!(client.log_in("helper", "correct horse battery").await.status, 401);
    assert_eq!(client.register("shop", "customer").await.status, 400);
    assert_eq!(erase(client, "cafe", &cafe, PASSWORD).await.status, 200, "a saler without coupons");
    assert_eq!(client.register("cafe", "saler").await.status, 400, "the name looks like an earlier one");
    let root = app.user("root", Kind::Admin).await;
    assert_eq!(erase(client, "root", &root, PASSWORD).await.message(), "Admins cannot be erased.");
    let names: Vec<Value> = app
        .stores
        .texts("SELECT username AS value FROM users ORDER BY id")
        .await
        .into_iter()
        .map(Value::from)
        .collect();
    assert_eq!(names, ["shop", "erased-2", "helper", "root"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_with_a_stolen_session_are_failed_logins() {
    let app = TestApp::start().await;
    let client = app.client();
    let ann = client.user("ann", "customer").await;
    for n in 0..10 {
        assert_eq!(erase(client, "ann", &ann, &format!("guess {n}")).await.status, 401);
    }
    assert_eq!(erase(client, "ann", &ann, PASSWORD).await.status, 429, "even the right password");
    assert_eq!(client.log_in("ann", PASSWORD).await.status, 429);
    assert_eq!(client.list("ann", &ann).await.status, 204, "the session goes on");
}
