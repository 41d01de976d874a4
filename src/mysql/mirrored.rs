//! The column `etcd_revision` of the table `activities`: the state of a row in etcd.
//!
//! The value is the revision of the etcd write with the current row, or 0 if etcd lacks the current row. Every change
//! of a row sets the column in the same transaction. A write to etcd is recorded only if the row is still unchanged.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::activities::{ActivityRow, StoredActivity, stored};
use super::schema::activities;
use super::{Db, DbError, Transaction};
use crate::domain::{ActivityId, Status};

/// The columns of an activity that are compared with etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored {
    pub id: ActivityId,
    pub disabled: bool,
    pub etcd_revision: u64,
}

/// Reads up to `count` activities that etcd has or should have, ordered by id, after the activity `after`. etcd should
/// have activities that end after `ended_after`, in seconds since 1970.
///
/// # Errors
/// Returns a [`DbError`].
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

/// Up to `count` activities that end after `ended_after` and have a change that etcd lacks, ordered by id, after the
/// activity `after`. Unreadable rows are skipped. The second value is the last id, readable or not, or `None` at the end.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn lacking(
    db: &Db,
    ended_after: u64,
    after: ActivityId,
    count: i64,
) -> Result<(Vec<StoredActivity>, Option<ActivityId>), DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::etcd_revision.eq(0))
        .filter(activities::end_time.gt(ended_after))
        .filter(activities::id.gt(after.0))
        .order(activities::id)
        .limit(count)
        .select(activities::all_columns);
    let rows: Vec<ActivityRow> = db.within("find activities missing in etcd", query.load(&mut connection)).await?;
    let last = rows.last().map(|row| ActivityId(row.0));
    Ok((db.unreadable().skip(rows.into_iter().map(stored)), last))
}

/// Up to `count` activities that ended before `ended_before` and are still in etcd, with their `etcd_revision`.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn long_over(db: &Db, ended_before: u64, count: i64) -> Result<Vec<(ActivityId, u64)>, DbError> {
    let mut connection = db.connect().await?;
    let query = activities::table
        .filter(activities::etcd_revision.gt(0))
        .filter(activities::end_time.lt(ended_before))
        .limit(count)
        .select((activities::id, activities::etcd_revision));
    let rows: Vec<(u32, u64)> = db.within("find ended activities in etcd", query.load(&mut connection)).await?;
    Ok(rows.into_iter().map(|(id, revision)| (ActivityId(id), revision)).collect())
}

/// Records that the etcd write `etcd_revision` carries the row at `revision`, unless the row has changed since.
///
/// # Errors
/// Returns a [`DbError`]. The next round repeats the update.
pub async fn note(db: &Db, id: ActivityId, revision: u64, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row =
        activities::table.find(id.0).filter(activities::revision.eq(revision)).filter(activities::etcd_revision.eq(0));
    let update = diesel::update(row).set(activities::etcd_revision.eq(etcd_revision));
    db.within("record etcd revision", update.execute(&mut connection)).await?;
    Ok(())
}

/// Records that etcd no longer has the row written by `etcd_revision`.
///
/// # Errors
/// Returns a [`DbError`]. The next round repeats the update.
pub async fn forget(db: &Db, id: ActivityId, etcd_revision: u64) -> Result<(), DbError> {
    let mut connection = db.connect().await?;
    let row = activities::table.find(id.0).filter(activities::etcd_revision.eq(etcd_revision));
    let update = diesel::update(row).set(activities::etcd_revision.eq(0));
    db.within("clear etcd revision", update.execute(&mut connection)).await?;
    Ok(())
}

/// Records that the etcd write `etcd_revision` carries the current row. The coupon's row is locked.
pub(crate) async fn note_same(
    db: &Db,
    tx: &mut Transaction<'_>,
    id: ActivityId,
    etcd_revision: u64,
) -> Result<(), DbError> {
    let update = diesel::update(activities::table.find(id.0)).set(activities::etcd_revision.eq(etcd_revision));
    db.within("record etcd revision", update.execute(tx.connection())).await.map_err(DbError::before_commit)?;
    Ok(())
}
