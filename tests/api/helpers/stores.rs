//! A database and a Redis key prefix for a single test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use couponrush::app::redis_pool_of;
use couponrush::claim::{Ledger, Persister, PersisterSettings};
use couponrush::domain::{Format, ShardId};
use couponrush::mysql::instances::Process;
use couponrush::mysql::ledgers::Fence;
use couponrush::mysql::migrate::migrate_for;
use couponrush::mysql::shard_statements::ShardStatements;
use couponrush::mysql::{Db, DbLimits, installation, shards};
use couponrush::redis::{Connection, LinkConfig, Live, Outbox, Pool, Stock};
use diesel::sql_types::{Bigint, Text};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use redis::{FromRedisValue, RedisError};

use super::DEADLINE;

/// The stores of a test. A clone refers to the same stores.
#[derive(Clone)]
pub struct Stores {
    pub mysql_url: String,
    pub redis_url: String,
    pub prefix: String,
    pub db: Db,
    database: String,
    server_url: String,
}

impl Stores {
    /// Creates a database and a key prefix, on `redis_url` or on the Redis server shared by all tests.
    pub async fn create(redis_url: Option<String>) -> Self {
        Self::create_on(&setting("COUPONRUSH_MYSQL_URL"), redis_url).await
    }

    /// The same on the MySQL server of `server_url`, which names any database.
    pub async fn create_on(server_url: &str, redis_url: Option<String>) -> Self {
        let server_url = server_url.to_owned();
        let tag = format!("{:016x}", rand::random::<u64>());
        let database = format!("couponrush_test_{tag}");
        execute(&server_url, &format!("CREATE DATABASE {database}")).await;
        let (server, _) = server_url.rsplit_once('/').expect("a MySQL URL names a database");
        let mysql_url = format!("{server}/{database}");
        let db = open(&mysql_url);
        let redis_url = redis_url.unwrap_or_else(|| setting("COUPONRUSH_REDIS_URL"));
        Self { mysql_url, redis_url, prefix: format!("test-{tag}:"), db, database, server_url }
    }

    /// Migrates the database, and makes its installation the owner of the prefix. A first start would wait ten seconds
    /// for beats of other installations.
    pub async fn own(&self) {
        self.own_with(Format::NEWEST).await;
    }

    /// The same for processes that know the formats up to `known`.
    pub async fn own_with(&self, known: Format) {
        migrate_for(&self.db, known).await.expect("the database can be migrated");
        let owner = installation::id(&self.db).await.expect("MySQL answers");
        self.redis::<()>(redis::cmd("SET").arg(self.keys().owner()).arg(owner).arg("NX")).await;
    }

    /// Makes the installation the owner of the first `count` shards.
    pub async fn own_shards(&self, count: usize) {
        let owner = installation::id(&self.db).await.expect("MySQL answers");
        for shard in (0..count).filter_map(ShardId::new) {
            self.redis::<()>(redis::cmd("SET").arg(self.keys_of(shard).owner()).arg(&owner).arg("NX")).await;
        }
    }

    /// A copy of the database, with the same Redis and prefix.
    pub async fn copy(&self) -> Self {
        let copy = Self::create_on(&self.server_url, Some(self.redis_url.clone())).await;
        // A generated column takes no value.
        let columns = "SELECT CONCAT(table_name, '(', GROUP_CONCAT(column_name ORDER BY ordinal_position), ')') AS value \
            FROM information_schema.columns WHERE table_schema = DATABASE() AND COALESCE(generation_expression, '') = '' \
            GROUP BY table_name";
        for table in self.texts(columns).await {
            let (name, columns) = table.trim_end_matches(')').split_once('(').expect("the columns stand in brackets");
            let from = format!("{}.{name}", self.database);
            let copied = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {from}");
            execute(&copy.mysql_url, &format!("CREATE TABLE {name} LIKE {from}; {copied}")).await;
        }
        Self { prefix: self.prefix.clone(), ..copy }
    }

    /// The same stores with another prefix in Redis.
    pub fn with_prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// The same stores, with MySQL reached at another address.
    pub fn at(&self, address: SocketAddr) -> Self {
        let mut url = url::Url::parse(&self.mysql_url).expect("the URL is valid");
        url.set_host(Some(&address.ip().to_string())).expect("the URL has a host");
        url.set_port(Some(address.port())).expect("the URL has a port");
        let mysql_url = String::from(url);
        Self { db: open(&mysql_url), server_url: mysql_url.clone(), mysql_url, ..self.clone() }
    }

    /// The address of MySQL.
    pub fn mysql_address(&self) -> SocketAddr {
        let url = url::Url::parse(&self.mysql_url).expect("the URL is valid");
        let (host, port) = (url.host_str().expect("the URL has a host"), url.port().expect("the URL has a port"));
        SocketAddr::new(host.parse().expect("the host is an IP address"), port)
    }

    /// Deletes the database, if the server still runs.
    pub async fn remove_database(&self) {
        if let Ok(mut connection) = AsyncMysqlConnection::establish(&self.server_url).await {
            let _ = connection.batch_execute(&format!("DROP DATABASE IF EXISTS {}", self.database)).await;
        }
    }

    /// Deletes the database and the keys, on servers that still run.
    pub async fn remove(&self) {
        self.remove_database().await;
        let Ok(mut connection) = self.patient_redis_connection().await else { return };
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.prefix)).arg("COUNT").arg(5_000);
            let Ok((next, keys)) = scan.query_async::<(u64, Vec<String>)>(&mut connection).await else { return };
            if !keys.is_empty() {
                let _ = redis::cmd("UNLINK").arg(keys).query_async::<()>(&mut connection).await;
            }
            if next == 0 {
                return;
            }
            cursor = next;
        }
    }

    /// Runs a statement on this test's database.
    pub async fn execute(&self, sql: &str) {
        execute(&self.mysql_url, sql).await;
    }

    /// Runs a statement that MySQL may refuse. Returns the message of the refusal.
    pub async fn try_execute(&self, sql: &str) -> Result<(), String> {
        connect(&self.mysql_url).await.batch_execute(sql).await.map_err(|error| error.to_string())
    }

    /// The result of a query for a single number.
    pub async fn number(&self, sql: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Bigint)]
            value: i64,
        }
        let sql = format!("SELECT CAST(({sql}) AS SIGNED) AS value");
        let mut connection = connect(&self.mysql_url).await;
        diesel::sql_query(sql).get_result::<Row>(&mut connection).await.expect("the query gives a number").value
    }

    /// The text column `value` of every row of a query.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let mut connection = connect(&self.mysql_url).await;
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut connection).await.expect("the query gives texts");
        rows.into_iter().map(|row| row.value).collect()
    }

    /// Locks a table for all other connections until the returned connection is dropped. MySQL then answers but stores
    /// nothing.
    pub async fn lock_table(&self, table: &str) -> AsyncMysqlConnection {
        let mut connection = connect(&self.mysql_url).await;
        connection.batch_execute(&format!("LOCK TABLES {table} WRITE")).await.expect("MySQL executes the statement");
        connection
    }

    /// Locks a row of a table with an `id` until the returned connection is dropped. Other writers wait.
    pub async fn lock_row(&self, table: &str, id: u64) -> AsyncMysqlConnection {
        self.lock_where(table, &format!("id = {id}")).await
    }

    /// Locks the rows of a table that meet a condition until the returned connection is dropped.
    pub async fn lock_where(&self, table: &str, condition: &str) -> AsyncMysqlConnection {
        let mut connection = connect(&self.mysql_url).await;
        let lock = format!("START TRANSACTION; SELECT * FROM {table} WHERE {condition} FOR UPDATE");
        connection.batch_execute(&lock).await.expect("MySQL executes the statement");
        connection
    }

    /// Kills every other connection to this test's database. Returns their number.
    pub async fn kill_connections(&self) -> usize {
        let others = "SELECT CAST(id AS CHAR) AS value FROM information_schema.processlist \
                      WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        let ids = self.texts(others).await;
        for id in &ids {
            self.kill_connection(id).await;
        }
        ids.len()
    }

    /// Kills a connection. It may have ended already.
    pub async fn kill_connection(&self, id: &str) {
        let mut connection = connect(&self.server_url).await;
        let _ = connection.batch_execute(&format!("KILL {id}")).await;
    }

    /// A connection to Redis like the service's.
    pub async fn connection(&self) -> Connection {
        let config = LinkConfig::new(&self.redis_url, None).expect("the URL is valid");
        Connection::open(&config).await.expect("Redis answers")
    }

    /// The receiving side of a ledger, without a service. A transaction may take `store_wait`.
    pub fn persister(&self, ledger: &Ledger, store_wait: Duration, sweep_every: Duration) -> Persister {
        let settings = PersisterSettings {
            shard: ShardId::FIRST,
            batch_max: 1_000,
            linger_max: Duration::ZERO,
            store_wait,
            pauses: (Duration::from_millis(10), Duration::from_millis(100)),
            sweep_every,
            sweep_age: Duration::from_secs(60),
            sweep_batches_max: 1,
        };
        let outbox = Outbox::new(self.keys(), "test".to_owned(), Duration::from_secs(1));
        let fence = Arc::new(Fence::new(ShardId::FIRST.name(), "test".to_owned()));
        let process = Process { id: "test".to_owned(), label: "test".to_owned(), format: Format::NEWEST };
        let statements = Arc::new(ShardStatements::new(self.db.clone(), process));
        Persister::new(statements, self.pool(), outbox, fence, ledger, settings)
    }

    /// A pool of connections to Redis as the service and the commands have one.
    pub fn pool(&self) -> Pool {
        self.pool_of(ShardId::FIRST)
    }

    pub fn pool_of(&self, shard: ShardId) -> Pool {
        redis_pool_of(&LinkConfig::new(&self.redis_url, None).expect("the URL is good"), shard)
    }

    /// The loading named in the shard's row.
    pub async fn live(&self) -> Live {
        let row = shards::read(&self.db, ShardId::FIRST.name()).await.expect("MySQL answers");
        Live::new(&row.run_id, row.epoch)
    }

    pub fn stock(&self) -> Stock {
        Stock::new(self.keys(), 100_000)
    }

    /// The reply of Redis to a command.
    pub async fn redis<T: FromRedisValue>(&self, cmd: &redis::Cmd) -> T {
        let mut connection = self.patient_redis_connection().await.expect("Redis answers");
        let reply = cmd.query_async(&mut connection).await;
        // Another primary of the cluster has the slot of another shard.
        let owner = reply.as_ref().err().and_then(|error: &RedisError| Some(error.redirect_node()?.0.to_owned()));
        let reply = match owner {
            Some(owner) => {
                let client = redis::Client::open(format!("redis://{owner}/")).expect("Redis names an address");
                let mut connection = client.get_multiplexed_async_connection().await.expect("the owner answers");
                cmd.query_async(&mut connection).await
            }
            None => reply,
        };
        reply.expect("Redis executes the command")
    }

    /// A connection with long timeouts. The crate's default timeout is half a second, and a busy machine can stall for
    /// longer.
    async fn patient_redis_connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(DEADLINE)).set_response_timeout(Some(DEADLINE));
        // Clusters and sentinels name the server.
        let named =
            LinkConfig::new(&self.redis_url, None).expect("the URL is valid").ask_majority(Duration::ZERO).await;
        let url = named.map_or(self.redis_url.clone(), |(named, _)| format!("redis://{}/", named.address()));
        redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
    }
}

fn open(mysql_url: &str) -> Db {
    let wait = Duration::from_secs(10);
    let limits = DbLimits { connections_max: 4, connection_wait: wait, statement_wait: wait };
    Db::new(mysql_url, None, limits).expect("the URL is valid")
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; `make test` starts servers and sets it"))
}

async fn connect(url: &str) -> AsyncMysqlConnection {
    AsyncMysqlConnection::establish(url).await.expect("MySQL answers")
}

async fn execute(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.expect("MySQL executes the statement");
}
