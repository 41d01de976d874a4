//! What operators want while MySQL is away: it holds in this instance's memory already.

use std::collections::HashMap;

use super::compare::{Verdict, judge};
use super::{Edit, Mirroring, value};
use crate::db::mirrored::Mirrored;
use crate::domain::{Activity, ActivityId, Status, Terms};

impl Mirroring {
    /// Puts the edits in force that MySQL could not be given, as far as it had nothing later when it was last read. A coupon's
    /// later change would make Redis refuse what is held here.
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
                log::warn!("etcd: activity {id} is as an operator made it, and MySQL is yet to have it");
                self.held.insert(wanted.coupon);
            }
        }
    }

    /// Where the listing says that etcd has gone back, that is settled with MySQL and not before.
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

/// What the activity becomes; `None` where the value is bad.
fn wanted(known: &Activity, edit: &Edit) -> Option<Activity> {
    match &edit.value {
        Some(value) => value::read(known.id, value).ok(),
        None => {
            let terms = Terms { status: Status::Disabled, ..known.terms.clone() };
            Some(Activity { terms, ..known.clone() })
        }
    }
}
