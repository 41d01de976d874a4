//! Rows of `coupons` and `activities` that cannot be read, for example after an edit by hand.
//!
//! An unreadable row costs its own coupon or activity only. Reads of several rows skip it. The rows found so far are
//! remembered for the log, the metric and the operators' page.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::CouponId;

/// Maximum rows remembered. Further unreadable rows are skipped, too, but neither counted nor logged.
const ROWS_MAX: usize = 1_000;

/// The tables with rows that can be unreadable.
pub(super) const COUPONS: &str = "coupons";
pub(super) const ACTIVITIES: &str = "activities";

/// A row that this program cannot have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {id} of {table} cannot be read: {column} is out of range")]
pub struct UnreadableRow {
    pub table: &'static str,
    pub id: u64,
    /// The first column with an invalid value. `saler` of a coupon is the name of its user.
    pub column: &'static str,
    /// `saler/name` of a coupon. `None` for an activity, and for a coupon without a saler or a name.
    pub path: Option<String>,
}

/// The unreadable rows found so far by table and id, at most `ROWS_MAX`. [`recheck`](super::row_scan::recheck) removes
/// rows that can be read again.
#[derive(Debug, Default)]
pub struct UnreadableRows(Mutex<BTreeMap<(&'static str, u64), UnreadableRow>>);

impl UnreadableRows {
    /// Remembers a row. The log names the row once for each column.
    pub(super) fn note(&self, row: UnreadableRow) {
        let mut rows = self.rows();
        let key = (row.table, row.id);
        let known = rows.get(&key);
        if known == Some(&row) || (known.is_none() && rows.len() >= ROWS_MAX) {
            return;
        }
        if known.is_none_or(|known| known.column != row.column) {
            log::error!("mysql: ALARM: {row}. The row is skipped until it is corrected");
        }
        rows.insert(key, row);
    }

    /// The readable rows, in order. The others are remembered.
    pub(super) fn skip<T>(&self, rows: impl IntoIterator<Item = Result<T, UnreadableRow>>) -> Vec<T> {
        rows.into_iter().filter_map(|row| row.map_err(|row| self.note(row)).ok()).collect()
    }

    /// All remembered rows, by table and id.
    pub fn all(&self) -> Vec<UnreadableRow> {
        self.rows().values().cloned().collect()
    }

    pub fn has_coupon(&self, id: CouponId) -> bool {
        self.rows().contains_key(&(COUPONS, id.0))
    }

    /// Whether a coupon of `path`, which is `saler/name`, is unreadable.
    pub fn has_path(&self, path: &str) -> bool {
        self.rows().values().any(|row| row.path.as_deref() == Some(path))
    }

    /// Forgets a row that can be read again, or is deleted.
    pub(super) fn forget(&self, table: &'static str, id: u64) {
        if self.rows().remove(&(table, id)).is_some() {
            log::info!("mysql: row {id} of {table} can be read again, or is deleted");
        }
    }

    /// Ignores poisoning, because every single change leaves the map complete.
    fn rows(&self) -> MutexGuard<'_, BTreeMap<(&'static str, u64), UnreadableRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, column: &'static str) -> UnreadableRow {
        UnreadableRow { table: COUPONS, id, column, path: Some(format!("shop/{id}")) }
    }

    #[test]
    fn unreadable_rows_are_skipped_and_remembered_with_their_latest_column() {
        let rows = UnreadableRows::default();
        assert_eq!(rows.skip([Ok(1), Err(row(7, "amount")), Ok(2), Err(row(5, "name"))]), [1, 2]);
        assert_eq!(rows.all(), [row(5, "name"), row(7, "amount")]);
        rows.note(row(7, "name"));
        assert_eq!(rows.all(), [row(5, "name"), row(7, "name")]);
        rows.forget(COUPONS, 5);
        rows.forget(ACTIVITIES, 7);
        assert_eq!(rows.all(), [row(7, "name")]);
        assert_eq!((rows.has_coupon(CouponId(7)), rows.has_coupon(CouponId(5))), (true, false));
        assert_eq!((rows.has_path("shop/7"), rows.has_path("shop/5")), (true, false));
    }

    #[test]
    fn a_bounded_number_of_rows_is_remembered() {
        let rows = UnreadableRows::default();
        let many = ROWS_MAX as u64 + 5;
        assert_eq!(rows.skip::<()>((1..=many).map(|id| Err(row(id, "amount")))), []);
        assert_eq!(rows.all().len(), ROWS_MAX);
        rows.note(row(1, "name"));
        assert_eq!(rows.all()[0], row(1, "name"), "a remembered row is updated");
    }
}
