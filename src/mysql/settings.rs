//! The table `settings`: settings that operators change at run time.
//!
//! The values are not interpreted here. The caller validates a value before writing it. `etcd_revision` is the etcd
//! revision that carries the current row. 0 means that etcd does not have the row yet.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

use super::schema::settings;
use super::{Db, DbError, UnsignedBigint};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingName {
    Limits,
    Switches,
}

#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = settings)]
pub struct StoredSetting {
    pub name: String,
    /// A JSON object.
    pub value: String,
    /// Starts at 1 and grows by every change.
    pub revision: u64,
    pub etcd_revision: u64,
    pub changed_by: String,
}

impl SettingName {
    /// The spelling in MySQL, in etcd and in URL paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Switches => "switches",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Limits, Self::Switches].into_iter().find(|name| name.as_str() == text)
    }
}

/// The row of `name`, or `None` if the setting was never changed.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read(db: &Db, name: SettingName) -> Result<Option<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.find(name.as_str()).select(StoredSetting::as_select());
    db.within("read setting", async { query.first(&mut connection).await.optional() }).await
}

/// All rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn read_all(db: &Db) -> Result<Vec<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.select(StoredSetting::as_select());
    db.within("read settings", query.load(&mut connection)).await
}

/// The first revision is 1. `by` is an admin's name of at most 64 characters. An equal value leaves the row unchanged,
/// so instances that write the same value at the same time change it once. MySQL assigns from left to right, and all
/// assignments read `value`. Therefore `value` is assigned last.
const WRITE: &str = "INSERT INTO settings (name, value, revision, changed_at, changed_by) \
    VALUES (?, ?, 1, UTC_TIMESTAMP(3), ?) \
    ON DUPLICATE KEY UPDATE \
    revision = IF(value = VALUES(value), revision, revision + 1), \
    etcd_revision = IF(value = VALUES(value), etcd_revision, 0), \
    changed_at = IF(value = VALUES(value), changed_at, VALUES(changed_at)), \
    changed_by = IF(value = VALUES(value), changed_by, VALUES(changed_by)), \
    value = VALUES(value)";

/// Replaces the value of `name` and returns the revision of the row. A changed value gets a new revision, which etcd
/// does not have yet. An equal value keeps the old revision.
///
/// # Errors
/// Returns a [`DbError`]. If the outcome is unknown, either value may be stored, and writing again is safe.
pub async fn write(db: &Db, name: SettingName, value: &str, by: &str) -> Result<u64, DbError> {
    let mut tx = db.begin().await?;
    let upsert = diesel::sql_query(WRITE).bind::<Text, _>(name.as_str()).bind::<Text, _>(value).bind::<Text, _>(by);
    db.within("write setting", upsert.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    // The row is locked, so the revision is the one of this write.
    let revision = settings::table.find(name.as_str()).select(settings::revision).first(tx.connection());
    let revision: u64 = db.within("read revision", revision).await.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(revision)
}

/// Records that the etcd write `etcd_revision` carries `revision` of `name`. Returns `false` if the row has changed
/// since. A lower `etcd_revision` is recorded too, because a restored etcd starts again at a lower revision.
///
/// # Errors
/// Returns a [`DbError`]. Recording again is safe.
pub async fn note_etcd(db: &Db, name: SettingName, revision: u64, etcd_revision: u64) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let update = diesel::sql_query("UPDATE settings SET etcd_revision = ? WHERE name = ? AND revision = ?")
        .bind::<UnsignedBigint, _>(etcd_revision)
        .bind::<Text, _>(name.as_str())
        .bind::<UnsignedBigint, _>(revision);
    db.within("record etcd revision", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingAdoption {
    /// The row now has the edit, at this revision.
    Now(u64),
    /// The row already had the edit or a later one, or has a change that etcd lacks. That change wins.
    Before,
}

/// Adopts a put or a deletion made in etcd at revision `made_at`. The row then has the given `etcd_revision`. An
/// `etcd_revision` of 0 means that the row must still be written to etcd.
///
/// # Errors
/// Returns a [`DbError`]. Repeating the call is safe.
pub async fn adopt(
    db: &Db,
    name: SettingName,
    value: &str,
    by: &str,
    made_at: u64,
    etcd_revision: u64,
) -> Result<SettingAdoption, DbError> {
    let mut tx = db.begin().await?;
    let row = settings::table.find(name.as_str()).select(StoredSetting::as_select()).for_update();
    let row = db.within("lock setting", async { row.first(tx.connection()).await.optional() }).await;
    let row = row.map_err(DbError::before_commit)?;
    if row.as_ref().is_some_and(|row| row.etcd_revision == 0 || row.etcd_revision >= made_at) {
        tx.roll_back().await;
        return Ok(SettingAdoption::Before);
    }
    let upsert = diesel::sql_query(WRITE).bind::<Text, _>(name.as_str()).bind::<Text, _>(value).bind::<Text, _>(by);
    db.within("write setting", upsert.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    let note = diesel::update(settings::table.find(name.as_str())).set(settings::etcd_revision.eq(etcd_revision));
    db.within("record etcd revision", note.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    let revision = settings::table.find(name.as_str()).select(settings::revision).first(tx.connection());
    let revision: u64 = db.within("read revision", revision).await.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(SettingAdoption::Now(revision))
}

/// Records that etcd no longer has the row written by `etcd_revision`.
///
/// # Errors
/// Returns a [`DbError`]. The next round repeats the update.
pub async fn forget_etcd(db: &Db, name: SettingName, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = settings::table.find(name.as_str()).filter(settings::etcd_revision.eq(etcd_revision));
    let update = diesel::update(row).set(settings::etcd_revision.eq(0));
    db.within("clear etcd revision", update.execute(&mut connection)).await?;
    Ok(())
}

/// The rows that etcd does not have yet.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn lagging(db: &Db) -> Result<Vec<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.filter(settings::etcd_revision.eq(0)).select(StoredSetting::as_select());
    db.within("read lagging settings", query.load(&mut connection)).await
}
