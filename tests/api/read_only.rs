//! MySQL servers that refuse writes: after a switchover, the open connections lead to a replica.

use std::time::{Duration, Instant};

use couponrush::mysql::{Db, DbError, DbLimits, PooledConnection};
use diesel::sql_types::{Bigint, Text, Unsigned};
use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};

use crate::helpers::{Got, MysqlServer, Relay, Stores, TestApp, customers, eventually, rush};

const PATIENCE: Duration = Duration::from_secs(20);

async fn mysql_state(app: &TestApp) -> Value {
    app.instances[0].ops.get("/readyz", "").await.json()["mysql"].clone()
}

async fn until_state(app: &TestApp, state: &str) {
    eventually(&format!("MySQL is {state}"), || async { mysql_state(app).await["state"] == state }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_with_standing_connections_is_followed_without_a_restart() {
    let mut old = MysqlServer::start().await;
    let relay = Relay::start(&[old.address]).await;
    let stores = Stores::create_on(&old.url(), None).await.at(relay.address);
    let mut app = TestApp::start_on(stores, |_| {}).await;
    let saler = app.client().user("shop", "saler").await;
    app.client().create_coupon("shop", &saler, "few", 100).await;
    let crowd = customers(&app.stores, "crowd", 40).await;
    let claim = async |app: &TestApp, place: usize| {
        let clients = [app.client().clone()];
        let got = rush(&clients, &crowd[place..place + 10], ("shop", "few"), 4, PATIENCE).await;
        assert!(got.iter().all(Got::has_unit), "{got:?}");
    };
    claim(&app, 0).await;
    app.settle().await;
    app.stop().await;
    let new = old.copy().await;
    app.start_another().await;
    until_state(&app, "up").await;

    // The user of MySQL may write in spite of `read_only`. The old server must get nothing all the same.
    old.execute("SET GLOBAL read_only = 1").await;
    until_state(&app, "read-only").await;
    claim(&app, 10).await;
    let ready = app.instances[0].ops.get("/readyz", "").await;
    assert_eq!((ready.status, &ready.json()["mysql"]["refuses_by"]), (200, &json!("read_only")));
    let metrics = app.instances[0].ops.get("/metrics", "").await.text;
    assert!(metrics.contains("couponrush_mysql_read_only 1\n") && metrics.contains("couponrush_mysql_up 0\n"));
    let refused = app.client().register("late", "customer").await;
    assert_eq!((refused.status, refused.error().2.as_str()), (503, "unavailable"));

    relay.lead_to(&[new.address]);
    until_state(&app, "up").await;
    assert_eq!(mysql_state(&app).await["refuses_by"], Value::Null);
    app.settle().await;
    claim(&app, 20).await;
    app.settle().await;
    let (rows, names) = ("SELECT COUNT(*) FROM claims", "SELECT COUNT(*) FROM users WHERE username = 'late'");
    assert_eq!(app.stores.at(new.address).number(rows).await, 30);
    assert_eq!(app.stores.at(old.address).number(rows).await, 10);
    assert_eq!(app.client().register("late", "customer").await.status, 201);
    assert_eq!(app.stores.at(new.address).number(names).await, 1);

    // The connection that stores claims is in use, and its user may still write. Nothing is stored all the same. A server
    // that accepts writes again needs no new connection.
    new.execute("SET GLOBAL read_only = 1").await;
    claim(&app, 30).await;
    until_state(&app, "read-only").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.stores.at(new.address).number(rows).await, 30);
    new.execute("SET GLOBAL read_only = 0").await;
    until_state(&app, "up").await;
    assert_eq!(app.client().register("later", "customer").await.status, 201);
    app.settle().await;
    assert_eq!(app.stores.at(new.address).number(rows).await, 40);
    // The checks at the end need the server.
    drop(app);
}

/// A pool with a single connection.
fn single(url: &str) -> Db {
    let wait = Duration::from_secs(10);
    Db::new(url, None, DbLimits { connections_max: 1, connection_wait: wait, statement_wait: wait })
        .expect("a valid URL")
}

async fn number(connection: &mut PooledConnection, sql: &str) -> u64 {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Unsigned<Bigint>)]
        value: u64,
    }
    let sql = format!("SELECT CAST(({sql}) AS UNSIGNED) AS value");
    diesel::sql_query(sql).get_result::<Row>(connection).await.expect("the query gives a number").value
}

/// The statements of the connection so far.
async fn statements(connection: &mut PooledConnection) -> u64 {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text, column_name = "Value")]
        value: String,
    }
    let sent = "SHOW SESSION STATUS WHERE Variable_name IN \
                ('Com_stmt_prepare', 'Com_stmt_execute', 'Com_select', 'Com_set_option')";
    let rows: Vec<Row> = diesel::sql_query(sent).load(connection).await.expect("MySQL answers");
    rows.iter().map(|row| row.value.parse::<u64>().expect("a count")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_closes_the_connection_and_an_error_of_the_data_does_not() {
    let stores = Stores::create(None).await;
    stores.execute("CREATE TABLE one (id INT PRIMARY KEY)").await;
    let db = single(&stores.mysql_url);
    let id = async || number(&mut db.connect().await.expect("MySQL answers"), "SELECT CONNECTION_ID()").await;
    let fails = async |sql: &str| {
        let mut connection = db.connect().await.expect("MySQL answers");
        connection.batch_execute(sql).await.expect_err("the statement fails")
    };
    let first = id().await;
    assert_eq!(id().await, first);
    fails("INSERT INTO one VALUES (1), (1)").await;
    assert_eq!(id().await, first, "a duplicate says nothing of the connection");
    let error = fails("START TRANSACTION READ ONLY; INSERT INTO one VALUES (2)").await;
    assert!(error.to_string().contains("READ ONLY"), "{error}");
    let second = id().await;
    assert_ne!(second, first, "the server refused a write");
    fails("no statement").await;
    let third = id().await;
    assert_ne!(third, second, "an error without a known kind");
    let mut connection = db.connect().await.expect("MySQL answers");
    let waited = tokio::time::timeout(Duration::from_millis(50), connection.batch_execute("DO SLEEP(5)")).await;
    waited.expect_err("the statement takes longer");
    drop(connection);
    let began = Instant::now();
    assert_ne!(id().await, third, "the reply to the statement would be read as a reply to the next");
    assert!(began.elapsed() < Duration::from_secs(3), "the next caller waited for the statement");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_connection_is_checked_by_a_single_statement() {
    let stores = Stores::create(None).await;
    let db = single(&stores.mysql_url);
    let mut counts = Vec::new();
    for checkouts in [1, 1, 3] {
        for _ in 1..checkouts {
            drop(db.connect().await.expect("MySQL answers"));
        }
        counts.push(statements(&mut db.connect().await.expect("MySQL answers")).await);
    }
    let [first, second, third] = counts[..] else { unreachable!("three counts were taken") };
    let check = 2; // a statement is counted twice: as sent, and as executed
    assert_eq!((third - second) - (second - first), 2 * check, "{counts:?}");
    stores.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_gives_no_connection_but_to_commands_that_only_read() {
    let server = MysqlServer::start().await;
    server.execute("SET GLOBAL read_only = 1").await;
    let limits = DbLimits {
        connections_max: 1,
        connection_wait: Duration::from_secs(10),
        statement_wait: Duration::from_secs(10),
    };
    let db = Db::new(&server.url(), None, limits).expect("a valid URL");
    for error in [db.connect().await.err(), db.connect_alone().await.err(), db.ping().await.err()] {
        assert!(matches!(&error, Some(DbError::ReadOnly { settings }) if settings == "read_only"), "{error:?}");
    }
    let reading = Db::to_read(&server.url(), None, limits).expect("a valid URL");
    reading.ping().await.expect("reading is allowed");
    reading.connect_alone().await.expect("reading is allowed");
}
