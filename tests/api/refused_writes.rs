//! Redis answers but refuses writes: memory, disk, replicas, rights.

use std::time::Duration;

use crate::helpers::{RedisServer, Stores, TestApp, eventually};

/// After a refused write the reason shows within this time.
const NOTICED: Duration = Duration::from_secs(3);

/// A service with a separate Redis server and a coupon `shop/few`. Returns customers' tokens, too.
async fn selling(redis: &RedisServer) -> (TestApp, Vec<String>) {
    let app = TestApp::start_on(Stores::create(Some(redis.url())).await, |_| {}).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "few", 10).await;
    let mut tokens = Vec::new();
    for name in ["ann", "bob", "cid"] {
        tokens.push(app.client().user(name, "customer").await);
    }
    (app, tokens)
}

/// Lets Redis refuse writes by `refuse`, and take writes again by `heal`. Meanwhile the shard is closed with the reason
/// `word`, and attempts have no effect.
async fn closes_and_opens(word: &str, refuse: impl AsyncFnOnce(&RedisServer), heal: impl AsyncFnOnce(&RedisServer)) {
    let redis = &RedisServer::start().await;
    let (app, tokens) = selling(redis).await;
    assert_eq!(app.client().claim("shop", "few", &tokens[0]).await.status, 201);
    app.settle().await;
    let rebuilds = || async { app.instances[0].ops.get("/readyz", "").await.json()["gate"]["rebuilds"].clone() };
    let before = rebuilds().await;
    refuse(redis).await;
    eventually("Redis refuses writes", || async { !redis.takes_writes().await }).await;
    // The first attempt may come before the probe. Redis refuses the attempt.
    let answer = app.client().claim("shop", "few", &tokens[1]).await;
    assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{word}: {answer:?}");
    tokio::time::timeout(NOTICED, async {
        loop {
            let report = app.instances[0].ops.get("/readyz", "").await;
            if report.status == 503 && report.json()["gate"]["state"] == word && report.json()["redis"]["state"] == word
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{word} does not show within {NOTICED:?}"));
    let page = app.instances[0].ops.get("/metrics", "").await.text;
    assert!(page.contains(&format!("couponrush_gate_state{{state=\"{word}\"}} 1")), "{page}");
    assert_eq!(app.client().claim("shop", "few", &tokens[1]).await.error().2, "unavailable");
    assert_eq!(app.stores.number("SELECT COUNT(*) FROM claims").await, 1);

    heal(redis).await;
    eventually("the gate opens", || async { app.client().is_ready().await }).await;
    assert_eq!(rebuilds().await, before, "no data was lost");
    assert_eq!(app.client().claim("shop", "few", &tokens[2]).await.status, 201);
}

/// [`closes_and_opens`] with a command that makes Redis refuse writes, and a command that ends the refusal.
async fn commands_close_and_open(word: &str, refuse: &[&str], heal: &[&str]) {
    let command = async |redis: &RedisServer, parts: &[&str]| redis.command::<()>(parts).await;
    closes_and_opens(word, async |redis| command(redis, refuse).await, async |redis| command(redis, heal).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_memory_closes_the_shard_until_there_is_room() {
    let limit = |bytes| ["CONFIG", "SET", "maxmemory", bytes];
    commands_close_and_open("out-of-memory", &limit("1"), &limit("0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn missing_replicas_close_the_shard_until_they_are_not_required() {
    let required = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    commands_close_and_open("no-replicas", &required("1"), &required("0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_user_without_rights_closes_the_shard_until_it_has_them() {
    let rights = |rights| ["ACL", "SETUSER", "default", rights];
    commands_close_and_open("no-permission", &rights("-@write"), &rights("+@write")).await;
}

/// Synced every second, so that Redis refuses writes. With a sync before every answer, Redis would end itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_closes_the_shard_until_there_is_room() {
    let fill = async |redis: &RedisServer| {
        redis.command::<()>(&["CONFIG", "SET", "appendfsync", "everysec"]).await;
        redis.limit_files(Some(1));
    };
    closes_and_opens("not-persisting", fill, async |redis| redis.limit_files(None)).await;
}

/// The outbox may be what fills the memory. So its claims are stored and deleted while the shard is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_memory_is_full_the_outbox_is_emptied() {
    let redis = RedisServer::start().await;
    let (app, tokens) = selling(&redis).await;
    let lock = app.stores.lock_table("claims").await;
    assert_eq!(app.client().claim("shop", "few", &tokens[0]).await.status, 201);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    eventually("the gate is closed", || async {
        app.instances[0].ops.get("/readyz", "").await.json()["gate"]["state"] == "out-of-memory"
    })
    .await;
    drop(lock);
    app.settle().await;
    assert!(!app.client().is_ready().await);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("the gate opens", || async { app.client().is_ready().await }).await;
}
