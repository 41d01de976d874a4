//! The table `settings`: what operators change while the service runs.
//!
//! Knows the names and nothing of what the values mean: a value is checked before it is written. `etcd_revision` is the
//! revision of etcd that carries the row as it stands; 0 means that etcd does not have it yet.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Text, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::settings;
use super::{Db, DbError};

type Number = Unsigned<Bigint>;

/// Which setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingName {
    Limits,
    Switches,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = settings)]
pub struct StoredSetting {
    pub name: String,
    /// A JSON object.
    pub value: String,
    /// Raised by every change, from 1.
    pub revision: u64,
    pub etcd_revision: u64,
    pub changed_by: String,
}

impl SettingName {
    /// The spelling in MySQL, in etcd and in paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Switches => "switches",
        }
    }

    /// The name spelt `text`, or `None`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Limits, Self::Switches].into_iter().find(|name| name.as_str() == text)
    }
}

/// The row of `name`; `None` while nobody has changed that setting.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn read(db: &Db, name: SettingName) -> Result<Option<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.find(name.as_str()).select(StoredSetting::as_select());
    db.within("read setting", async { query.first(&mut connection).await.optional() }).await
}

/// Every row.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn read_all(db: &Db) -> Result<Vec<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.select(StoredSetting::as_select());
    db.within("read settings", query.load(&mut connection)).await
}

/// The first revision is 1. `by` names an admin, who has at most 64 characters. A value that is there already is left as it
/// is, so that instances which write the same one side by side change it once. Assignments are made from left to right: the
/// column that they look at comes last.
const WRITE: &str = "INSERT INTO settings (name, value, revision, changed_at, changed_by) \
    VALUES (?, ?, 1, UTC_TIMESTAMP(3), ?) \
    ON DUPLICATE KEY UPDATE \
    revision = IF(value = VALUES(value), revision, revision + 1), \
    etcd_revision = IF(value = VALUES(value), etcd_revision, 0), \
    changed_at = IF(value = VALUES(value), changed_at, VALUES(changed_at)), \
    changed_by = IF(value = VALUES(value), changed_by, VALUES(changed_by)), \
    value = VALUES(value)";

/// Replaces the value of `name` and returns its revision: a new one, which etcd does not have yet, or where the value was
/// the same before, the one it had.
///
/// # Errors
/// [`DbError`]; where the outcome is open, the old value or the new one holds, and writing again is safe.
pub async fn write(db: &Db, name: SettingName, value: &str, by: &str) -> Result<u64, DbError> {
    let mut tx = db.begin().await?;
    let upsert = diesel::sql_query(WRITE).bind::<Text, _>(name.as_str()).bind::<Text, _>(value).bind::<Text, _>(by);
    db.within("write setting", upsert.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    // The row is locked by now, so that this is the revision that was just made.
    let revision = settings::table.find(name.as_str()).select(settings::revision).first(tx.connection());
    let revision: u64 = db.within("read revision", revision).await.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(revision)
}

/// Notes that etcd carries `revision` of `name`, as of its own `etcd_revision`; `false` where the row has changed since. An
/// etcd that was restored begins again at a lower revision, so that a lower one is noted too.
///
/// # Errors
/// [`DbError`]; noting again is safe.
pub async fn note_etcd(db: &Db, name: SettingName, revision: u64, etcd_revision: u64) -> Result<bool, DbError> {
    let mut connection = db.connect().await?;
    let update = diesel::sql_query("UPDATE settings SET etcd_revision = ? WHERE name = ? AND revision = ?")
        .bind::<Number, _>(etcd_revision)
        .bind::<Text, _>(name.as_str())
        .bind::<Number, _>(revision);
    db.within("note etcd's revision", update.execute(&mut connection)).await.map(|rows| rows > 0)
}

/// What became of an edit made in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The row has it, at this revision.
    Now(u64),
    /// The row had it, or something later, or has a change that etcd lacks and that wins.
    Before,
}

/// Takes over what was put into etcd, or deleted there, at revision `made_at`; the row then says that etcd has it as of
/// `etcd_revision`, or where that is 0, that it is yet to be put.
///
/// # Errors
/// [`DbError`]; trying again is safe.
pub async fn adopt(
    db: &Db,
    name: SettingName,
    value: &str,
    by: &str,
    (made_at, etcd_revision): (u64, u64),
) -> Result<Taken, DbError> {
    let mut tx = db.begin().await?;
    let row = settings::table.find(name.as_str()).select(StoredSetting::as_select()).for_update();
    let row = db.within("lock setting", async { row.first(tx.connection()).await.optional() }).await;
    let row = row.map_err(DbError::before_commit)?;
    if row.as_ref().is_some_and(|row| row.etcd_revision == 0 || row.etcd_revision >= made_at) {
        tx.roll_back().await;
        return Ok(Taken::Before);
    }
    let upsert = diesel::sql_query(WRITE).bind::<Text, _>(name.as_str()).bind::<Text, _>(value).bind::<Text, _>(by);
    db.within("write setting", upsert.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    let note = diesel::update(settings::table.find(name.as_str())).set(settings::etcd_revision.eq(etcd_revision));
    db.within("note etcd's revision", note.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    let revision = settings::table.find(name.as_str()).select(settings::revision).first(tx.connection());
    let revision: u64 = db.within("read revision", revision).await.map_err(DbError::before_commit)?;
    tx.commit().await?;
    Ok(Taken::Now(revision))
}

/// Notes that etcd no longer has what it had as of `etcd_revision`.
///
/// # Errors
/// [`DbError`]; it is noted the next time.
pub async fn forget_etcd(db: &Db, name: SettingName, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = settings::table.find(name.as_str()).filter(settings::etcd_revision.eq(etcd_revision));
    let update = diesel::update(row).set(settings::etcd_revision.eq(0));
    db.within("note what etcd lacks", update.execute(&mut connection)).await?;
    Ok(())
}

/// The rows that etcd does not have yet.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn lagging(db: &Db) -> Result<Vec<StoredSetting>, DbError> {
    let mut connection = db.connect().await?;
    let query = settings::table.filter(settings::etcd_revision.eq(0)).select(StoredSetting::as_select());
    db.within("read lagging settings", query.load(&mut connection)).await
}
