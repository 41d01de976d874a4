//! The column `etcd_revision` of the table `activities`: what etcd has of it.
//!
//! It is the revision of the etcd write that carries the row as it stands, or 0 where none does. Whoever changes a row sets it
//! in the same transaction; here it follows what was written to etcd, only where the row is still the one that was.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::activities::{Row, Stored, stored};
use super::schema::activities;
use super::{Db, DbError, Transaction};
use crate::domain::{ActivityId, Status};

/// What of an activity is compared with etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    pub id: ActivityId,
    pub disabled: bool,
    pub etcd_revision: u64,
}

/// Up to `count` activities that etcd has, or should have because they end after `ended_after`, in seconds since 1970; in the
/// order of their ids, from the one after `after`.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn page(db: &Db, ended_after: u64, after: ActivityId, count: i64) -> Result<Vec<Mirrored>, DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::id.gt(after.0))
        .filter(activities::etcd_revision.gt(0).or(activities::end_time.gt(ended_after)))
        .order(activities::id)
        .limit(count)
        .select((activities::id, activities::status, activities::etcd_revision));
    let rows: Vec<(u32, u8, u64)> = db.within("read mirrored activities", query.load(&mut connection)).await?;
    let mirrored = |(id, status, etcd_revision)| Mirrored {
        id: ActivityId(id),
        disabled: status == Status::Disabled.number(),
        etcd_revision,
    };
    Ok(rows.into_iter().map(mirrored).collect())
}

/// Up to `count` activities that end after `ended_after` and have a change that etcd lacks.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn lacking(db: &Db, ended_after: u64, count: i64) -> Result<Vec<Stored>, DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::etcd_revision.eq(0))
        .filter(activities::end_time.gt(ended_after))
        .limit(count)
        .select(activities::all_columns);
    let rows: Vec<Row> = db.within("find what etcd lacks", query.load(&mut connection)).await?;
    rows.into_iter().map(stored).collect()
}

/// Up to `count` activities that ended before `ended_before` and that etcd still has, with their `etcd_revision`.
///
/// # Errors
/// [`DbError`]; reading changes nothing.
pub async fn long_over(db: &Db, ended_before: u64, count: i64) -> Result<Vec<(ActivityId, u64)>, DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::etcd_revision.gt(0))
        .filter(activities::end_time.lt(ended_before))
        .limit(count)
        .select((activities::id, activities::etcd_revision));
    let rows: Vec<(u32, u64)> = db.within("find what etcd need not have", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|(id, revision)| (ActivityId(id), revision)).collect())
}

/// Notes that etcd has the row as it was at `revision`, by the write `etcd_revision`; nothing where it has changed since.
///
/// # Errors
/// [`DbError`]; it is noted the next time.
pub async fn note(db: &Db, id: ActivityId, revision: u64, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row =
        activities::table.find(id.0).filter(activities::revision.eq(revision)).filter(activities::etcd_revision.eq(0));
    let update = diesel::update(row).set(activities::etcd_revision.eq(etcd_revision));
    db.within("note what etcd has", update.execute(&mut connection)).await?;
    Ok(())
}

/// Notes that etcd no longer has what it had by the write `etcd_revision`.
///
/// # Errors
/// [`DbError`]; it is noted the next time.
pub async fn forget(db: &Db, id: ActivityId, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = activities::table.find(id.0).filter(activities::etcd_revision.eq(etcd_revision));
    let update = diesel::update(row).set(activities::etcd_revision.eq(0));
    db.within("note what etcd lacks", update.execute(&mut connection)).await?;
    Ok(())
}

/// Notes that the write `etcd_revision` carries the row, whose coupon is locked, as it stands.
pub(crate) async fn note_same(
    db: &Db,
    tx: &mut Transaction<'_>,
    id: ActivityId,
    etcd_revision: u64,
) -> Result<(), DbError> {
    let update = diesel::update(activities::table.find(id.0)).set(activities::etcd_revision.eq(etcd_revision));
    db.within("note what etcd has", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}
