//! MySQL: the connection pool, its errors, and a file for each table.
//!
//! All SQL statements of the program are here. Redis is unknown here. [`DbLimits`] bounds every wait.

pub mod activities;
mod address;
pub mod archive;
pub mod audit;
pub mod blocks;
mod causal;
pub mod claim_rows;
pub mod claims;
pub mod coupon_lists;
pub mod coupons;
pub mod erasing;
mod error;
pub mod formats;
pub mod import;
pub mod installation;
pub mod instances;
pub mod known_networks;
mod last_server;
pub mod ledgers;
pub mod merchant_keys;
pub mod migrate;
pub mod mirrored;
pub mod new_ids;
pub mod poisoned;
pub mod redemptions;
pub mod restore;
pub mod revoked_tokens;
pub mod rights;
pub mod row_scan;
pub mod saler_skeletons;
pub(crate) mod schema;
pub mod second_factors;
pub mod seed;
pub mod server_settings;
mod server_version;
pub mod settings;
pub mod shard_statements;
pub mod shards;
pub mod staff;
pub mod standing;
pub mod trail;
mod unreadable;
pub mod users;
mod writable;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::result::DatabaseErrorKind;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::{Pool, PoolError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError as ManagerError, RecyclingMethod,
};
use diesel_async::{AnsiTransactionManager, AsyncMysqlConnection, SimpleAsyncConnection, TransactionManager};
use futures_util::FutureExt;

pub use address::{MysqlAddressError, asks_for_tls};
pub use error::DbError;
pub use last_server::LastServer;
pub use unreadable::{UnreadableRow, UnreadableRows};

use crate::base::{Histogram, Tls};
use crate::domain::Kind;

use address::MysqlAddress;
use writable::Access;
pub use writable::PooledConnection;

/// The SQL type of ids and of counters.
type UnsignedBigint = diesel::sql_types::Unsigned<diesel::sql_types::Bigint>;

/// A connection outside the pool, for the ledger and for streaming reads.
pub type DbConnection = AsyncMysqlConnection;

/// The result of a statement before the statement's name is added.
pub type QueryResult<T> = diesel::QueryResult<T>;
/// An error of MySQL before the statement's name is added.
pub type QueryError = diesel::result::Error;

/// The size of the pool and the timeouts.
#[derive(Debug, Clone, Copy)]
pub struct DbLimits {
    pub connections_max: usize,
    pub connection_wait: Duration,
    pub statement_wait: Duration,
}

/// The connection pool. Clones share the pool.
#[derive(Clone)]
pub struct Db {
    pool: Pool<AsyncMysqlConnection>,
    address: MysqlAddress,
    access: Access,
    /// Whether connections wait for earlier commits of other nodes of a cluster.
    is_causal: bool,
    limits: DbLimits,
    times: Arc<Histogram>,
    unreadable: Arc<UnreadableRows>,
    last_server: Arc<LastServer>,
}

/// The pools of an instance. Users' load can fill only `users`, so an operator and the instance itself always get a
/// connection of `control`. Clones share the pools.
#[derive(Clone)]
pub struct DbPools {
    /// For routes of customers and salers, and for publishing.
    pub users: Db,
    /// For recovery, beats, revocations, settings, the blacklist, etcd and admins.
    pub control: Db,
}

/// The use of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    pub connections_max: usize,
    /// Connections that are in use or being opened.
    pub busy: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
}

impl Db {
    /// Creates the pool without connecting. Every connection leads to a server that accepts writes.
    ///
    /// # Errors
    /// Returns a [`MysqlAddressError`].
    pub fn new(url: &str, tls: Option<&Tls>, limits: DbLimits) -> Result<Self, MysqlAddressError> {
        Self::with_access(MysqlAddress::new(url, tls)?, limits, Access::Write, false)
    }

    /// Like [`Db::new`], for work that only reads. The server may be a replica.
    ///
    /// # Errors
    /// Returns a [`MysqlAddressError`].
    pub fn to_read(url: &str, tls: Option<&Tls>, limits: DbLimits) -> Result<Self, MysqlAddressError> {
        Self::with_access(MysqlAddress::new(url, tls)?, limits, Access::Read, false)
    }

    fn with_access(
        address: MysqlAddress,
        limits: DbLimits,
        access: Access,
        is_causal: bool,
    ) -> Result<Self, MysqlAddressError> {
        let mut config = ManagerConfig::default();
        let place = address.clone();
        config.custom_setup = Box::new(move |_| establish(place.clone(), access, is_causal).boxed());
        // The check of a used connection is a statement in any case. So this check costs no further round trip.
        config.recycling_method =
            RecyclingMethod::CustomFunction(Box::new(move |used| writable::check(used, access).boxed()));
        let manager = AsyncDieselConnectionManager::<AsyncMysqlConnection>::new_with_config("", config);
        let pool = Pool::builder(manager)
            .max_size(limits.connections_max)
            .wait_timeout(Some(limits.connection_wait))
            .create_timeout(Some(limits.connection_wait))
            .recycle_timeout(Some(limits.connection_wait))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(MysqlAddressError::Pool)?;
        Ok(Self {
            pool,
            address,
            access,
            is_causal,
            limits,
            times: Arc::new(Histogram::of_times()),
            unreadable: Arc::default(),
            last_server: Arc::default(),
        })
    }

    /// Creates another pool for the same server, with statistics and the last server in common. In a cluster, its
    /// statements see all earlier commits of other nodes.
    ///
    /// # Errors
    /// Returns a [`MysqlAddressError`].
    pub fn beside(&self, connections_max: usize) -> Result<Self, MysqlAddressError> {
        let other =
            Self::with_access(self.address.clone(), DbLimits { connections_max, ..self.limits }, self.access, true)?;
        let (times, unreadable) = (Arc::clone(&self.times), Arc::clone(&self.unreadable));
        Ok(Self { times, unreadable, last_server: Arc::clone(&self.last_server), ..other })
    }

    /// The use of the pool at this moment.
    pub fn pool_use(&self) -> PoolUse {
        let status = self.pool.status();
        let busy = status.size.saturating_sub(status.available);
        PoolUse { connections_max: status.max_size, busy, waiting: status.waiting }
    }

    /// Takes a live connection from the pool.
    ///
    /// # Errors
    /// Returns [`DbError::Unreachable`], [`DbError::ReadOnly`] or [`DbError::TooOld`]. Nothing was sent.
    pub async fn connect(&self) -> Result<PooledConnection, DbError> {
        // The timeout covers the whole call. If MySQL is frozen, every idle connection would cost a separate timeout.
        match tokio::time::timeout(self.limits.connection_wait, self.pool.get()).await {
            Ok(connection) => connection.map(PooledConnection::new).map_err(not_connected),
            Err(elapsed) => Err(DbError::Unreachable(elapsed.into())),
        }
    }

    /// Opens a connection outside the pool, for work that holds the connection long.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_alone(&self) -> Result<DbConnection, DbError> {
        let opening = establish(self.address.clone(), self.access, self.is_causal);
        match tokio::time::timeout(self.limits.connection_wait, opening).await {
            Ok(connection) => connection.map_err(not_established),
            Err(elapsed) => Err(DbError::Unreachable(elapsed.into())),
        }
    }

    /// Runs `statement` with the timeout of statements. `operation` names the statement in an error.
    pub(crate) async fn within<T>(
        &self,
        operation: &'static str,
        statement: impl Future<Output = QueryResult<T>>,
    ) -> Result<T, DbError> {
        let began = Instant::now();
        let result = within(operation, self.limits.statement_wait, statement).await;
        self.times.note_time(began.elapsed());
        result
    }

    /// A histogram of the durations of statements.
    pub fn times(&self) -> &Histogram {
        &self.times
    }

    /// The unreadable rows of coupons and activities found so far.
    pub fn unreadable(&self) -> &UnreadableRows {
        &self.unreadable
    }

    /// The server that this process last issued an id through.
    pub fn last_server(&self) -> &LastServer {
        &self.last_server
    }

    /// The error of a read that needs the row.
    pub(crate) fn unreadable_error(&self, row: UnreadableRow) -> DbError {
        self.unreadable.note(row.clone());
        row.into()
    }

    /// Checks that MySQL answers and accepts writes, with a statement without effect.
    ///
    /// # Errors
    /// Returns a [`DbError`].
    pub async fn ping(&self) -> Result<(), DbError> {
        let mut connection = self.connect().await?;
        self.within("ping", connection.batch_execute("DO 1")).await
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'_>, DbError> {
        let connection = self.connect().await?;
        self.begin_on(connection).await
    }

    /// Begins a transaction on a connection of this pool.
    pub(crate) async fn begin_on(&self, connection: PooledConnection) -> Result<Transaction<'_>, DbError> {
        let mut tx = Transaction { db: self, connection: Some(connection) };
        let begin = AnsiTransactionManager::begin_transaction(tx.connection());
        self.within("begin", begin).await.map_err(DbError::before_commit)?;
        Ok(tx)
    }
}

impl DbPools {
    /// The pool for requests of a user of this kind.
    pub const fn of(&self, kind: Kind) -> &Db {
        match kind {
            Kind::Admin => &self.control,
            Kind::Customer | Kind::Saler | Kind::Staff => &self.users,
        }
    }
}

/// Runs `statement` with the timeout `wait`. `operation` names the statement in an error.
pub(crate) async fn within<T>(
    operation: &'static str,
    wait: Duration,
    statement: impl Future<Output = QueryResult<T>>,
) -> Result<T, DbError> {
    match tokio::time::timeout(wait, statement).await {
        Ok(result) => result.map_err(|source| DbError::from_diesel(operation, source)),
        Err(_) => Err(DbError::TimedOut { operation }),
    }
}

fn not_connected(error: PoolError) -> DbError {
    match error {
        PoolError::Backend(ManagerError::ConnectionError(error)) => not_established(error),
        error => DbError::Unreachable(error.into()),
    }
}

fn not_established(error: ConnectionError) -> DbError {
    match error {
        ConnectionError::CouldntSetupConfiguration(QueryError::DatabaseError(
            DatabaseErrorKind::ReadOnlyTransaction,
            refused,
        )) => DbError::ReadOnly { settings: refused.message().to_owned() },
        ConnectionError::CouldntSetupConfiguration(QueryError::QueryBuilderError(refused)) => {
            refused.downcast().map_or_else(DbError::Unreachable, |too_old| DbError::TooOld(*too_old))
        }
        error => DbError::Unreachable(error.into()),
    }
}

/// A transaction on a connection of the pool. An open transaction holds locks and must not return to the pool. Dropping
/// the value before [`Transaction::commit`] or [`Transaction::roll_back`] closes the connection, and MySQL rolls back.
pub(crate) struct Transaction<'a> {
    db: &'a Db,
    /// `None` only at the end of the transaction.
    connection: Option<PooledConnection>,
}

impl Transaction<'_> {
    pub(crate) fn connection(&mut self) -> &mut AsyncMysqlConnection {
        self.connection.as_mut().expect("the connection is taken only when the transaction is consumed")
    }

    /// Commits. After an error the outcome is unknown.
    pub(crate) async fn commit(self) -> Result<(), DbError> {
        self.commit_and_keep().await.map(drop)
    }

    /// Like [`Transaction::commit`]. Returns the connection, for the caller's next statement on the same server.
    pub(crate) async fn commit_and_keep(mut self) -> Result<PooledConnection, DbError> {
        let db = self.db;
        db.within("commit", AnsiTransactionManager::commit_transaction(self.connection())).await?;
        Ok(self.connection.take().expect("the connection is taken only when the transaction is consumed"))
    }

    /// Rolls back and returns the connection to the pool.
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
            connection.close();
        }
    }
}

/// READ COMMITTED, because the ledger and changes of coupons lock the rows they read. The timeouts are short, because a
/// client frozen before `COMMIT` would otherwise hold a hot row for hours. A statement that waits for a whole table would
/// hold rows, too: MySQL does not notice that its client has hung up meanwhile.
const SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET SESSION innodb_lock_wait_timeout = 5; \
    SET SESSION lock_wait_timeout = 5; \
    SET SESSION wait_timeout = 30";

async fn establish(address: MysqlAddress, access: Access, is_causal: bool) -> ConnectionResult<AsyncMysqlConnection> {
    let mut connection = address.connect().await?;
    connection.batch_execute(SESSION).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    writable::check(&mut connection, access).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    if is_causal {
        let waits = causal::wait_for_earlier_commits(&mut connection).await;
        waits.map_err(ConnectionError::CouldntSetupConfiguration)?;
    }
    Ok(connection)
}
