//! Warnings about unsafe server settings, at the start and in `/readyz`.

use crate::helpers::{RedisServer, Stores, TestApp, eventually};

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

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_write_through_two_servers_are_warned_of() {
    let app = TestApp::start().await;
    let warnings = || async { app.instances[0].ops.get("/readyz", "").await.json()["warnings"].to_string() };
    let servers = "SELECT DISTINCT mysql_server AS value FROM instances ORDER BY mysql_server";
    eventually("the server of the beat is known", || async {
        app.stores.texts(servers).await.iter().any(|server| !server.is_empty())
    })
    .await;
    // The beat of an instance behind another node.
    app.stores
        .execute(
            "INSERT INTO instances (instance, process, beat_at, mysql_server, format) \
             SELECT 'other', 'other', NOW(3) + INTERVAL 1 HOUR, 'other node', MAX(format) FROM instances",
        )
        .await;
    eventually("two writers are unsafe", || async { warnings().await.contains("several MySQL servers at once") }).await;
    assert!(warnings().await.contains("other node"), "{}", warnings().await);
    app.stores.execute("DELETE FROM instances WHERE process = 'other'").await;
    eventually("one writer is safe", || async { warnings().await == "[]" }).await;
}
