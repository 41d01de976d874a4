//! The pool of connections to Redis: the process that its connections lead to, and its bounds.

use std::time::Duration;

use couponrush::app::redis_pool;
use couponrush::config::{REDIS_CONNECTION_WAIT, REDIS_CONNECTIONS_MAX};
use couponrush::redis::{KvError, LinkConfig, Pool, PooledCalls};
use futures_util::future::join_all;

use crate::helpers::{DEADLINE, RedisServer, now_seconds};

const WAIT: Duration = Duration::from_secs(10);

fn pool(redis: &RedisServer) -> Pool {
    redis_pool(&LinkConfig::new(&redis.url(), None).expect("the URL is good"))
}

async fn get(pool: &Pool) -> PooledCalls {
    pool.get().await.unwrap_or_else(|error| panic!("no connection: {error}"))
}

async fn text(calls: &PooledCalls, command: &[&str]) -> String {
    let mut cmd = redis::Cmd::new();
    cmd.arg(command);
    redis::from_redis_value(calls.call(&cmd, WAIT).await.expect("Redis does it")).expect("a text")
}

/// How often Redis was asked that.
async fn asked(calls: &PooledCalls, command: &str) -> u32 {
    let stats = text(calls, &["INFO", "commandstats"]).await;
    let line = format!("cmdstat_{command}:calls=");
    let count = stats.lines().find_map(|stat| stat.strip_prefix(&line)).and_then(|rest| rest.split(',').next());
    count.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_used_connection_is_compared_without_asking_redis_again() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let first = text(&get(&pool).await, &["CLIENT", "INFO"]).await;
    let compared = asked(&get(&pool).await, "info").await;
    for _ in 0..10 {
        let again = text(&get(&pool).await, &["CLIENT", "INFO"]).await;
        assert_eq!(again.split(' ').next(), first.split(' ').next(), "it is the same connection");
    }
    assert_eq!(asked(&get(&pool).await, "info").await, compared + 1, "the other one is this question");
    assert!(text(&get(&pool).await, &["INFO", "server"]).await.contains(&pool.run_id()));
}

#[tokio::test]
async fn a_restarted_redis_is_not_used_before_the_shard_is_live_there() {
    let mut redis = RedisServer::start().await;
    let pool = pool(&redis);
    drop(get(&pool).await);
    let before = pool.run_id();
    redis.kill();
    redis.restart().await;
    for _ in 0..3 {
        let error = pool.get().await.err().expect("another process answers");
        assert!(error.nothing_happened(), "{error}");
    }
    assert_eq!(pool.run_id(), before);
    let other = self::pool(&redis);
    drop(get(&other).await);
    pool.follow(&other.run_id(), None);
    assert_eq!(text(&get(&pool).await, &["ECHO", "here"]).await, "here");
}

#[tokio::test]
async fn connections_to_an_earlier_process_are_dropped_before_they_are_used_again() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let calls = get(&pool).await;
    let here = pool.run_id();
    drop(calls);
    pool.follow("a process that answers at this address no more", None);
    assert!(pool.get().await.is_err());
    pool.follow(&here, None);
    let calls = get(&pool).await;
    assert_eq!(asked(&calls, "info").await, 3, "two connections were compared and refused or taken, after the first");
}

#[tokio::test]
async fn no_more_connections_are_made_than_the_limit_and_waiting_ends_with_nothing_done() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    let taken = join_all((0..REDIS_CONNECTIONS_MAX).map(|_| get(&pool))).await;
    let began = std::time::Instant::now();
    assert!(matches!(pool.get_within(Duration::from_millis(20)).await, Err(KvError::Full)));
    assert!(began.elapsed() < REDIS_CONNECTION_WAIT);
    assert!(matches!(pool.get().await, Err(KvError::Full)));
    drop(taken);
    drop(get(&pool).await);
}

#[tokio::test]
async fn a_frozen_redis_holds_up_nobody_for_longer_than_the_limit() {
    let redis = RedisServer::start().await;
    let pool = pool(&redis);
    drop(join_all((0..REDIS_CONNECTIONS_MAX).map(|_| get(&pool))).await);
    redis.freeze();
    let began = std::time::Instant::now();
    let error = pool.get().await.err().expect("nobody answers");
    assert!(error.nothing_happened() && began.elapsed() < REDIS_CONNECTION_WAIT * 2, "{error}");
    redis.thaw();
    let back = tokio::time::timeout(DEADLINE, async {
        while pool.get().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    back.await.expect("it works again");
}

#[tokio::test]
async fn the_clock_is_that_of_the_server() {
    let redis = RedisServer::start().await;
    let calls = get(&pool(&redis)).await;
    assert!((calls.server_ms() / 1_000).abs_diff(now_seconds()) <= 1);
}
