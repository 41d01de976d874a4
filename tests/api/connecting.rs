//! The connection to Redis: authentication, late and lost replies, and replies of concurrent calls, which are never
//! confused.

use std::time::Duration;

use couponrush::redis::{Connection, KvError, LinkConfig};

use crate::helpers::{RedisServer, Stores};

const WAIT: Duration = Duration::from_secs(10);

async fn open(url: &str) -> Result<Connection, KvError> {
    Connection::open(&LinkConfig::new(url, None).expect("the URL is good")).await
}

async fn text(connection: &Connection, command: &[&str]) -> String {
    let mut cmd = redis::Cmd::new();
    cmd.arg(command);
    let value = connection.call(&cmd, WAIT).await.expect("Redis does it");
    redis::from_redis_value(value).expect("a text")
}

#[tokio::test]
async fn passwords_users_databases_and_unix_sockets_are_taken_from_the_url() {
    let redis = RedisServer::start().await;
    let address = redis.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let first = open(&redis.url()).await.expect("no password yet");
    for command in [
        &["SET", "where", "database 0"][..],
        &["ACL", "SETUSER", "ann", "on", ">secret/of ann", "~*", "+@all"],
        &["CONFIG", "SET", "requirepass", "p@ss"],
    ] {
        text(&first, command).await;
    }

    let third = open(&format!("redis://:p%40ss@{address}/3")).await.expect("the password is right");
    text(&third, &["SET", "where", "database 3"]).await;
    let socket = redis.socket();
    let socket = socket.display();
    for (url, place) in [
        (format!("redis://:p%40ss@{address}"), "database 0"),
        (format!("redis://ann:secret%2Fof%20ann@{address}/3"), "database 3"),
        (format!("redis+unix://{socket}?pass=p%40ss"), "database 0"),
        (format!("redis+unix://{socket}?db=3&pass=p%40ss"), "database 3"),
    ] {
        let connection = open(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(text(&connection, &["GET", "where"]).await, place, "{url}");
        assert_eq!(connection.run_id().len(), 40);
    }
    for url in [
        format!("redis://{address}"),
        format!("redis://:wrong@{address}"),
        format!("redis://nobody:p%40ss@{address}"),
        format!("redis://:p%40ss@{address}/99"),
        format!("redis+unix://{socket}.not?pass=p%40ss"),
        "redis://127.0.0.1:1/".to_owned(),
    ] {
        let error = open(&url).await.err().unwrap_or_else(|| panic!("{url} connects"));
        assert!(!error.to_string().contains("p@ss"), "{error}");
    }
    assert!(LinkConfig::new("rediss://127.0.0.1/", None).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_read_after_its_deadline_does_not_count_and_confuses_nobody() {
    let stores = Stores::create(None).await;
    let connection = stores.connection().await;
    let wait = Duration::from_millis(50);
    // A second thread reads the reply before the deadline. The caller polls only after the deadline.
    let (ping, late) = (redis::cmd("PING"), redis::cmd("TIME"));
    let block = async { std::thread::sleep(wait * 3) };
    let (late, ()) = tokio::join!(connection.call(&late, wait), block);
    assert!(matches!(late, Err(KvError::TimedOut)), "{late:?}");
    assert_eq!(connection.call(&ping, WAIT).await.ok(), Some(redis::Value::SimpleString("PONG".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_who_come_and_go_each_get_their_own_replies() {
    let stores = Stores::create(None).await;
    let connection = std::sync::Arc::new(stores.connection().await);
    let callers = (0..16).map(|caller| {
        let connection = std::sync::Arc::clone(&connection);
        tokio::spawn(async move {
            for call in 0..500 {
                let mine = format!("{caller}:{call}:{}", "x".repeat(call));
                let mut echo = redis::cmd("ECHO");
                echo.arg(&mine);
                if call % 3 == 0 {
                    // The call is dropped at a random time between the first poll and the reply.
                    let patience = Duration::from_micros(call as u64);
                    let _ = tokio::time::timeout(patience, connection.call(&echo, WAIT)).await;
                } else {
                    let value = connection.call(&echo, WAIT).await.expect("Redis answers");
                    assert_eq!(redis::from_redis_value::<String>(value).ok(), Some(mine));
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("every reply was right");
    }
}

#[tokio::test]
async fn a_killed_server_leaves_sent_calls_unknown_and_later_ones_certainly_undone() {
    let mut redis = RedisServer::start().await;
    let connection = open(&redis.url()).await.expect("Redis answers");
    redis.freeze();
    let ping = redis::cmd("PING");
    let kill = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        redis.kill();
    };
    let (sent, ()) = tokio::join!(connection.call(&ping, WAIT), kill);
    let sent = sent.expect_err("nobody answers");
    assert!(matches!(sent, KvError::Lost) && !sent.nothing_happened(), "{sent}");
    let later = connection.call(&ping, WAIT).await.expect_err("the connection is gone for ever");
    assert!(later.nothing_happened(), "{later}");
    redis.restart().await;
    assert!(connection.call(&ping, WAIT).await.is_err());
}

#[tokio::test]
async fn commands_sent_together_are_answered_in_order_and_one_error_fails_them_all() {
    let stores = Stores::create(None).await;
    let connection = stores.connection().await;
    let key = stores.keys().sweeper().to_string();
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg(&key).arg("x".repeat(300_000)).cmd("STRLEN").arg(&key).cmd("GET").arg(&key);
    let replies = connection.call_all(&pipeline, WAIT).await.expect("Redis does it");
    assert_eq!((replies.len(), &replies[1]), (3, &redis::Value::Int(300_000)));
    pipeline.cmd("INCR").arg(&key);
    assert!(matches!(connection.call_all(&pipeline, WAIT).await, Err(KvError::Unknown(_))));
    assert!(connection.call_all(&redis::pipe(), WAIT).await.is_ok_and(|replies| replies.is_empty()));
    assert!(connection.call(&redis::cmd("PING"), WAIT).await.is_ok());
}
