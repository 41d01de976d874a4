//! The mirror step by step: what happens where one thing comes between two others.

use std::sync::Arc;

use couponrush::domain::{ActivityId, Status};
use couponrush::etcd::{Notice, Watcher};
use couponrush::mirroring::{MirrorReport, Mirroring, State};
use couponrush::{now_ms, now_seconds};
use serde_json::json;

use super::{Sale, key};
use crate::helpers::{DEADLINE, terms};

/// A sale whose one instance does not follow etcd; the steps of a mirror are taken by the test.
struct Stepped {
    sale: Sale,
    mirroring: Mirroring,
    watcher: Watcher,
    state: Arc<State>,
}

impl Stepped {
    /// With two activities that etcd has: one that sells, and one that is to come.
    async fn start() -> (Self, [ActivityId; 2]) {
        let mut sale = Sale::start().await;
        let ids = [sale.schedule(&terms(-10, 600)).await, sale.schedule(&terms(1_000, 2_000)).await];
        sale.app.stop().await;
        sale.app.args.etcd.etcd_endpoints.clear();
        sale.app.start_another().await;
        let state = Arc::new(State::default());
        let watcher = Watcher::new(sale.etcd.etcd().await, Arc::clone(&state.etcd));
        let scheduling = sale.app.instances[0].shared.scheduling.clone();
        let settings = Arc::clone(&sale.app.instances[0].shared.admission.settings);
        let etcd = sale.etcd.etcd().await;
        let mirroring = Mirroring::new(etcd, (scheduling, settings), Arc::clone(&state), 1_000);
        let mut stepped = Self { sale, mirroring, watcher, state };
        assert!(matches!(stepped.take_next().await, Notice::Listing(_)));
        assert_eq!((stepped.report().adopted, stepped.report().waiting), (0, 0));
        (stepped, ids)
    }

    /// The mirror takes in what the watcher sees next.
    async fn take_next(&mut self) -> Notice {
        let notice = tokio::time::timeout(DEADLINE, self.watcher.next()).await.expect("there is something to know");
        self.mirroring.take(notice.clone(), now_seconds()).await;
        notice
    }

    /// The mirror takes in so many changes.
    async fn take_changes(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            match self.take_next().await {
                Notice::Changes(changes) => taken += changes.len(),
                Notice::Listing(listing) => panic!("not changes: {listing:?}"),
            }
        }
    }

    async fn repair(&mut self) {
        self.mirroring.repair(now_seconds()).await;
    }

    fn report(&self) -> MirrorReport {
        self.state.report(now_ms())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mirror_whose_watch_was_cancelled_by_a_compaction_takes_over_what_it_did_not_see() {
    let (mut stepped, [edited, deleted]) = Stepped::start().await;
    stepped.sale.edit(edited, &json!({"status": 2})).await;
    stepped.sale.etcd.delete(&key(deleted)).await;
    stepped.sale.etcd.compact().await;
    assert!(matches!(stepped.take_next().await, Notice::Listing(_)));
    assert_eq!((stepped.report().failures, stepped.report().adopted), (1, 2));
    let sale = &stepped.sale;
    assert_eq!((sale.column(edited, "status").await, sale.column(deleted, "status").await), (2, 1));
    assert_eq!(sale.results().await, ["sold-out"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_through_the_service_that_etcd_lacks_is_put_over_a_later_edit_and_deletion() {
    let (mut stepped, [edited, deleted]) = Stepped::start().await;
    let sale = &stepped.sale;
    for id in [edited, deleted] {
        let change = |terms: &mut couponrush::domain::Terms| terms.buy_limit = 3;
        sale.app.instances[0].reschedule(id, change).await.expect("it can be changed");
    }
    sale.edit(edited, &json!({"status": 1})).await;
    sale.etcd.delete(&key(deleted)).await;
    stepped.take_changes(2).await;
    for id in [edited, deleted] {
        let columns = (stepped.sale.column(id, "status").await, stepped.sale.etcd_revision(id).await);
        assert_eq!(columns, (0, 0), "MySQL has what etcd lacks");
    }
    stepped.repair().await;
    for id in [edited, deleted] {
        let value = stepped.sale.value(id).await;
        assert_eq!((&value["status"], &value["buy_limit"]), (&json!(0), &json!(3)));
        assert!(stepped.sale.is_noted(id).await);
    }
    assert_eq!((stepped.report().adopted, stepped.report().put), (0, 2));
    // What it has put itself is no edit.
    stepped.take_changes(2).await;
    assert_eq!(stepped.report().adopted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_put_and_not_noted_is_noted_and_not_put_again() {
    let (mut stepped, [id, _]) = Stepped::start().await;
    let put_at = stepped.sale.etcd_revision(id).await;
    stepped.sale.app.stores.execute(&format!("UPDATE activities SET etcd_revision = 0 WHERE id = {id}")).await;
    stepped.repair().await;
    assert_eq!(stepped.sale.etcd_revision(id).await, put_at);
    assert_eq!(stepped.sale.etcd.get(&key(id)).await.expect("etcd has it").1, put_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listing_that_is_older_than_what_another_instance_noted_does_not_mean_that_etcd_went_back() {
    let (mut stepped, [id, _]) = Stepped::start().await;
    let mut late = Watcher::new(stepped.sale.etcd.etcd().await, Arc::default());
    let listing = late.next().await;
    // Another instance changes the row, puts it and notes that, after this listing was read.
    let sale = &stepped.sale;
    let change = |terms: &mut couponrush::domain::Terms| terms.status = Status::SoldOut;
    sale.app.instances[0].reschedule(id, change).await.expect("it can be changed");
    stepped.repair().await;
    assert!(stepped.sale.is_noted(id).await);
    let noted = stepped.sale.etcd_revision(id).await;
    stepped.mirroring.take(listing, now_seconds()).await;
    assert_eq!((stepped.report().went_back, stepped.sale.etcd_revision(id).await), (0, noted));
    assert_eq!(stepped.sale.results().await, ["sold-out"]);
}
