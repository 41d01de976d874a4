//! The table `audit_trail`.

use diesel::prelude::*;
use diesel::sql_types::{Bigint, Unsigned};
use diesel_async::RunQueryDsl;

use super::schema::audit_trail;
use super::{Db, DbError};
use crate::domain::{PageStart, TrailEntry};

#[derive(Insertable)]
#[diesel(table_name = audit_trail)]
struct NewRow<'a> {
    at_ms: u64,
    actor: &'a str,
    actor_kind: &'a str,
    event: &'a str,
    object: &'a str,
    address: String,
    request_id: &'a str,
    status: u16,
    repeated: u32,
}

impl<'a> NewRow<'a> {
    fn of(entry: &'a TrailEntry) -> Self {
        Self {
            at_ms: entry.at_ms,
            actor: &entry.actor,
            actor_kind: entry.kind,
            event: &entry.event,
            object: &entry.object,
            address: entry.address.to_string(),
            request_id: &entry.request_id,
            status: entry.status,
            repeated: entry.repeated,
        }
    }
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct StoredEntry {
    pub id: u64,
    pub at_ms: u64,
    pub actor: String,
    /// Empty without a session.
    pub kind: String,
    pub event: String,
    pub object: String,
    pub address: String,
    pub request_id: String,
    pub status: u16,
    pub repeated: u32,
}

/// The entries to list. Empty texts choose all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailFilter<'a> {
    pub actor: &'a str,
    pub event: &'a str,
}

/// Adds entries in one statement.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn insert(db: &Db, entries: &[TrailEntry]) -> Result<(), DbError> {
    let rows: Vec<NewRow<'_>> = entries.iter().map(NewRow::of).collect();
    let mut connection = db.connect().await?;
    let insert = diesel::insert_into(audit_trail::table).values(rows);
    db.within("insert audit trail", insert.execute(&mut connection)).await?;
    Ok(())
}

/// Up to `count` entries from `start`, newest first.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn newest(
    db: &Db,
    filter: TrailFilter<'_>,
    start: PageStart,
    count: i64,
) -> Result<Vec<StoredEntry>, DbError> {
    let mut query = audit_trail::table.into_boxed();
    if !filter.actor.is_empty() {
        query = query.filter(audit_trail::actor.eq(filter.actor));
    }
    if !filter.event.is_empty() {
        query = query.filter(audit_trail::event.eq(filter.event));
    }
    let query = query.order(audit_trail::id.desc()).limit(count);
    let query = match start {
        PageStart::Skip(items) => query.offset(i64::try_from(items).unwrap_or(i64::MAX)),
        PageStart::After(id) => query.filter(audit_trail::id.lt(id)),
    };
    let mut connection = db.connect().await?;
    db.within("list audit trail", query.load(&mut connection)).await
}

/// Deletes up to `max` entries from before `at_ms` (milliseconds since 1970). Returns how many were deleted.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn delete_before(db: &Db, at_ms: u64, max: u32) -> Result<usize, DbError> {
    let delete = diesel::sql_query(format!("DELETE FROM audit_trail WHERE at_ms < ? ORDER BY at_ms LIMIT {max}"));
    let mut connection = db.connect().await?;
    let delete = delete.bind::<Unsigned<Bigint>, _>(at_ms);
    db.within("shorten audit trail", delete.execute(&mut connection)).await
}
