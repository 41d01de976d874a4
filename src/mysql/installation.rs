//! The id of the installation, in the table `installation`: a database and everything that belongs to it.
//!
//! A copied database has the id of the original until [`renew`] gives it another one.

use diesel::sql_types::{Bigint, Unsigned, Varchar};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::instances::DEAD_AFTER;
use super::{Db, DbError};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Varchar)]
    value: String,
}

/// Reads the id, 32 hexadecimal digits. Empty before the first migration.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn id(db: &Db) -> Result<String, DbError> {
    let mut connection = db.connect().await?;
    let query = sql_query("SELECT installation_id AS value FROM installation WHERE id = 1");
    Ok(db.within("read installation", query.get_result::<Row>(&mut connection)).await?.value)
}

/// Makes the id, unless the database has one. The statement has the id as a literal, so every replica stores the same
/// id.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub(super) async fn make_id(db: &Db) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let update = format!(
        "UPDATE installation SET installation_id = '{:032x}' WHERE id = 1 AND installation_id = ''",
        rand::random::<u128>()
    );
    db.within("make installation", sql_query(update).execute(&mut connection)).await?;
    Ok(())
}

/// The outcome of [`renew`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// The database has the id `after` instead of `before`.
    Done { before: String, after: String },
    /// The instance with this label uses the database. Nothing has changed.
    InUse(String),
}

/// Gives the database another id, and deletes the names of the loaded Redis from the shards. Refused while an instance
/// uses the database.
///
/// # Errors
/// Returns a [`DbError`]. The change may have happened.
pub async fn renew(db: &Db) -> Result<Renewal, DbError> {
    let mut tx = db.begin().await?;
    let lock = sql_query("SELECT installation_id AS value FROM installation WHERE id = 1 FOR UPDATE");
    let before = db.within("lock installation", lock.get_result::<Row>(tx.connection())).await?.value;
    let alive = sql_query(
        "SELECT IF(label = '', instance, label) AS value FROM instances WHERE beat_at > NOW(3) - INTERVAL ? SECOND",
    );
    let alive = alive.bind::<Unsigned<Bigint>, _>(DEAD_AFTER.as_secs());
    let alive: Vec<Row> = db.within("find instances", alive.load(tx.connection())).await?;
    if let Some(Row { value }) = alive.into_iter().next() {
        tx.roll_back().await;
        return Ok(Renewal::InUse(value));
    }
    let id = format!("{:032x}", rand::random::<u128>());
    // The epoch stays, so every later loading has a higher epoch. Rows of processes belong to the original database.
    for statement in [
        format!("UPDATE installation SET installation_id = '{id}', mysql_server = '' WHERE id = 1"),
        "DELETE FROM ledgers".to_owned(),
        "UPDATE shards SET run_id = '', previous_run_id = '', redis_address = '', state = 'recovering', token = '', \
         found_live = NULL"
            .to_owned(),
        "DELETE FROM instances".to_owned(),
    ] {
        db.within("renew installation", sql_query(statement).execute(tx.connection())).await?;
    }
    tx.commit().await?;
    Ok(Renewal::Done { before, after: id })
}
