//! The table `instances`: which processes serve, and what their ledgers hold.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Integer, Nullable, Unsigned, Varchar};
use diesel_async::RunQueryDsl;

use super::schema::instances;
use super::{Db, DbError};
use crate::domain::{EntryId, Epoch};

/// An instance without a beat for this long is taken for dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Says that the process serves as `instance`, and what its ledger holds.
///
/// # Errors
/// [`DbError`].
pub async fn beat(
    db: &Db,
    instance: &str,
    process: &str,
    acknowledged: Epoch,
    oldest: Option<EntryId>,
) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let upsert = diesel::sql_query(
        "INSERT INTO instances (instance, process, beat_at, acknowledged_epoch, oldest_entry) VALUES (?, ?, NOW(3), ?, ?) \
         ON DUPLICATE KEY UPDATE process = VALUES(process), beat_at = NOW(3), \
         acknowledged_epoch = VALUES(acknowledged_epoch), oldest_entry = VALUES(oldest_entry)",
    )
    .bind::<Varchar, _>(instance)
    .bind::<Varchar, _>(process)
    .bind::<Unsigned<Integer>, _>(acknowledged.0)
    .bind::<Nullable<Varchar>, _>(oldest.map(|id| id.to_string()));
    db.within("beat", upsert.execute(&mut connection)).await?;
    Ok(())
}

/// Takes the process' row away at its stop.
///
/// # Errors
/// [`DbError`].
pub async fn leave(db: &Db, instance: &str, process: &str) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = instances::table.filter(instances::instance.eq(instance)).filter(instances::process.eq(process));
    db.within("leave", diesel::delete(row).execute(&mut connection)).await?;
    Ok(())
}

/// The oldest entries in the hands of living instances other than `instance`.
///
/// # Errors
/// [`DbError`].
pub async fn oldest_entries(db: &Db, instance: &str) -> Result<Vec<EntryId>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Varchar)]
        oldest_entry: String,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT oldest_entry FROM instances WHERE instance <> ? AND oldest_entry IS NOT NULL \
         AND beat_at > NOW(3) - INTERVAL ? SECOND",
    )
    .bind::<Varchar, _>(instance)
    .bind::<Unsigned<Bigint>, _>(DEAD_AFTER.as_secs());
    let rows: Vec<Row> = db.within("oldest entries", query.load(&mut connection)).await?;
    Ok(rows.iter().filter_map(|row| row.oldest_entry.parse().ok()).collect())
}

/// Living instances other than `instance` that have not acknowledged `epoch`.
///
/// # Errors
/// [`DbError`].
pub async fn without_acknowledgement(db: &Db, instance: &str, epoch: Epoch) -> Result<Vec<String>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Varchar)]
        instance: String,
    }
    let mut connection = db.connect().await?;
    let query = diesel::sql_query(
        "SELECT instance FROM instances WHERE instance <> ? AND acknowledged_epoch < ? \
         AND beat_at > NOW(3) - INTERVAL ? SECOND",
    )
    .bind::<Varchar, _>(instance)
    .bind::<Unsigned<Integer>, _>(epoch.0)
    .bind::<Unsigned<Bigint>, _>(DEAD_AFTER.as_secs());
    let rows: Vec<Row> = db.within("acknowledgements", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|row| row.instance).collect())
}
