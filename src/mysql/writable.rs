//! Whether a MySQL server is new enough and accepts writes.
//!
//! A switchover makes the old primary read-only, but leaves the connections to it open. So every connection is checked
//! before it is used, and a connection is closed after an error that is not about the statement's data. The next
//! connection may lead to the new primary.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::QueryResult;
use diesel::connection::InstrumentationEvent;
use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::Text;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncConnection, AsyncMysqlConnection};

use super::server_version;

/// What the connections of a pool are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Only connections to a server that accepts writes.
    Write,
    /// Connections to any server.
    Read,
}

/// Reads the names of the settings by which the server refuses writes, separated by commas, and the server's version.
/// The type is a query of its own, because the driver prepares a query without a type again for every use, at the cost
/// of a round trip.
#[derive(Debug, Clone, Copy, QueryId)]
struct SettingsAndVersion;

/// An expression for the names of the settings by which the server refuses writes, separated by commas.
///
/// MySQL executes the comment `/*!80000 */`, MariaDB the comment `/*M! */`. Neither has all variables of the other. MySQL
/// before version 8.0 executes neither comment.
/// `super_read_only` is not read, because it sets `read_only`, too.
macro_rules! refusing_settings {
    () => {
        "CONCAT_WS(', ', \
         IF(CONCAT(@@GLOBAL.read_only) IN ('0', 'OFF'), NULL, 'read_only'), \
         IF(@@GLOBAL.innodb_read_only, 'innodb_read_only', NULL), \
         IF(/*!80000 @@SESSION.transaction_read_only OR */ /*M! @@SESSION.tx_read_only OR */ FALSE, \
         'transaction_read_only', NULL))"
    };
}
pub(super) use refusing_settings;

/// A Galera node outside of its cluster (`wsrep_ready` is off) still executes a SELECT without a table, but refuses one
/// with a derived table (error 1047).
const SETTINGS_AND_VERSION: &str =
    concat!("SELECT settings, @@version FROM (SELECT ", refusing_settings!(), " AS settings) AS refusing");

impl Query for SettingsAndVersion {
    type SqlType = (Text, Text);
}

impl QueryFragment<Mysql> for SettingsAndVersion {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql(SETTINGS_AND_VERSION);
        Ok(())
    }
}

/// Checks in a single round trip that the connection leads to a server that is new enough and allows `access`.
///
/// # Errors
/// Returns an error of the kind `ReadOnlyTransaction` if the server refuses writes that are wanted. The message names the
/// settings. Returns a [`QueryError::QueryBuilderError`] with [`TooOld`](crate::base::TooOld) if the server is too old.
pub(super) async fn check(connection: &mut AsyncMysqlConnection, access: Access) -> QueryResult<()> {
    // Imported here only: its methods hide those of atomics.
    use diesel_async::RunQueryDsl;
    let (refusing, version): (String, String) = SettingsAndVersion.get_result(connection).await?;
    server_version::check(&version).map_err(|too_old| QueryError::QueryBuilderError(Box::new(too_old)))?;
    if refusing.is_empty() || access == Access::Read {
        return Ok(());
    }
    Err(QueryError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, Box::new(refusing)))
}

/// A connection of the pool. Dropping the value returns the connection to the pool. The connection is closed instead
/// after an error that is not about the data of a statement, and if the reply to a statement was not awaited.
pub struct PooledConnection {
    /// `None` only during the drop.
    object: Option<Object<AsyncMysqlConnection>>,
    state: Arc<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    failed: AtomicBool,
    /// A statement was sent and its reply has not been read. A timeout drops the wait for a reply.
    is_waiting: AtomicBool,
}

impl ConnectionState {
    fn note(&self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => self.is_waiting.store(true, Ordering::Relaxed),
            InstrumentationEvent::FinishQuery { error, .. } => {
                self.is_waiting.store(false, Ordering::Relaxed);
                if error.is_some_and(|error| !is_about_data(error)) {
                    self.failed.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

impl PooledConnection {
    pub(super) fn new(mut object: Object<AsyncMysqlConnection>) -> Self {
        let state = Arc::<ConnectionState>::default();
        let noted = Arc::clone(&state);
        object.set_instrumentation(move |event: InstrumentationEvent<'_>| noted.note(event));
        Self { object: Some(object), state }
    }

    /// Closes the connection. MySQL rolls back an open transaction.
    pub(super) fn close(self) {
        self.state.failed.store(true, Ordering::Relaxed);
    }
}

/// Whether the error says nothing of the server and the connection. The driver does not pass on the number of an error,
/// so read-only servers (1290, 1792, 1836) and servers outside of their cluster (1047) look like all other errors.
fn is_about_data(error: &QueryError) -> bool {
    use DatabaseErrorKind::{CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation};
    match error {
        QueryError::DatabaseError(kind, _) => {
            matches!(kind, UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation)
        }
        _ => true,
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if (self.state.failed.load(Ordering::Relaxed) || self.state.is_waiting.load(Ordering::Relaxed))
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

impl Deref for PooledConnection {
    type Target = AsyncMysqlConnection;

    fn deref(&self) -> &AsyncMysqlConnection {
        self.object.as_ref().expect("the connection is taken only by the drop")
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut AsyncMysqlConnection {
        self.object.as_mut().expect("the connection is taken only by the drop")
    }
}
