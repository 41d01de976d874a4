//! Looks for unreadable rows of coupons and activities.

use super::unreadable::{ACTIVITIES, COUPONS};
use super::{Db, DbError, UnreadableRow, activities, coupons};
use crate::domain::{ActivityId, CouponId};

/// Rows per page of [`scan`].
const PAGE: i64 = 1_000;

/// Reads the remembered rows again, and forgets rows that can be read or do not exist.
///
/// # Errors
/// Returns a [`DbError`]. The rows stay remembered.
pub async fn recheck(db: &Db) -> Result<(), DbError> {
    let ids = |table| {
        let rows = db.unreadable().all().into_iter().filter(move |row| row.table == table);
        rows.map(|row| row.id).collect::<Vec<_>>()
    };
    for (table, ids) in [(COUPONS, ids(COUPONS)), (ACTIVITIES, ids(ACTIVITIES))] {
        if ids.is_empty() {
            continue;
        }
        let still = if table == COUPONS {
            coupons::unreadable_of(db, &ids).await?
        } else {
            activities::unreadable_of(db, &ids).await?
        };
        for id in ids {
            match still.iter().find(|row| row.id == id) {
                Some(row) => db.unreadable().note(row.clone()),
                None => db.unreadable().forget(table, id),
            }
        }
    }
    Ok(())
}

/// Reads both tables in pages, and returns all unreadable rows.
///
/// # Errors
/// Returns a [`DbError`].
pub async fn scan(db: &Db) -> Result<Vec<UnreadableRow>, DbError> {
    let mut found = Vec::new();
    let mut after = Some(CouponId(0));
    while let Some(from) = after {
        let (rows, last) = coupons::read_page(db, None, from, PAGE).await?;
        found.extend(rows.into_iter().filter_map(Result::err));
        after = last;
    }
    let mut after = Some(ActivityId(0));
    while let Some(from) = after {
        let (rows, last) = activities::read_page(db, from, PAGE).await?;
        found.extend(rows.into_iter().filter_map(Result::err));
        after = last;
    }
    Ok(found)
}
