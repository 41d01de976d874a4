//! Single steps of the mirror, for orders of events that real timing rarely produces.

use std::sync::Arc;

use couponrush::base::now_seconds;
use couponrush::domain::{ActivityId, Status};
use couponrush::etcd::{Notice, Watcher};
use couponrush::sales::{MirrorReport, MirrorState, Mirroring};
use serde_json::json;

use super::{Sale, key};
use crate::helpers::{DEADLINE, terms};

/// A sale whose only instance does not follow etcd. The test takes the steps of a mirror itself.
struct ManualMirror {
    sale: Sale,
    mirroring: Mirroring,
    watcher: Watcher,
    state: Arc<MirrorState>,
}

impl ManualMirror {
    /// Starts with two activities in etcd: the first is open, the second starts later.
    async fn start() -> (Self, [ActivityId; 2]) {
        let mut sale = Sale::start().await;
        let ids = [sale.schedule(&terms(-10, 600)).await, sale.schedule(&terms(1_000, 2_000)).await];
        sale.app.stop().await;
        sale.app.args.etcd.etcd_endpoints.clear();
        sale.app.start_another().await;
        let state = Arc::new(MirrorState::default());
        let watcher = Watcher::new(sale.etcd.etcd().await, Arc::clone(&state.etcd));
        let scheduling = sale.app.instances[0].shared.offering.scheduling.clone();
        let settings = Arc::clone(&sale.app.instances[0].shared.edge.admission.settings);
        let etcd = sale.etcd.etcd().await;
        let mirroring = Mirroring::new(etcd, scheduling, settings, Arc::clone(&state), 1_000);
        let mut manual = Self { sale, mirroring, watcher, state };
        assert!(matches!(manual.take_next().await, Notice::Listing(_)));
        assert_eq!((manual.report().adopted, manual.report().waiting), (0, 0));
        (manual, ids)
    }

    /// Gives the watcher's next notice to the mirror.
    async fn take_next(&mut self) -> Notice {
        let notice = tokio::time::timeout(DEADLINE, self.watcher.next()).await.expect("the watcher has a notice");
        self.mirroring.take(notice.clone(), now_seconds()).await;
        notice
    }

    /// Gives the watcher's notices to the mirror until `count` changes are taken.
    async fn take_changes(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            match self.take_next().await {
                Notice::Changes(changes) => taken += changes.len(),
                Notice::Listing(listing) => panic!("a listing instead of changes: {listing:?}"),
            }
        }
    }

    async fn repair(&mut self) {
        self.mirroring.repair(now_seconds()).await;
    }

    fn report(&self) -> MirrorReport {
        self.state.report()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mirror_whose_watch_was_cancelled_by_a_compaction_takes_over_what_it_did_not_see() {
    let (mut manual, [edited, deleted]) = ManualMirror::start().await;
    manual.sale.edit(edited, &json!({"status": 2})).await;
    manual.sale.etcd.delete(&key(deleted)).await;
    manual.sale.etcd.compact().await;
    assert!(matches!(manual.take_next().await, Notice::Listing(_)));
    assert_eq!((manual.report().failures, manual.report().adopted), (1, 2));
    let sale = &manual.sale;
    assert_eq!((sale.column(edited, "status").await, sale.column(deleted, "status").await), (2, 1));
    assert_eq!(sale.results().await, ["sold-out"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_through_the_service_that_etcd_lacks_is_put_over_a_later_edit_and_deletion() {
    let (mut manual, [edited, deleted]) = ManualMirror::start().await;
    let sale = &manual.sale;
    for id in [edited, deleted] {
        let change = |terms: &mut couponrush::domain::Terms| terms.buy_limit = 3;
        sale.app.instances[0].reschedule(id, change).await.expect("the activity can be changed");
    }
    sale.edit(edited, &json!({"status": 1})).await;
    sale.etcd.delete(&key(deleted)).await;
    manual.take_changes(2).await;
    for id in [edited, deleted] {
        let columns = (manual.sale.column(id, "status").await, manual.sale.etcd_revision(id).await);
        assert_eq!(columns, (0, 0), "the row in MySQL is newer than etcd's value");
    }
    manual.repair().await;
    for id in [edited, deleted] {
        let value = manual.sale.value(id).await;
        assert_eq!((&value["status"], &value["buy_limit"]), (&json!(0), &json!(3)));
        assert!(manual.sale.is_recorded(id).await);
    }
    assert_eq!((manual.report().adopted, manual.report().put), (0, 2));
    // The mirror's own puts are not edits.
    manual.take_changes(2).await;
    assert_eq!(manual.report().adopted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_put_and_not_noted_is_noted_and_not_put_again() {
    let (mut manual, [id, _]) = ManualMirror::start().await;
    let put_at = manual.sale.etcd_revision(id).await;
    manual.sale.app.stores.execute(&format!("UPDATE activities SET etcd_revision = 0 WHERE id = {id}")).await;
    manual.repair().await;
    assert_eq!(manual.sale.etcd_revision(id).await, put_at);
    assert_eq!(manual.sale.etcd.get(&key(id)).await.expect("etcd has the activity").1, put_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_that_is_older_than_what_another_instance_noted_does_not_mean_that_etcd_went_back() {
    let (mut manual, [id, _]) = ManualMirror::start().await;
    let mut late = Watcher::new(manual.sale.etcd.etcd().await, Arc::default());
    let listing = late.next().await;
    // After this listing was read, another instance changes the row, puts it, and records the revision.
    let sale = &manual.sale;
    let change = |terms: &mut couponrush::domain::Terms| terms.status = Status::SoldOut;
    sale.app.instances[0].reschedule(id, change).await.expect("the activity can be changed");
    manual.repair().await;
    assert!(manual.sale.is_recorded(id).await);
    let recorded = manual.sale.etcd_revision(id).await;
    manual.mirroring.take(listing, now_seconds()).await;
    assert_eq!((manual.report().went_back, manual.sale.etcd_revision(id).await), (0, recorded));
    assert_eq!(manual.sale.results().await, ["sold-out"]);
}
