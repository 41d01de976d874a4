//! Puts and deletes by operators, and puts by the service.

use couponrush::domain::{ActivityId, Status};
use serde_json::json;

use super::{COUPON, SOON, Sale, key};
use crate::helpers::{eventually, terms};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_operator_puts_or_deletes_is_in_force_on_every_instance_within_a_second() {
    let sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    assert_eq!(sale.results().await, ["claimed", "claimed"]);

    for (fields, result) in [
        (json!({"status": 2}), "sold-out"),
        (json!({"status": 0}), "claimed"),
        (json!({"buy_rate": 0}), "try-again"),
        (json!({"buy_rate": 1, "start_time": 4_000_000_000_u64, "end_time": 4_000_000_001_u64}), "not-started"),
        (json!({"start_time": 1, "end_time": 2}), "ended"),
        (json!({"end_time": 4_000_000_000_u64, "status": 1}), "not-on-sale"),
        (json!({"status": 0, "speed": 0}), "claimed"),
    ] {
        let revision = match fields.get("speed") {
            None => sale.edit(id, &fields).await,
            // The alternative name of the field `sec_speed`.
            Some(_) => {
                let value = sale.value(id).await.to_string();
                sale.etcd
                    .put(&key(id), &value.replace("sec_speed", "speed").replace(r#""status":1"#, r#""status":0"#))
                    .await
            }
        };
        sale.every_instance_answers(result, SOON).await;
        eventually("MySQL has the edit", || async { sale.etcd_revision(id).await == revision }).await;
    }
    let authors = "SELECT CONCAT(activities.changed_by, ' ', coupons.changed_by) AS value FROM activities JOIN coupons ON \
        coupons.id = coupon_id";
    assert_eq!(sale.app.stores.texts(authors).await, ["etcd etcd"]);
    sale.app.instances[0].reschedule(id, |terms| terms.total = 9_000).await.expect("the activity can be changed");
    assert_eq!(sale.app.stores.texts(authors).await, ["root root"]);
    eventually("etcd has the change", || async { sale.is_recorded(id).await }).await;
    let before = sale.column(id, "revision").await;
    let deleted = sale.etcd.delete(&key(id)).await;
    sale.every_instance_answers("not-on-sale", SOON).await;
    eventually("MySQL has the deletion", || async { sale.etcd_revision(id).await == deleted }).await;
    let columns = (sale.column(id, "status").await, sale.column(id, "revision").await);
    assert_eq!(columns, (1, before + 1), "a single instance stored the deletion");
    assert_eq!(sale.app.stores.texts(authors).await, ["etcd etcd"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_activity_that_an_operator_puts_under_a_new_id_is_made() {
    let sale = Sale::start().await;
    let id = sale.schedule(&terms(1_000, 2_000)).await;
    assert_eq!(sale.results().await, ["not-started", "not-started"]);
    let mut value = sale.value(id).await;
    for (field, changed) in [("activity_id", 77), ("start_time", 1), ("end_time", 3)] {
        value[field] = json!(changed);
    }
    value["end_time"] = json!(couponrush::base::now_seconds() + 500);
    let put_at = sale.etcd.put("activities/77", &value.to_string()).await;
    sale.every_instance_answers("claimed", SOON).await;
    eventually("MySQL has the activity", || async { sale.etcd_revision(ActivityId(77)).await == put_at }).await;
    let author = sale.app.stores.texts("SELECT changed_by AS value FROM activities WHERE id = 77").await;
    assert_eq!(author, ["etcd"]);
    let next = sale.app.instances[1].schedule(COUPON, &terms(3_000, 4_000)).await;
    assert_eq!(next.expect("the activity can be created"), ActivityId(78));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_not_an_activity_changes_nothing_and_is_counted() {
    let sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    let other = sale.schedule(&terms(1_000, 2_000)).await;
    let good = sale.value(id).await;
    let row = "SELECT CONCAT_WS('/', id, coupon_id, name, start_time, end_time, total, status, speed, buy_limit, \
               buy_rate, revision, etcd_revision) AS value FROM activities ORDER BY id";
    let before = sale.app.stores.texts(row).await;
    let changed = |field: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed.to_string()
    };
    let bad = [
        String::new(),
        "not JSON".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "x".repeat(100_000),
        changed("status", json!(7)),
        changed("total", json!(10_001)),
        changed("end_time", json!(1)),
        changed("buy_rate", json!("0.5")),
        changed("activity_id", json!(other.0)),
        changed("product_id", json!(999)),
        changed("end_time", json!(couponrush::base::now_seconds() + 1_500)),
    ];
    for (n, value) in bad.iter().enumerate() {
        sale.etcd.put(&key(id), value).await;
        eventually("the value is refused", || async { sale.report().await["refused"] == n + 1 }).await;
        assert_eq!(sale.report().await["bad"], 1);
        assert_eq!(sale.results().await, ["claimed", "claimed"], "{value:.100}");
    }
    for name in ["activities/", "activities/x", "activities/01", "activities/4294967296"] {
        sale.etcd.put(name, &good.to_string()).await;
    }
    sale.etcd.put("activities/2000000000", &changed("activity_id", json!(2_000_000_000_u32))).await;
    eventually("the five keys are refused", || async { sale.report().await["bad"] == 6 }).await;
    assert_eq!(sale.app.stores.texts(row).await, before);

    let put_at = sale.etcd.put(&key(id), &changed("buy_limit", json!(5))).await;
    eventually("MySQL has the edit", || async { sale.etcd_revision(id).await == put_at }).await;
    eventually("the key is no longer bad", || async { sale.report().await["bad"] == 5 }).await;
    assert_eq!(sale.column(id, "buy_limit").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_changed_through_the_service_is_put_over_what_etcd_has() {
    let sale = Sale::start().await;
    let id = sale.schedule(&terms(-10, 600)).await;
    let value = sale.value(id).await;
    let expected = json!({"activity_id": id.0, "activity_name": "a sale of a test", "product_id": 1, "total": 0, "status": 0,
        "start_time": sale.column(id, "start_time").await, "end_time": sale.column(id, "end_time").await,
        "sec_speed": 0, "buy_limit": 1, "buy_rate": 1.0});
    assert_eq!(value, expected);
    sale.etcd.put(&key(id), "not JSON").await;
    let second = &sale.app.instances[1];
    second.reschedule(id, |terms| terms.status = Status::SoldOut).await.expect("the activity can be changed");
    eventually("etcd has the change", || async { sale.is_recorded(id).await }).await;
    assert_eq!(sale.value(id).await["status"], 2);
    let revisions = sale.column(id, "revision").await;
    assert_eq!(revisions, 2, "an instance's put is no edit for the other instances");
    eventually("the key is no longer bad", || async { sale.report().await["bad"] == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_ended_long_ago_is_taken_away_and_what_ended_a_day_ago_is_not_put() {
    let sale = Sale::start().await;
    let day = 86_400;
    let id = sale.schedule(&terms(-10, 600)).await;
    let value = sale.value(id).await;
    let [old, recent] = [(-4 * day, -3 * day), (-3 * day, -day - 60)].map(|(from, to)| terms(from, to));
    let instance = &sale.app.instances[0];
    let over = instance.schedule(COUPON, &recent).await.expect("the activity can be created");
    instance.reschedule(id, |terms| *terms = old).await.expect("the activity can be changed");
    // Records the revision, as if the service had put the activity before it ended.
    let put_at = sale.etcd.get(&key(id)).await.expect("etcd has the activity").1;
    sale.app.stores.execute(&format!("UPDATE activities SET etcd_revision = {put_at} WHERE id = {id}")).await;
    eventually("the key is deleted", || async { sale.etcd.get(&key(id)).await.is_none() }).await;
    eventually("the deletion is recorded", || async { sale.etcd_revision(id).await == 0 }).await;
    assert_eq!((sale.column(id, "status").await, sale.etcd.get(&key(over)).await), (0, None));

    // An edit of an activity that ended long ago is refused and counted as bad.
    let open = value.to_string().replace(r#""total":0"#, r#""total":9"#);
    sale.etcd.put(&key(id), &open).await;
    eventually("the edit is refused", || async { sale.report().await["bad"] == 1 }).await;
    assert_eq!(
        (sale.column(id, "total").await, sale.results().await),
        (0, vec!["ended".to_owned(), "ended".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_edit_of_an_unreadable_row_keeps_no_other_edit_from_mysql() {
    let sale = Sale::start().await;
    let bad = sale.schedule(&terms(-10, 600)).await;
    let good = sale.schedule(&terms(1_000, 2_000)).await;
    sale.app.stores.execute(&format!("UPDATE activities SET buy_rate = 9 WHERE id = {bad}")).await;
    sale.edit(bad, &json!({"total": 5})).await;
    let revision = sale.edit(good, &json!({"total": 6})).await;
    eventually("MySQL has the other edit", || async { sale.etcd_revision(good).await == revision }).await;
    sale.every_instance_reports("bad", &json!(1)).await;
    // A row that etcd lacks and nobody can read hides no other such row.
    sale.app.stores.execute(&format!("UPDATE activities SET etcd_revision = 0 WHERE id = {bad}")).await;
    sale.schedule(&terms(3_000, 4_000)).await;
    sale.app.stores.execute(&format!("UPDATE activities SET buy_rate = 1, total = 0 WHERE id = {bad}")).await;
    eventually("the corrected row is in etcd again", || sale.is_recorded(bad)).await;
    sale.edit(bad, &json!({"total": 7})).await;
    eventually("the corrected row takes an edit", || async { sale.column(bad, "total").await == 7 }).await;
    sale.every_instance_reports("bad", &json!(0)).await;
}
