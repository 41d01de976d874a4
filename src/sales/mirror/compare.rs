//! Compares a listing of etcd with the rows of MySQL.

use std::collections::{BTreeMap, HashMap};

use super::edit::Edit;
use super::value;
use crate::domain::ActivityId;
use crate::etcd::{KeyEntry, Listing};
use crate::mysql::mirrored::Mirrored;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Edits by operators. A row with a change still to be put to etcd yields no edit.
    Edits(BTreeMap<ActivityId, Edit>),
    /// etcd was restored to an older state, or wiped. Its keys say nothing about the wishes of operators. Contains the
    /// rows whose key is missing or outdated, with their `etcd_revision`.
    WentBack(Vec<(ActivityId, u64)>),
}

/// Compares a listing with `rows`. The `etcd_revision` of a row is the etcd write that carried the row. `seen` is the
/// highest revision at which etcd was ever seen.
///
/// etcd went back if its revision is below `seen`, or if a key is older than its row's `etcd_revision`. A missing key
/// means the same if the listing's revision is below the row's `etcd_revision`. Otherwise an operator deleted the key.
/// The verdict `WentBack` is certain only if the listing began after the rows were read.
pub fn judge(listing: &Listing, rows: &[Mirrored], seen: u64) -> Verdict {
    let entries: HashMap<ActivityId, &KeyEntry> =
        listing.entries.iter().filter_map(|(key, entry)| Some((value::id(key)?.ok()?, entry))).collect();
    let forgotten = |row: &&Mirrored| match entries.get(&row.id) {
        Some(entry) => entry.revision < row.etcd_revision,
        None => row.etcd_revision > listing.revision,
    };
    if listing.revision < seen || rows.iter().any(|row| forgotten(&row)) {
        let lacks = |row: &&Mirrored| match entries.get(&row.id) {
            Some(entry) => entry.revision != row.etcd_revision,
            None => !row.disabled || row.etcd_revision > listing.revision,
        };
        let lacking = rows.iter().filter(|row| row.etcd_revision > 0).filter(lacks);
        return Verdict::WentBack(lacking.map(|row| (row.id, row.etcd_revision)).collect());
    }
    let known: HashMap<ActivityId, u64> = rows.iter().map(|row| (row.id, row.etcd_revision)).collect();
    let put =
        entries.iter().filter(|(id, entry)| known.get(id).is_none_or(|known| (1..entry.revision).contains(known)));
    let put = put.map(|(id, entry)| (*id, Edit { revision: entry.revision, value: Some(entry.value.clone()) }));
    let deleted = rows.iter().filter(|row| row.etcd_revision > 0 && !row.disabled && !entries.contains_key(&row.id));
    let deleted = deleted.map(|row| (row.id, Edit { revision: listing.revision, value: None }));
    Verdict::Edits(put.chain(deleted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::Value;

    const ID: ActivityId = ActivityId(7);

    fn row(etcd_revision: u64) -> Mirrored {
        Mirrored { id: ID, disabled: false, etcd_revision }
    }

    fn disabled(etcd_revision: u64) -> Mirrored {
        Mirrored { disabled: true, ..row(etcd_revision) }
    }

    fn listing(revision: u64, put_at: &[u64]) -> Listing {
        let entry = |put_at: &u64| (value::key(ID), KeyEntry { value: Value::TooLong(0), revision: *put_at });
        Listing { revision, entries: put_at.iter().map(entry).collect() }
    }

    fn edits(verdict: &Verdict) -> Vec<(u64, bool)> {
        match verdict {
            Verdict::Edits(edits) => edits.values().map(|edit| (edit.revision, edit.value.is_some())).collect(),
            Verdict::WentBack(lost) => panic!("it went back: {lost:?}"),
        }
    }

    #[test]
    fn what_is_as_it_was_written_or_lacks_a_change_is_no_edit() {
        for (rows, put_at) in
            [(vec![row(40)], vec![40]), (vec![row(0)], vec![40]), (vec![row(0)], vec![]), (vec![disabled(40)], vec![])]
        {
            assert_eq!(edits(&judge(&listing(50, &put_at), &rows, 50)), [], "{rows:?}");
        }
    }

    #[test]
    fn a_later_put_a_put_of_something_new_and_a_missing_key_are_edits() {
        assert_eq!(edits(&judge(&listing(50, &[45]), &[row(40)], 50)), [(45, true)]);
        assert_eq!(edits(&judge(&listing(50, &[45]), &[disabled(40)], 50)), [(45, true)]);
        assert_eq!(edits(&judge(&listing(50, &[45]), &[], 50)), [(45, true)]);
        assert_eq!(edits(&judge(&listing(50, &[]), &[row(40)], 50)), [(50, false)]);
    }

    #[test]
    fn an_etcd_that_went_back_lacks_what_it_does_not_have_as_it_was_written() {
        let went_back = |lost: &[u64]| Verdict::WentBack(lost.iter().map(|lost| (ID, *lost)).collect());
        assert_eq!(judge(&listing(50, &[40]), &[row(60)], 50), went_back(&[60]));
        assert_eq!(judge(&listing(50, &[]), &[row(60)], 50), went_back(&[60]));
        assert_eq!(judge(&listing(50, &[]), &[disabled(60)], 50), went_back(&[60]));
        assert_eq!(judge(&listing(99, &[40]), &[row(60)], 50), went_back(&[60]));
        assert_eq!(judge(&listing(50, &[45]), &[row(40)], 51), went_back(&[40]));
        assert_eq!(judge(&listing(50, &[]), &[row(40)], 51), went_back(&[40]));
        // Unchanged, deleted and already disabled, or still to be put.
        assert_eq!(judge(&listing(50, &[40]), &[row(40)], 51), went_back(&[]));
        assert_eq!(judge(&listing(50, &[]), &[disabled(40)], 51), went_back(&[]));
        assert_eq!(judge(&listing(50, &[40]), &[row(0)], 51), went_back(&[]));
    }
}
