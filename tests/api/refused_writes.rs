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

/// Lets Redis refuse writes by `refuse`, and take them again by `heal`. While it refuses, the shard is closed with the
/// reason `word`, and nothing happens.
async fn closes_and_opens(redis: &RedisServer, word: &str, refuse: &[&[&str]], heal: &[&[&str]]) {
    let (app, tokens) = selling(redis).await;
    assert_eq!(app.client().claim("shop", "few", &tokens[0]).await.status, 201);
    app.settle().await;
    let rebuilds = || async { app.instances[0].ops.get("/readyz", "").await.json()["gate"]["rebuilds"].clone() };
    let before = rebuilds().await;
    for command in refuse {
        redis.command::<redis::Value>(command).await;
    }
    eventually("Redis refuses writes", || async { !redis.takes_writes().await }).await;
    // The first attempt may come before the probe. It is refused and has no effect.
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

    for command in heal {
        redis.command::<redis::Value>(command).await;
    }
    eventually("the gate opens", || async { app.client().is_ready().await }).await;
    assert_eq!(rebuilds().await, before, "no data was lost");
    assert_eq!(app.client().claim("shop", "few", &tokens[2]).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_memory_closes_the_shard_until_there_is_room() {
    let redis = RedisServer::start().await;
    let (full, room) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
    closes_and_opens(&redis, "out-of-memory", &[&full], &[&room]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn missing_replicas_close_the_shard_until_they_are_not_required() {
    let redis = RedisServer::start().await;
    let required = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    closes_and_opens(&redis, "no-replicas", &[&required("1")], &[&required("0")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_user_without_rights_closes_the_shard_until_it_has_them() {
    let redis = RedisServer::start().await;
    let (without, with) = (["ACL", "SETUSER", "default", "-@write"], ["ACL", "SETUSER", "default", "+@write"]);
    closes_and_opens(&redis, "no-permission", &[&without], &[&with]).await;
}

/// Redis cannot save its snapshot, and stops taking writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_cannot_be_written_closes_the_shard_until_it_can() {
    let redis = RedisServer::start().await;
    let folder = redis.folder().display().to_string();
    let gone = redis.folder().with_extension("gone");
    std::fs::create_dir(&gone).expect("the temporary folder can be written");
    let path = gone.display().to_string();
    let away = ["CONFIG", "SET", "dir", &path];
    let (save, back) = (["CONFIG", "SET", "save", "3600 1"], ["CONFIG", "SET", "dir", &folder]);
    redis.command::<()>(&away).await;
    std::fs::remove_dir(&gone).expect("the folder is empty");
    closes_and_opens(&redis, "not-persisting", &[&save, &["BGSAVE"]], &[&back, &["BGSAVE"]]).await;
}
