//! Stores that are too old. No old server is installed: a relay before a real server changes the version that the server
//! tells.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use couponrush::app::Application;
use couponrush::config::ServeArgs;
use couponrush::etcd::Watcher;
use redis::cmd;

use crate::helpers::{EtcdServer, RedisServer, Relay, Serving, Stores, TestApp, arguments, eventually};

/// The address of a URL with host and port.
fn address(url: &str) -> SocketAddr {
    let url = url::Url::parse(url).expect("the URL is valid");
    let (host, port) = (url.host_str().expect("a host"), url.port().expect("a port"));
    SocketAddr::new(host.parse().expect("tests use addresses"), port)
}

/// Stores with a relay before each server, on a Redis of the test or on the one shared by all tests.
async fn relayed_stores(redis_url: Option<String>) -> (Stores, Relay, Relay) {
    let stores = Stores::create(redis_url).await;
    let redis = Relay::start(&[address(&stores.redis_url)]).await;
    let mysql = Relay::start(&[address(&stores.mysql_url)]).await;
    let mut relayed = stores.at(mysql.address);
    relayed.redis_url = format!("redis://{}/0", redis.address);
    (relayed, redis, mysql)
}

/// The part of `INFO server` that tells the version.
async fn redis_version(stores: &Stores) -> String {
    let info: String = stores.redis(cmd("INFO").arg("server")).await;
    let named = |name| info.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    named("valkey_version:").or_else(|| named("redis_version:")).expect("the server tells its version")
}

async fn mysql_version(stores: &Stores) -> String {
    stores.texts("SELECT VERSION() AS value").await.remove(0)
}

/// Asserts that the program ends at once with a sentence that names a version of zeros and the required version.
async fn assert_refused(args: &ServeArgs, required: &[&str]) {
    let began = Instant::now();
    let refused = Application::build(args).await.err().map(|error| error.to_string()).unwrap_or_default();
    let found = refused.split(' ').nth(1).unwrap_or_default();
    assert!(found.starts_with('0') && refused.contains(&format!(" {found} is too old. ")), "{refused:?}");
    assert!(required.iter().any(|part| refused.ends_with(&format!("{part} or later is required"))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(args.start_wait.into()), "the start has not waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_too_old_is_refused_at_the_start() {
    let (stores, redis, mysql) = relayed_stores(None).await;
    let server = EtcdServer::start().await;
    let etcd = Relay::start(&[address(&server.url())]).await;
    let mut args = arguments(&stores);
    args.etcd.etcd_endpoints = format!("http://{}", etcd.address);

    mysql.hide_digits_of(&mysql_version(&stores).await);
    assert_refused(&args, &["MySQL 8.0", "MariaDB 10.6"]).await;
    mysql.hide_nothing();

    redis.hide_digits_of(&redis_version(&stores).await);
    assert_refused(&args, &["Redis 6.2", "Valkey 7.2"]).await;
    redis.hide_nothing();

    etcd.hide_digits_of(&server.version().await);
    assert_refused(&args, &["etcd 3.4"]).await;
    etcd.hide_nothing();

    assert!(Application::build(&args).await.is_ok(), "the servers as they are pass");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_too_old_after_a_failover_gets_no_claims_and_is_named_in_the_log() {
    let server = RedisServer::start().await;
    let (stores, redis, _mysql) = relayed_stores(Some(server.url())).await;
    let serving = Serving::start(&stores).await;
    redis.hide_digits_of(&redis_version(&stores).await);
    server.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("the instance is not ready", || async { !serving.ops.is_ready().await }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!serving.ops.is_ready().await, "the connection stays refused");
    redis.hide_nothing();
    eventually("the instance is ready again", || serving.ops.is_ready()).await;
    let (_, log) = serving.terminate().await;
    let lines = log.lines().filter(|line| line.contains("redis: cannot connect") && line.contains("is too old"));
    // The two workers and recovery have a link each, which logs only the first of many failures. The first one can be
    // that the connection was lost.
    let lines = lines.count();
    assert!((1..=3).contains(&lines), "{lines} lines: {log}");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_that_is_too_old_after_a_failover_gets_no_statement() {
    let (stores, _redis, mysql) = relayed_stores(None).await;
    let app = TestApp::start_on(stores.clone(), |_| {}).await;
    mysql.hide_digits_of(&mysql_version(&stores).await);
    // Connections that are open already are checked, too.
    let error = stores.db.ping().await.expect_err("the server seems to be old").to_string();
    assert!(error.contains("is too old"), "{error}");
    let shop = || async { app.client().post("/api/users", "", &shop()).await.status };
    eventually("the instance stores nothing", || async { shop().await == 503 }).await;
    mysql.hide_nothing();
    eventually("the instance stores again", || async { shop().await == 201 }).await;
}

fn shop() -> serde_json::Value {
    serde_json::json!({"username": "shop", "password": crate::helpers::PASSWORD, "kind": "saler"})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_too_old_is_not_followed() {
    let server = EtcdServer::start().await;
    let relay = Relay::start(&[address(&server.url())]).await;
    let version = server.version().await;
    let mut config = server.config();
    config.endpoints = vec![format!("http://{}", relay.address)];
    let etcd = couponrush::etcd::Etcd::new(config).await.expect("the URL is valid");
    let figures = std::sync::Arc::default();
    let mut watcher = Watcher::new(etcd, std::sync::Arc::clone(&figures));
    relay.hide_digits_of(&version);
    let notice = tokio::time::timeout(Duration::from_secs(2), watcher.next()).await;
    assert!(notice.is_err() && figures.failures() > 0 && !figures.is_up(), "{notice:?}");
    relay.hide_nothing();
    watcher.next().await;
    assert!(figures.is_up());
}
