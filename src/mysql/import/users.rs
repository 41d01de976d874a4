//! Imported users, stored together with a record of their origin.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::{ImportSource, SourceId, TakeError, begin};
use crate::domain::{Kind, UserId, UserName};
use crate::mysql::schema::{imported_users, users};
use crate::mysql::{Db, DbConnection, DbError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedUser {
    pub source_id: SourceId,
    pub name: UserName,
    pub kind: Kind,
}

/// The result of importing a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenUser {
    Now,
    /// The row was imported earlier from the same source.
    Earlier,
    /// The name belongs to a user from a different row or source, or to a user registered in this service.
    NameTaken,
}

/// Stores users without password hashes in one transaction. Returns the results in the order of `new`.
///
/// # Errors
/// Returns a [`TakeError`]. A failed commit has an unknown outcome, otherwise no row is stored. Repeating is safe.
pub async fn take(db: &Db, source: ImportSource, new: &[ImportedUser]) -> Result<Vec<TakenUser>, TakeError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut taking = begin(db).await?;
    let mut owners = find_owners(db, taking.connection(), new).await?;
    let mut taken = Vec::with_capacity(new.len());
    let mut missing = Vec::new();
    for user in new {
        let owner = (source.id, user.source_id);
        taken.push(match owners.get(user.name.as_str()) {
            None => {
                missing.push(user);
                owners.insert(user.name.as_str().to_owned(), Some(owner));
                TakenUser::Now
            }
            Some(stored) if *stored == Some(owner) => TakenUser::Earlier,
            Some(_) => TakenUser::NameTaken,
        });
    }
    insert(db, taking.connection(), source, &missing).await?;
    taking.transaction.commit().await?;
    Ok(taken)
}

/// The origin of every existing user with a name in `new`. `None` marks a user registered in this service.
async fn find_owners(
    db: &Db,
    connection: &mut DbConnection,
    new: &[ImportedUser],
) -> Result<HashMap<String, Option<(u16, SourceId)>>, DbError> {
    let query = users::table
        .left_join(imported_users::table)
        .filter(users::username.eq_any(new.iter().map(|user| user.name.as_str())))
        .select((users::username, imported_users::import_source_id.nullable(), imported_users::source_id.nullable()));
    let rows: Vec<(String, Option<u16>, Option<i64>)> = db.within("find users by name", query.load(connection)).await?;
    Ok(rows.into_iter().map(|(name, source, id)| (name, source.zip(id.map(SourceId)))).collect())
}

async fn insert(
    db: &Db,
    connection: &mut DbConnection,
    source: ImportSource,
    missing: &[&ImportedUser],
) -> Result<(), DbError> {
    if missing.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = missing
        .iter()
        .map(|user| {
            (users::username.eq(user.name.as_str()), users::kind.eq(user.kind.as_str()), users::password_hash.eq(""))
        })
        .collect();
    db.within("insert users", diesel::insert_into(users::table).values(rows).execute(connection)).await?;
    let names = missing.iter().map(|user| user.name.as_str());
    let query = users::table.filter(users::username.eq_any(names)).select((users::username, users::id));
    let ids: Vec<(String, u64)> = db.within("find inserted users", query.load(connection)).await?;
    let ids: HashMap<String, u64> = ids.into_iter().collect();
    let records: Vec<_> = missing
        .iter()
        .filter_map(|user| ids.get(user.name.as_str()).map(|id| (user, id)))
        .map(|(user, id)| {
            (
                imported_users::import_source_id.eq(source.id),
                imported_users::source_id.eq(user.source_id.0),
                imported_users::user_id.eq(*id),
            )
        })
        .collect();
    let insert = diesel::insert_into(imported_users::table).values(records);
    db.within("record imported users", insert.execute(connection)).await?;
    Ok(())
}

/// The users with these names that were imported from the source. Unknown names are missing from the result.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_by_names(
    db: &Db,
    source: ImportSource,
    names: impl IntoIterator<Item = &str>,
) -> Result<HashMap<String, (UserId, Kind)>, DbError> {
    let query = imported_users::table
        .inner_join(users::table)
        .filter(imported_users::import_source_id.eq(source.id))
        .filter(users::username.eq_any(names))
        .select((users::username, users::id, users::kind));
    let mut connection = db.connect().await?;
    let rows: Vec<(String, u64, String)> = db.within("find imported users", query.load(&mut connection)).await?;
    rows.into_iter().map(|(name, id, kind)| Ok((name, identity(id, &kind)?))).collect()
}

/// The user imported from the given row, or `None` if the row was refused.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn find_by_row(db: &Db, source: ImportSource, row: SourceId) -> Result<Option<(UserId, Kind)>, DbError> {
    let query = imported_users::table
        .inner_join(users::table)
        .filter(imported_users::import_source_id.eq(source.id))
        .filter(imported_users::source_id.eq(row.0))
        .select((users::id, users::kind));
    let mut connection = db.connect().await?;
    let found: Option<(u64, String)> =
        db.within("find imported user", async { query.first(&mut connection).await.optional() }).await?;
    found.map(|(id, kind)| identity(id, &kind)).transpose()
}

fn identity(id: u64, kind: &str) -> Result<(UserId, Kind), DbError> {
    let unreadable = || DbError::Unreadable { operation: "find imported users", what: format!("user {id}: kind") };
    Ok((UserId(id), Kind::parse(kind).ok_or_else(unreadable)?))
}
