//! Metrics: those of the service must match the runbook, the dashboard and the alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{EtcdServer, Instance, TestApp, eventually, without_rates};

const RUNBOOK: &str = include_str!("../../docs/OPERATIONS.md");
const DASHBOARD: &str = include_str!("../../deploy/grafana/couponrush.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");

/// The parsed `/metrics` page.
struct Page {
    /// Kind and help, by metric name.
    described: BTreeMap<String, (String, String)>,
    /// Values, by name and labels as written.
    values: BTreeMap<String, f64>,
}

impl Page {
    async fn read(instance: &Instance) -> Self {
        let answer = instance.ops.get("/metrics", "").await;
        assert_eq!((answer.status, answer.header("Content-Type")), (200, "text/plain; version=0.0.4"));
        let (mut described, mut values) = (BTreeMap::new(), BTreeMap::new());
        for line in answer.text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                    let before = described.insert(name.to_owned(), (String::new(), help.to_owned()));
                    assert_eq!(before, None, "{name} is described twice");
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    described.get_mut(name).expect("HELP comes first").0 = kind.to_owned();
                }
                (Some(name), Some(value), None, None) => {
                    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                    assert_eq!(values.insert(name.to_owned(), value), None, "{name} occurs twice");
                }
                _ => panic!("not in the Prometheus format: {line:?}"),
            }
        }
        Self { described, values }
    }

    /// A metric's value. 0 if the page lacks it.
    fn value(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }

    /// All names for queries.
    fn names(&self) -> BTreeSet<&str> {
        self.values.keys().map(|name| name.split('{').next().expect("a split has a first part")).collect()
    }
}

/// A service with etcd, once its page has every metric.
async fn with_everything() -> (TestApp, EtcdServer) {
    let etcd = EtcdServer::start().await;
    let url = etcd.url();
    let app = TestApp::start_with(|args| {
        without_rates(args);
        args.etcd.etcd_endpoints = url;
    })
    .await;
    let names = [
        "couponrush_etcd_lag_seconds",
        "couponrush_etcd_listing_age_seconds",
        "couponrush_outbox_claims",
        "couponrush_poisoned_claims",
    ];
    eventually("every metric is shown", || async {
        let page = Page::read(&app.instances[0]).await;
        names.iter().all(|name| page.values.contains_key(*name))
    })
    .await;
    (app, etcd)
}

/// All metric names in a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("couponrush_") || word.starts_with("process_")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_runbook_the_dashboard_and_the_alerts_name_what_is_there() {
    let (app, _etcd) = with_everything().await;
    let page = Page::read(&app.instances[0]).await;
    assert!(page.described.len() > 60, "{:?}", page.described.keys());
    let documented = metrics_in(RUNBOOK);
    let etcd = |name: &str| name.starts_with("couponrush_etcd_");
    let undocumented =
        page.described.keys().filter(|name| !documented.contains(name.as_str()) && !etcd(name)).collect::<Vec<_>>();
    assert_eq!(undocumented, [] as [&String; 0], "a row in docs/OPERATIONS.md is missing");
    let is_unknown =
        |name: &&str| !page.names().contains(name) && !page.described.contains_key(*name) && !name.ends_with('_');
    assert_eq!(
        documented.into_iter().filter(is_unknown).collect::<Vec<_>>(),
        [] as [&str; 0],
        "the runbook names unknown metrics"
    );
    for (source, text) in [("the dashboard", DASHBOARD), ("an alert", ALERTS)] {
        let named = metrics_in(text);
        assert!(named.len() > 10, "{named:?}");
        let missing: Vec<&str> = named.into_iter().filter(|name| !page.names().contains(name)).collect();
        assert_eq!(missing, [] as [&str; 0], "{source} names unknown metrics");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_metric_has_a_help_and_is_named_as_prometheus_wants_it() {
    let (app, _etcd) = with_everything().await;
    let page = Page::read(&app.instances[0]).await;
    for (name, (kind, help)) in &page.described {
        assert!(help.len() > 5 && !help.ends_with('.'), "{name}: {help:?}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(name.starts_with("couponrush_") || name.starts_with("process_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        let is_time = ["duration", "age", "lag", "oldest"].iter().any(|word| name.split('_').any(|part| part == *word));
        assert_eq!(is_time || name.contains("cpu"), name.contains("_seconds"), "times are in seconds: {name}");
    }
    // No label identifies a user.
    let labels: BTreeSet<&str> =
        page.values.keys().filter_map(|name| name.split_once('{')?.1.split_once('=')).map(|(label, _)| label).collect();
    assert_eq!(labels, BTreeSet::from(["le", "pool", "read", "result", "shard", "state", "status", "to"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_answers_and_batches_are_counted_as_what_they_came_to() {
    let app = TestApp::start_without_rates().await;
    let (client, instance) = (app.client(), &app.instances[0]);
    let shop = app.user("shop", Kind::Saler).await;
    client.create_coupon("shop", &shop, "three", 3).await;
    let before = Page::read(instance).await;
    for customer in app.customers(5).await {
        client.claim("shop", "three", &customer).await;
        client.claim("shop", "three", &customer).await;
    }
    app.settle().await;
    let after = Page::read(instance).await;
    let more = |name: &str| after.value(name) - before.value(name);
    assert_eq!(more("couponrush_attempts_total{result=\"claimed\"}"), 3.0);
    assert_eq!(more("couponrush_attempts_total{result=\"already-claimed\"}"), 3.0);
    assert_eq!(more("couponrush_attempts_total{result=\"sold-out\"}"), 4.0);
    assert_eq!(more("couponrush_responses_total{status=\"201\"}"), 3.0);
    assert_eq!(more("couponrush_responses_total{status=\"204\"}"), 7.0);
    assert_eq!(more("couponrush_attempt_duration_seconds_count"), 10.0);
    assert_eq!(more("couponrush_attempt_duration_seconds_bucket{le=\"+Inf\"}"), 10.0);
    assert!(more("couponrush_attempt_duration_seconds_sum") > 0.0);
    let from_memory = more("couponrush_refused_from_memory_total");
    assert_eq!(more("couponrush_attempt_redis_duration_seconds_count"), 10.0 - from_memory);
    assert!(more("couponrush_redis_call_duration_seconds_count") > 0.0);
    assert_eq!(more("couponrush_ledger_stored_total"), 3.0);
    // A repeated claim goes to the ledger again while MySQL does not have it.
    assert!((3.0..=6.0).contains(&more("couponrush_ledger_batch_claims_sum")));
    assert!(more("couponrush_ledger_batch_duration_seconds_count") >= 1.0);
    let buckets =
        after.values.iter().filter(|(name, _)| name.starts_with("couponrush_attempt_duration_seconds_bucket"));
    assert_eq!(buckets.count(), 13, "the number of buckets is fixed");
    assert!(after.value("process_resident_memory_bytes") > 1e6 && after.value("process_open_fds") > 10.0);
    assert!(after.value("couponrush_gate_state{state=\"open\"}") == 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_waits_for_mysql_shows_with_its_age() {
    let app = TestApp::start_without_rates().await;
    let instance = &app.instances[0];
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    let customers = app.customers(4).await;
    let lock = app.stores.lock_table("claims").await;
    for customer in &customers {
        assert_eq!(app.client().claim("shop", "ten", customer).await.result(), "claimed");
    }
    let waits = |entries: f64, age: f64| async move {
        let page = Page::read(instance).await;
        page.value("couponrush_outbox_claims") == entries && page.value("couponrush_outbox_oldest_seconds") >= age
    };
    eventually("the waiting claims and their age are shown", || waits(4.0, 2.0)).await;
    assert!(Page::read(instance).await.value("couponrush_ledger_lag_seconds") >= 2.0);
    drop(lock);
    eventually("no claim waits", || async {
        let page = Page::read(instance).await;
        page.value("couponrush_outbox_claims") == 0.0 && page.value("couponrush_outbox_oldest_seconds") == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_counted_and_so_are_those_who_find_no_place() {
    let app = TestApp::start_with(|args| args.viewers_max = 1).await;
    let instance = &app.instances[0];
    let shop = app.user("shop", Kind::Saler).await;
    app.client().create_coupon("shop", &shop, "ten", 10).await;
    let id = app.stores.number("SELECT MIN(id) FROM coupons").await;
    let look = || app.client().request("GET", &format!("/sec/events?product_id={id}")).send();
    let viewer = look().await.expect("the service answers");
    assert_eq!(look().await.expect("the service answers").status(), 503);
    let page = Page::read(instance).await;
    let shown = ["viewers", "viewers_max", "viewers_of_one_saler", "viewed_products", "viewers_refused_total"];
    assert_eq!(shown.map(|name| page.value(&format!("couponrush_{name}"))), [1.0; 5]);
    drop(viewer);
}

#[test]
fn every_alert_says_what_to_do_in_a_section_of_the_runbook() {
    let mut names = BTreeSet::new();
    for alert in ALERTS.split("- alert: ").skip(1) {
        let name = alert.lines().next().expect("a name");
        assert!(names.insert(name), "{name} occurs twice");
        assert!(RUNBOOK.lines().any(|line| line == format!("### {name}")), "no section {name}");
        let runbook = format!("runbook: docs/OPERATIONS.md#{}", name.to_lowercase());
        for part in ["expr: ", "for: ", "severity: ", "summary: ", &runbook] {
            assert!(alert.lines().any(|line| line.trim_start().starts_with(part)), "{name} lacks {part}");
        }
    }
    let sections = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### Couponrush"));
    assert_eq!(sections.count(), names.len(), "every section belongs to an alert");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    assert_eq!((&dashboard["title"], &dashboard["uid"]), (&json!("couponrush"), &json!("couponrush")));
    assert!(
        dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 39),
        "the schema version of Grafana 11"
    );
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let place = &panel["gridPos"];
        assert!(places.insert((place["x"].as_u64(), place["y"].as_u64())), "two panels at the same place: {panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            assert_eq!(query.matches('(').count(), query.matches(')').count(), "{query}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "queries use the dashboard's data source");
        }
    }
    assert!(ids.len() > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn readyz_shows_since_when_and_how_old() {
    let app = TestApp::start().await;
    let ready = app.instances[0].ops.get("/readyz", "").await.json();
    assert!(ready["activities"]["age_ms"].as_u64().is_some_and(|age| age < 10_000), "{ready}");
    assert_eq!(app.client().get("/metrics", "").await.status, 404, "/metrics is only for operators");
    tokio::time::timeout(Duration::from_secs(5), app.instances[0].ops.get("/metrics", "")).await.expect("at once");
}
