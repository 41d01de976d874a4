//! Warnings about unsafe server settings, at the start and in `/readyz`.

use crate::helpers::{RedisServer, Stores, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_is_named_in_readyz_and_stops_nothing() {
    let redis = RedisServer::start().await;
    let stores = Stores::create(Some(redis.url())).await;
    for (name, value) in [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")] {
        stores.redis::<()>(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
    }
    let app = TestApp::start_on(stores, |_| {}).await;
    let ready = app.instances[0].ops.get("/readyz", "").await;
    let warnings = ready.json()["warnings"].to_string();
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(warnings.contains("appendonly no") && warnings.contains("allkeys-lru"), "{warnings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_keep_what_they_are_told_are_not_spoken_of() {
    let app = TestApp::start().await;
    let ready = app.instances[0].ops.get("/readyz", "").await;
    assert_eq!(ready.json()["warnings"], serde_json::json!([]), "{ready:?}");
}
