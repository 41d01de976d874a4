//! Puts edits by operators in force in memory while MySQL is away.

use std::collections::HashMap;

use super::compare::{Verdict, judge};
use super::edit::Edit;
use super::{Mirroring, value};
use crate::domain::{Activity, ActivityId, Status, Terms};
use crate::mysql::mirrored::Mirrored;

impl Mirroring {
    /// Puts edits in force that MySQL could not take yet. An edit is skipped if MySQL had a later change at the last
    /// read. A later change of the coupon would make Redis refuse attempts under the edit.
    pub(super) fn hold_in_memory(&mut self) {
        let schedules = self.scheduling.activities.all();
        let activities = schedules.iter().flat_map(|schedule| schedule.activities());
        let known: HashMap<ActivityId, &Activity> = activities.map(|activity| (activity.id, activity)).collect();
        self.read_edits_of_the_listing(&known);
        for (id, edit) in &self.edits {
            let later = self.noted.get(id).is_some_and(|noted| (1..edit.revision).contains(noted));
            let Some(known) = known.get(id).filter(|_| later) else { continue };
            let wanted = wanted(known, edit).filter(|wanted| wanted != *known && wanted.coupon == known.coupon);
            if let Some(wanted) = wanted
                && self.scheduling.activities.hold(&wanted)
            {
                log::warn!("etcd: edit of activity {id} is in force in memory, not stored in MySQL yet");
                self.held.insert(wanted.coupon);
            }
        }
    }

    /// A listing from an etcd that went back yields no edits. MySQL has to answer before that is settled.
    fn read_edits_of_the_listing(&mut self, known: &HashMap<ActivityId, &Activity>) {
        let Some(listing) = &self.listing else { return };
        let row = |(id, etcd_revision): (&ActivityId, &u64)| {
            let disabled = known.get(id).is_none_or(|known| known.terms.status == Status::Disabled);
            Mirrored { id: *id, disabled, etcd_revision: *etcd_revision }
        };
        let rows: Vec<Mirrored> = self.noted.iter().map(row).collect();
        if let Verdict::Edits(edits) = judge(listing, &rows, self.seen) {
            for (id, edit) in edits {
                self.edits.entry(id).or_insert(edit);
            }
        }
    }
}

/// The activity after the edit, or `None` if the value is invalid.
fn wanted(known: &Activity, edit: &Edit) -> Option<Activity> {
    match &edit.value {
        Some(value) => value::read(known.id, value).ok().map(|edit| Activity { conditions: known.conditions, ..edit }),
        None => {
            let terms = Terms { status: Status::Disabled, ..known.terms.clone() };
            Some(Activity { terms, ..known.clone() })
        }
    }
}
