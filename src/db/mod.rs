//! MySQL: the pool, what can go wrong with it, and one file a table.
//!
//! Owns every SQL statement of the program but the audit's. Deliberately knows nothing of Redis. Every wait is bounded: for a connection
//! by [`Limits::connection_wait`], for a statement by [`Limits::statement_wait`].

pub mod activities;
pub mod blocks;
pub mod claim_rows;
pub mod claims;
pub mod coupons;
pub mod import;
pub mod instances;
pub mod migrate;
pub mod mirrored;
pub mod redemptions;
pub mod revoked_tokens;
pub(crate) mod schema;
pub mod seed;
pub mod settings;
pub mod shards;
pub mod users;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::result::DatabaseErrorKind;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError as ManagerError};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection, TransactionManager,
};
use futures_util::FutureExt;

use crate::figures::Histogram;

/// A connection of its own, outside the pool: for the ledger and for streaming reads.
pub type Connection = AsyncMysqlConnection;

/// Bounds of the pool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections_max: usize,
    pub connection_wait: Duration,
    pub statement_wait: Duration,
}

/// A failure of MySQL, by what it says about the statement that met it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be had: nothing was sent, nothing has happened.
    #[error("no connection to MySQL")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A unique key exists already: nothing has happened.
    #[error("{operation}: exists already")]
    Duplicate { operation: &'static str },
    /// The statement was sent and no good answer came: it may have happened.
    #[error("{operation} failed")]
    Failed {
        operation: &'static str,
        #[source]
        source: diesel::result::Error,
    },
    /// The statement was sent and no answer came in time: it may have happened.
    #[error("{operation} was not answered in time")]
    TimedOut { operation: &'static str },
    /// A statement failed before its transaction was committed: nothing has happened.
    #[error(transparent)]
    Uncommitted(Box<DbError>),
    /// A row that this program cannot have written.
    #[error("{operation}: unreadable row: {what}")]
    Unreadable { operation: &'static str, what: String },
}

/// The pool. Cloning it is cheap and shares it.
#[derive(Clone)]
pub struct Db {
    pool: Pool<AsyncMysqlConnection>,
    url: String,
    limits: Limits,
    times: Arc<Histogram>,
}

impl Db {
    /// Makes the pool; connects to nothing yet.
    ///
    /// # Errors
    /// [`DbError::Unreachable`] where the pool cannot be built at all.
    pub fn new(url: &str, limits: Limits) -> Result<Self, DbError> {
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(|url| establish(url).boxed());
        let manager = AsyncDieselConnectionManager::<AsyncMysqlConnection>::new_with_config(url, config);
        let pool = Pool::builder(manager)
            .max_size(limits.connections_max)
            .wait_timeout(Some(limits.connection_wait))
            .create_timeout(Some(limits.connection_wait))
            .recycle_timeout(Some(limits.connection_wait))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| DbError::Unreachable(error.into()))?;
        Ok(Self { pool, url: url.to_owned(), limits, times: Arc::new(Histogram::of_times()) })
    }

    /// A connection of the pool, checked to be alive.
    ///
    /// # Errors
    /// [`DbError::Unreachable`]: nothing was sent.
    pub async fn connect(&self) -> Result<Object<AsyncMysqlConnection>, DbError> {
        // Around all of it: where MySQL is frozen, each idle connection would cost a wait of its own.
        match tokio::time::timeout(self.limits.connection_wait, self.pool.get()).await {
            Ok(connection) => connection.map_err(unreachable),
            Err(elapsed) => Err(DbError::Unreachable(elapsed.into())),
        }
    }

    /// A connection outside the pool, for work that holds it long.
    ///
    /// # Errors
    /// [`DbError::Unreachable`]: nothing was sent.
    pub async fn connect_alone(&self) -> Result<Connection, DbError> {
        let connecting = establish(&self.url);
        match tokio::time::timeout(self.limits.connection_wait, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(DbError::Unreachable(error.into())),
            Err(elapsed) => Err(DbError::Unreachable(elapsed.into())),
        }
    }

    /// Waits for `statement` up to the deadline of statements and names the `operation` in its error.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        statement: impl Future<Output = diesel::QueryResult<T>>,
    ) -> Result<T, DbError> {
        let began = Instant::now();
        let result = within(operation, self.limits.statement_wait, statement).await;
        self.times.note_time(began.elapsed());
        result
    }

    /// How long statements take.
    pub fn times(&self) -> &Histogram {
        &self.times
    }

    /// Asks MySQL for nothing, to see that it answers.
    ///
    /// # Errors
    /// As any statement.
    pub async fn ping(&self) -> Result<(), DbError> {
        let mut connection = self.connect().await?;
        self.within("ping", connection.batch_execute("DO 1")).await
    }
}

impl DbError {
    pub(crate) fn from_diesel(operation: &'static str, source: diesel::result::Error) -> Self {
        match source {
            diesel::result::Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
                Self::Duplicate { operation }
            }
            source => Self::Failed { operation, source },
        }
    }

    /// Whether it is certain that nothing has happened.
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Duplicate { .. } | Self::Uncommitted(_) => true,
            Self::Failed { .. } | Self::TimedOut { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// The same failure, met before the transaction's `COMMIT` was sent.
    pub(crate) fn before_commit(self) -> Self {
        if self.nothing_happened() { self } else { Self::Uncommitted(Box::new(self)) }
    }
}

/// Waits for `statement` up to `wait` and names the `operation` in its error.
pub(crate) async fn within<T>(
    operation: &'static str,
    wait: Duration,
    statement: impl Future<Output = diesel::QueryResult<T>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(wait, statement).await {
        Ok(result) => result.map_err(|source| DbError::from_diesel(operation, source)),
        Err(_) => Err(DbError::TimedOut { operation }),
    }
}

fn unreachable(error: PoolError) -> DbError {
    match error {
        PoolError::Backend(ManagerError::ConnectionError(error)) => DbError::Unreachable(error.into()),
        error => DbError::Unreachable(error.into()),
    }
}

/// Statements that must happen together or not at all, on a connection of the pool.
///
/// It holds locks, so it must not wait in the pool for somebody to find it open: dropped before [`Transaction::commit`] or
/// [`Transaction::roll_back`], its connection is closed, which rolls it back.
pub(crate) struct Transaction<'a> {
    db: &'a Db,
    /// There until the transaction is over.
    connection: Option<Object<AsyncMysqlConnection>>,
}

impl Db {
    pub(crate) async fn begin(&self) -> Result<Transaction<'_>, DbError> {
        let mut tx = Transaction { db: self, connection: Some(self.connect().await?) };
        let begin = AnsiTransactionManager::begin_transaction(tx.connection());
        self.within("begin", begin).await.map_err(DbError::before_commit)?;
        Ok(tx)
    }
}

impl Transaction<'_> {
    /// Where the transaction's statements go.
    pub(crate) fn connection(&mut self) -> &mut AsyncMysqlConnection {
        self.connection.as_mut().expect("only what ends the transaction takes it, and drops the transaction with it")
    }

    /// Commits. An error says that the outcome is unknown.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        let db = self.db;
        db.within("commit", AnsiTransactionManager::commit_transaction(self.connection())).await?;
        self.connection = None;
        Ok(())
    }

    /// Ends it with nothing changed, and gives the connection back to the pool.
    pub(crate) async fn roll_back(mut self) {
        let db = self.db;
        let ended = db.within("roll back", AnsiTransactionManager::rollback_transaction(self.connection())).await;
        if ended.is_ok() {
            self.connection = None;
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// READ COMMITTED because the ledger and changes of coupons lock the rows they read; short waits because a client frozen
/// before `COMMIT` would otherwise hold a hot row for hours.
const SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET SESSION innodb_lock_wait_timeout = 5; \
    SET SESSION wait_timeout = 30";

async fn establish(url: &str) -> ConnectionResult<AsyncMysqlConnection> {
    let mut connection = AsyncMysqlConnection::establish(url).await?;
    connection.batch_execute(SESSION).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}
