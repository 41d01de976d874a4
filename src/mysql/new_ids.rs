//! No id of a user, coupon or activity is issued twice, also after a failover to a server without the last rows.
//!
//! The row of `installation` names the server that last issued an id. Every insertion takes its connection or its
//! transaction from here. If the connection leads to another server, AUTO_INCREMENT of the three tables is first moved
//! on by `DISTANCE`. So a server may lack up to that many rows of each table.

use diesel::mysql::Mysql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Integer, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::last_server::{BeforeNewId, ServerRow};
use super::{Db, DbConnection, DbError, PooledConnection, QueryResult, Transaction, UnsignedBigint};

/// The number of ids that a move skips.
const DISTANCE: u64 = 100_000;
/// The moves of [`move_on`]. A restored copy may lack earlier moves, and their number is unknown.
const MOVES_AFTER_A_RESTORE: u32 = 10;

/// A table with AUTO_INCREMENT, and the values of a row that no user of the service can make.
struct IdTable {
    name: &'static str,
    columns: &'static str,
    values: &'static str,
    /// The highest id.
    id_max: u64,
}

/// The highest whole number that JSON and Lua can represent.
const WHOLE_MAX: u64 = 1 << 53;
const USERS: IdTable = IdTable {
    name: "users",
    columns: "username, kind, password_hash",
    values: "'', 'customer', ''",
    id_max: WHOLE_MAX,
};
const COUPONS: IdTable = IdTable {
    name: "coupons",
    columns: "saler_id, name, amount, left_count, face_value, description",
    values: "0, '', 0, 0, 0, ''",
    id_max: WHOLE_MAX,
};
const ACTIVITIES: IdTable = IdTable {
    name: "activities",
    columns: "coupon_id, name, start_time, end_time",
    values: "0, '', 0, 0",
    id_max: u32::MAX as u64,
};

/// Takes a connection from the pool for an insertion of users, coupons or activities. Only this connection may insert
/// them, because the next one can lead to another server.
///
/// # Errors
/// Returns a [`DbError`]. Nothing is inserted.
pub(super) async fn connect(db: &Db) -> Result<PooledConnection, DbError> {
    let mut connection = db.connect().await?;
    let row = read(db, &mut connection).await?;
    match db.last_server().judge(&row) {
        BeforeNewId::Nothing => Ok(connection),
        BeforeNewId::NameServer | BeforeNewId::MoveOn { .. } => change_server(db, connection).await,
    }
}

/// Begins a transaction that may insert users, coupons or activities.
///
/// # Errors
/// Returns a [`DbError`]. Nothing is inserted.
pub(crate) async fn begin(db: &Db) -> Result<Transaction<'_>, DbError> {
    let connection = connect(db).await?;
    db.begin_on(connection).await
}

/// Moves the next ids of users, coupons and activities on, and logs `why`. For a server that went back in time and was
/// not replaced by another server. Moves ten times the usual distance, because the server may lack earlier moves.
///
/// # Errors
/// Returns a [`DbError`]. Some ids may have been moved on. Repeating the call is safe, and moves them on again.
pub async fn move_on(db: &Db, why: &str) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    let row = lock(db, &mut tx).await?;
    let moves = move_tables(db, &mut tx, &row, MOVES_AFTER_A_RESTORE).await?;
    tx.commit().await?;
    log::warn!("mysql: new ids of users, coupons and activities were moved on at the server {}: {why}", row.server);
    db.last_server().note_moved(&row.server, moves);
    Ok(())
}

/// The next id that the server would issue for a coupon. The id is skipped or chosen by the caller.
pub(super) async fn next_coupon(db: &Db, tx: &mut Transaction<'_>) -> Result<u64, DbError> {
    let id = insert(db, tx.connection(), &COUPONS, None).await?;
    delete(db, tx.connection(), &COUPONS, id).await?;
    Ok(id)
}

/// Does under the row's lock what [`LastServer::judge`](super::LastServer::judge) asks for. Returns the same connection.
async fn change_server(db: &Db, connection: PooledConnection) -> Result<PooledConnection, DbError> {
    let mut tx = db.begin_on(connection).await?;
    let row = lock(db, &mut tx).await?;
    match db.last_server().judge(&row) {
        // Another connection came first.
        BeforeNewId::Nothing => tx.commit_and_keep().await.map_err(uncommitted),
        BeforeNewId::NameServer => {
            name_server(db, &mut tx, &row, 0).await?;
            let connection = tx.commit_and_keep().await.map_err(uncommitted)?;
            db.last_server().note_named(&row.server, row.moves);
            Ok(connection)
        }
        BeforeNewId::MoveOn { before, moves } => {
            let now = move_tables(db, &mut tx, &row, moves).await?;
            let connection = tx.commit_and_keep().await.map_err(uncommitted)?;
            log::warn!(
                "mysql: new ids are issued by the server {}, earlier ids were issued by {before}. This server may lack \
                 the last rows, so new ids of users, coupons and activities were moved on by {}",
                row.server,
                DISTANCE * u64::from(moves)
            );
            db.last_server().note_moved(&row.server, now);
            Ok(connection)
        }
    }
}

/// Moves the three tables on and names the server in the row. Returns the row's number of moves.
async fn move_tables(db: &Db, tx: &mut Transaction<'_>, row: &ServerRow, moves: u32) -> Result<u32, DbError> {
    for table in [&USERS, &COUPONS, &ACTIVITIES] {
        move_table(db, tx.connection(), table, DISTANCE * u64::from(moves)).await?;
    }
    name_server(db, tx, row, moves).await?;
    Ok(row.moves.saturating_add(moves))
}

/// Raises AUTO_INCREMENT of a table by `distance`. The first row finds the next id. InnoDB keeps AUTO_INCREMENT behind
/// the second row after its deletion, after a restart, and in a replica. No `ALTER TABLE`: it would wait for all open
/// transactions.
async fn move_table(db: &Db, connection: &mut DbConnection, table: &IdTable, distance: u64) -> Result<(), DbError> {
    let next = insert(db, connection, table, None).await?;
    delete(db, connection, table, next).await?;
    let far = next.saturating_add(distance);
    if far > table.id_max / 2 {
        log::error!(
            "mysql: ALARM: the next id of {} is not moved on: half of all ids would be used up ({far} of {})",
            table.name,
            table.id_max
        );
        return Ok(());
    }
    insert(db, connection, table, Some(far)).await?;
    delete(db, connection, table, far).await
}

/// Inserts a row with the given or the next id. Returns the row's id.
async fn insert(
    db: &Db,
    connection: &mut DbConnection,
    IdTable { name, columns, values, .. }: &IdTable,
    id: Option<u64>,
) -> Result<u64, DbError> {
    let insert = match id {
        Some(id) => format!("INSERT INTO {name} (id, {columns}) VALUES ({id}, {values})"),
        None => format!("INSERT INTO {name} ({columns}) VALUES ({values})"),
    };
    db.within("move ids on", diesel::sql_query(insert).execute(connection)).await.map_err(uncommitted)?;
    let Some(id) = id else {
        let last = diesel::select(diesel::dsl::sql::<UnsignedBigint>("LAST_INSERT_ID()"));
        return db.within("read next id", last.get_result(connection)).await.map_err(uncommitted);
    };
    Ok(id)
}

async fn delete(db: &Db, connection: &mut DbConnection, table: &IdTable, id: u64) -> Result<(), DbError> {
    let delete = diesel::sql_query(format!("DELETE FROM {} WHERE id = {id}", table.name));
    db.within("move ids on", delete.execute(connection)).await.map_err(uncommitted)?;
    Ok(())
}

/// Stores the server of the connection and `moves` further moves in the row.
async fn name_server(db: &Db, tx: &mut Transaction<'_>, row: &ServerRow, moves: u32) -> Result<(), DbError> {
    let update = diesel::sql_query("UPDATE installation SET mysql_server = ?, id_moves = ? WHERE id = 1")
        .bind::<Text, _>(&row.server)
        .bind::<Unsigned<Integer>, _>(row.moves.saturating_add(moves));
    db.within("name server", update.execute(tx.connection())).await.map_err(uncommitted)?;
    Ok(())
}

/// Reads the identity of the connection's server, and its row of `installation`. The type is a query of its own, so the
/// driver prepares the query once per connection, and a use costs a single round trip.
#[derive(Debug, Clone, Copy, QueryId)]
struct ServerAndRow;

/// The identity of the connection's server in SQL. MySQL executes the comment `/*!80000 */`, MariaDB the comment
/// `/*M! */`. MariaDB has no `server_uuid`.
pub(super) const SERVER: &str = "CONVERT(/*!80000 @@server_uuid */ \
    /*M! CONCAT(@@hostname, ':', @@port, ' server_id ', @@server_id) */ USING utf8mb4)";

impl Query for ServerAndRow {
    type SqlType = (Text, Text, Unsigned<Integer>);
}

impl QueryFragment<Mysql> for ServerAndRow {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Mysql>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(SERVER);
        out.push_sql(", mysql_server, id_moves FROM installation WHERE id = 1");
        Ok(())
    }
}

async fn read(db: &Db, connection: &mut DbConnection) -> Result<ServerRow, DbError> {
    let row = db.within("find server", ServerAndRow.get_result(connection)).await;
    let (server, named, moves): (String, String, u32) = row.map_err(uncommitted)?;
    Ok(ServerRow { server, named, moves })
}

/// Locks the row of `installation` until the end of the transaction, then reads it.
async fn lock(db: &Db, tx: &mut Transaction<'_>) -> Result<ServerRow, DbError> {
    let lock = diesel::sql_query("SELECT id FROM installation WHERE id = 1 FOR UPDATE");
    db.within("lock installation", lock.execute(tx.connection())).await.map_err(uncommitted)?;
    read(db, tx.connection()).await
}

/// Marks an error from before the insertion, which did not happen. Also [`DbError::Duplicate`] is marked, because the
/// caller would take it for a duplicate of its own row.
fn uncommitted(error: DbError) -> DbError {
    DbError::Uncommitted(Box::new(error))
}
