//! What operators ask: does it run, can it sell, how is it.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Shared, answer};
use crate::health::EtcdReport;

/// A process that answers.
#[derive(Serialize, ToSchema)]
pub struct Up {
    state: &'static str,
}

impl Default for Up {
    fn default() -> Self {
        Self { state: "up" }
    }
}

/// `GET /healthz`: 200 while the process runs.
pub async fn healthz() -> HttpResponse {
    answer::json(HttpResponse::Ok(), &Up::default())
}

/// `GET /readyz`: 200 when it can sell, else 503; what each part does, since when.
pub async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let report = shared.health.report();
    let mut builder = if report.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !report.ready {
        builder.insert_header((header::RETRY_AFTER, "1"));
    }
    answer::json(builder, &report)
}

/// `GET /metrics`: the same in figures, as Prometheus reads them.
pub async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let report = shared.health.report();
    let admission = shared.admission.figures();
    let (refused, known_coupons, known_holders) = shared.claiming.refusals.figures();
    let events = shared.events.figures();
    let flag = u64::from;
    let figures = [
        ("couponrush_ready", "gauge", "1 while it can sell", flag(report.ready)),
        ("couponrush_redis_up", "gauge", "1 while Redis is connected", flag(report.redis.state == "up")),
        ("couponrush_mysql_up", "gauge", "1 while MySQL answers", flag(report.mysql.state == "up")),
        ("couponrush_gate_open", "gauge", "1 while the gate is open", flag(report.gate.part.state == "open")),
        ("couponrush_in_flight", "gauge", "attempts that wait for Redis", report.gate.in_flight as u64),
        (
            "couponrush_in_flight_limit",
            "gauge",
            "attempts that may wait for Redis at once",
            report.gate.in_flight_limit as u64,
        ),
        ("couponrush_ledger_backlog", "gauge", "claims in the channel", report.ledger.backlog as u64),
        ("couponrush_ledger_backlog_max", "gauge", "claims the channel holds", report.ledger.backlog_max as u64),
        ("couponrush_ledger_lag_milliseconds", "gauge", "age of the oldest claim in hand", report.ledger.lag_ms),
        ("couponrush_ledger_stored_total", "counter", "rows added to claims", report.ledger.stored),
        ("couponrush_ledger_poisoned_total", "counter", "claims that could not be stored", report.ledger.poisoned),
        ("couponrush_rebuilds_total", "counter", "loadings of Redis by this process", report.gate.rebuilds),
        (
            "couponrush_password_hashes_waiting",
            "gauge",
            "callers waiting for a hash",
            shared.passwords.waiting() as u64,
        ),
        ("couponrush_refused_switched_off_total", "counter", "answered that a part is off", admission.refused_off),
        ("couponrush_refused_blocked_total", "counter", "answered 403 for the blacklist", admission.refused_blocked),
        ("couponrush_refused_rate_total", "counter", "answered 429 for a rate", admission.refused_too_fast),
        ("couponrush_offenders_total", "counter", "blocked for going on after 429", admission.offenders),
        ("couponrush_blocks", "gauge", "users and addresses on the blacklist", admission.blocks),
        ("couponrush_blocks_refused_total", "counter", "blocks that found no place", admission.blocks_refused),
        ("couponrush_rate_keys", "gauge", "users, addresses and names that are counted", admission.keys),
        ("couponrush_rate_uncounted_total", "counter", "attempts that found no place", admission.uncounted),
        (
            "couponrush_lists_cached_bytes",
            "gauge",
            "lists answered from memory while lists are off",
            shared.lists.bytes(),
        ),
        ("couponrush_refused_from_memory_total", "counter", "attempts refused without asking Redis", refused),
        ("couponrush_refusable_coupons", "gauge", "coupons whose attempts can be refused so", known_coupons as u64),
        ("couponrush_refusable_holders", "gauge", "holders of these in memory", known_holders as u64),
        ("couponrush_activities_revision", "gauge", "highest revision of activities", report.activities.revision),
        ("couponrush_scheduled_coupons", "gauge", "coupons with activities", report.activities.coupons as u64),
        ("couponrush_viewers", "gauge", "viewers of live units", events.viewers as u64),
        ("couponrush_viewers_max", "gauge", "viewers that may look at once", events.viewers_max as u64),
        ("couponrush_viewed_products", "gauge", "products that somebody looks at", events.products as u64),
        ("couponrush_viewers_refused_total", "counter", "viewers who were not let in", events.refused),
        ("couponrush_revocations", "gauge", "revoked tokens in memory", shared.revocations.count() as u64),
    ];
    let mut text = String::new();
    let age = report.activities.age_ms;
    let age = age.map(|age| ("couponrush_activities_age_milliseconds", "gauge", "since all activities were read", age));
    for (name, kind, help, value) in figures.into_iter().chain(age).chain(etcd_figures(&report.etcd)) {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4")).body(text)
}

/// What an instance that follows etcd has to show besides.
fn etcd_figures(report: &EtcdReport) -> Vec<(&'static str, &'static str, &'static str, u64)> {
    let Some(mirror) = &report.mirror else { return Vec::new() };
    let up = u64::from(report.part.state == "up");
    let mut figures = vec![
        ("couponrush_etcd_up", "gauge", "1 while etcd answers", up),
        ("couponrush_etcd_revision", "gauge", "revision of etcd", mirror.revision),
        ("couponrush_etcd_keys", "gauge", "keys when all were last read", mirror.keys),
        ("couponrush_etcd_failures_total", "counter", "listings and watches that failed", mirror.failures),
        ("couponrush_etcd_waiting", "gauge", "edits that MySQL may not have yet", mirror.waiting),
        ("couponrush_etcd_bad_keys", "gauge", "keys whose value is not followed", mirror.bad),
        ("couponrush_etcd_refused_total", "counter", "values that were not followed", mirror.refused),
        ("couponrush_etcd_adopted_total", "counter", "edits taken over into MySQL", mirror.adopted),
        ("couponrush_etcd_put_total", "counter", "rows put, or found put", mirror.put),
        ("couponrush_etcd_went_back_total", "counter", "times etcd was back in an older state", mirror.went_back),
    ];
    // Absent until there is something to measure from: 0 would say that all is well.
    let ages = [
        ("couponrush_etcd_lag_milliseconds", "gauge", "since etcd said anything", mirror.lag_ms),
        ("couponrush_etcd_listing_age_milliseconds", "gauge", "since all keys were read", mirror.listing_age_ms),
    ];
    figures.extend(ages.into_iter().filter_map(|(name, kind, help, age)| Some((name, kind, help, age?))));
    figures
}
