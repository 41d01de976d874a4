//! etcd unavailable, restored to an older state, or with missed events. Sales go on, and closed sales stay closed.

use std::time::Duration;

use couponrush::config::EtcdArgs;
use serde_json::json;

use super::{SOON, Sale, key};
use crate::helpers::{DEADLINE, eventually, terms};

/// How soon missed changes are found by a new listing.
const LISTED: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sale_goes_on_while_etcd_is_away_and_changes_reach_it_afterwards() {
    let mut sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    sale.etcd.kill();
    sale.every_instance_has_etcd("down").await;
    assert_eq!(sale.results().await, ["claimed", "claimed"]);
    let instance = &sale.app.instances[0];
    instance.reschedule(id, |terms| terms.buy_limit = 3).await.expect("the activity can be changed");
    assert!(instance.ops.is_ready().await);
    sale.app.start_another().await;
    assert_eq!(sale.results().await, ["claimed", "claimed", "claimed"], "the start does not wait for etcd");

    sale.etcd.restart().await;
    sale.every_instance_has_etcd("up").await;
    eventually("etcd has the change", || async { sale.is_recorded(id).await }).await;
    assert_eq!(sale.value(id).await["buy_limit"], 3);
    sale.edit(id, &json!({"status": 2})).await;
    sale.every_instance_answers("sold-out", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_closed_through_etcd_stays_closed_after_a_restart_without_etcd() {
    let mut sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    let deleted = sale.etcd.delete(&key(id)).await;
    sale.every_instance_answers("not-on-sale", SOON).await;
    eventually("MySQL has the deletion", || async { sale.etcd_revision(id).await == deleted }).await;
    sale.app.stop().await;
    sale.etcd.kill();
    sale.app.start_another().await;
    assert_eq!(sale.results().await, ["not-on-sale"]);
    sale.app.stop().await;
    sale.app.args.etcd = EtcdArgs { etcd_endpoints: String::new(), ..sale.app.args.etcd.clone() };
    sale.app.start_another().await;
    assert_eq!(sale.results().await, ["not-on-sale"]);
    assert_eq!(sale.report().await["state"], "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_etcd_restored_to_an_older_state_opens_nothing_and_is_given_what_it_lacks() {
    let mut sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    sale.etcd.kill();
    let copy = sale.etcd.save();
    sale.etcd.restart().await;
    sale.every_instance_has_etcd("up").await;
    let closed_at = sale.edit(id, &json!({"status": 2})).await;
    sale.every_instance_answers("sold-out", SOON).await;
    let later = sale.schedule(&terms(1_000, 2_000)).await;

    sale.etcd.kill();
    sale.etcd.bring_back(&copy);
    sale.etcd.restart().await;
    let recorded = || async {
        assert_eq!(sale.results().await, ["sold-out", "sold-out"]);
        sale.is_recorded(id).await && sale.is_recorded(later).await
    };
    eventually("etcd has everything again", recorded).await;
    assert!(sale.etcd_revision(id).await <= closed_at, "revisions continue from the restored state");
    assert_eq!((sale.value(id).await["status"].clone(), sale.column(later, "status").await), (json!(2), 0));
    sale.edit(id, &json!({"status": 0})).await;
    sale.every_instance_answers("claimed", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_etcd_that_was_wiped_stops_nothing_and_is_given_what_it_lacks() {
    let mut sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    let closed = sale.schedule(&terms(1_000, 2_000)).await;
    sale.etcd.delete(&key(closed)).await;
    eventually("the activity is disabled", || async { sale.column(closed, "status").await == 1 }).await;
    sale.etcd.kill();
    sale.etcd.empty();
    sale.etcd.restart().await;
    let recorded = || async {
        assert_eq!(sale.results().await, ["claimed", "claimed"]);
        sale.is_recorded(id).await && sale.is_recorded(closed).await
    };
    eventually("etcd has everything again", recorded).await;
    assert_eq!(
        (sale.value(id).await["status"].clone(), sale.value(closed).await["status"].clone()),
        (json!(0), json!(1))
    );
    assert!(sale.report().await["went_back"].as_u64() >= Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_compaction_under_the_watch_hid_is_in_force_within_half_a_minute() {
    let mut sale = Sale::start().await;
    let (edited, deleted) = (sale.schedule(&terms(-10, 600)).await, sale.schedule(&terms(1_000, 2_000)).await);
    // The watches break, and the history they would resume from is compacted first.
    sale.etcd.kill();
    sale.every_instance_has_etcd("down").await;
    sale.etcd.restart().await;
    sale.edit(edited, &json!({"status": 2})).await;
    sale.etcd.delete(&key(deleted)).await;
    sale.etcd.compact().await;
    sale.every_instance_answers("sold-out", LISTED).await;
    eventually("the deletion is in force", || async { sale.column(deleted, "status").await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_edit_is_in_force_while_mysql_is_away_and_mysql_has_it_afterwards() {
    let sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    // Two edits make sure that every instance has read the row since etcd has it.
    sale.edit(id, &json!({"status": 2})).await;
    sale.every_instance_answers("sold-out", SOON).await;
    let opened_at = sale.edit(id, &json!({"status": 0})).await;
    sale.every_instance_answers("claimed", SOON).await;
    eventually("MySQL has both edits", || async { sale.etcd_revision(id).await == opened_at }).await;
    sale.app.stores.execute("RENAME TABLE activities TO hidden").await;
    let closed_at = sale.edit(id, &json!({"status": 2})).await;
    sale.every_instance_answers("sold-out", SOON).await;
    sale.app.stores.execute("RENAME TABLE hidden TO activities").await;
    eventually("MySQL has the edit", || async { sale.etcd_revision(id).await == closed_at }).await;
    assert_eq!(sale.column(id, "status").await, 2);
    sale.every_instance_reports("waiting", &json!(0)).await;
    assert_eq!(sale.results().await, ["sold-out", "sold-out"]);

    // An edit that MySQL refuses is in force only while MySQL is unavailable.
    sale.app.stores.execute("RENAME TABLE activities TO hidden").await;
    sale.edit(id, &json!({"status": 0, "total": 10_001})).await;
    sale.every_instance_answers("claimed", SOON).await;
    sale.app.stores.execute("RENAME TABLE hidden TO activities").await;
    sale.every_instance_answers("sold-out", DEADLINE).await;
}
