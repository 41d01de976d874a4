//! `GET /metrics`: everything an operator may want to draw or be woken by. Nothing of a single user, and no tokens.
//!
//! Each name ends in its unit where it has one (seconds, bytes, `_total` for what is counted), and has a row in
//! `docs/OPERATIONS.md`; a test compares them.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::Shared;
use super::exposition::Exposition;
use crate::figures::Apart;
use crate::health::{EtcdReport, GATE_STATES, LedgerReport, Process, Report};

/// Statuses that a server may give.
const STATUSES: std::ops::Range<u16> = 100..600;

/// Answers counted by their status.
pub struct Answers(Apart<[AtomicU64; (STATUSES.end - STATUSES.start) as usize]>);

impl Default for Answers {
    fn default() -> Self {
        Self(Apart::new(|| std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Answers {
    pub fn note(&self, status: StatusCode) {
        if let Some(count) = self.0.mine().get(usize::from(status.as_u16().saturating_sub(STATUSES.start))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that were given at all.
    pub fn given(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (0..STATUSES.len()).map(|place| self.0.sum(|counts| &counts[place]));
        STATUSES.zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// Returns metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain; version=0.0.4")),
)]
pub async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let report = shared.health.report();
    let mut page = Exposition::default();
    parts(&mut page, &report);
    claims(&mut page, &shared, &report);
    ledger(&mut page, &shared, &report.ledger);
    stores(&mut page, &shared);
    admission(&mut page, &shared);
    memory(&mut page, &shared, &report);
    viewers(&mut page, &shared);
    etcd(&mut page, &report.etcd);
    process(&mut page, &Process::look());
    HttpResponse::Ok().insert_header(("content-type", "text/plain; version=0.0.4")).body(page.into_text())
}

fn parts(page: &mut Exposition, report: &Report<'_>) {
    page.gauge("couponrush_ready", "1 while it can sell", u8::from(report.ready));
    page.gauge("couponrush_redis_up", "1 while Redis is connected", u8::from(report.redis.state == "up"));
    page.gauge("couponrush_mysql_up", "1 while MySQL answers", u8::from(report.mysql.state == "up"));
    let gate = report.gate.part.state;
    page.gauge("couponrush_gate_open", "1 while the gate is open", u8::from(gate == "open"));
    page.state(("couponrush_gate_state", "state"), "1 for the state the gate is in", &GATE_STATES, gate);
    page.counter("couponrush_rebuilds_total", "loadings of Redis by this process", report.gate.rebuilds);
    page.gauge("couponrush_unsafe_settings", "settings of Redis and MySQL with which claims can be lost", {
        report.warnings.len()
    });
}

fn claims(page: &mut Exposition, shared: &Shared, report: &Report<'_>) {
    let (claiming, gate) = (&shared.claiming.figures, &report.gate);
    page.counters(("couponrush_responses_total", "status"), "answers to users and operators", shared.answers.given());
    page.counters(("couponrush_attempts_total", "result"), "what attempts came to", claiming.results());
    let took = "from the gate to the outcome of an attempt";
    page.histogram("couponrush_attempt_duration_seconds", took, &claiming.took);
    let asked = "what Redis took of it, each time it was asked";
    page.histogram("couponrush_attempt_redis_duration_seconds", asked, &claiming.asked);
    page.gauge("couponrush_in_flight", "attempts that wait for Redis", gate.in_flight);
    page.gauge("couponrush_in_flight_limit", "attempts that may wait for Redis at once", gate.in_flight_limit);
    let (refused, coupons, holders) = shared.claiming.refusals.figures();
    page.counter("couponrush_refused_from_memory_total", "attempts refused without asking Redis", refused);
    page.gauge("couponrush_refusable_coupons", "coupons whose attempts can be refused so", coupons);
    page.gauge("couponrush_refusable_holders", "holders of these in memory", holders);
}

fn ledger(page: &mut Exposition, shared: &Shared, report: &LedgerReport) {
    let state = shared.claiming.ledger.state();
    page.gauge("couponrush_ledger_backlog", "claims in the channel", report.backlog);
    page.gauge("couponrush_ledger_backlog_max", "claims the channel holds", report.backlog_max);
    page.gauge("couponrush_ledger_lag_seconds", "age of the oldest claim in hand", seconds(report.lag_ms));
    page.counter("couponrush_ledger_stored_total", "rows added to claims", report.stored);
    page.counter("couponrush_ledger_poisoned_total", "claims that could not be stored", report.poisoned);
    page.counter("couponrush_ledger_failures_total", "transactions that failed and were repeated", state.failures());
    page.histogram("couponrush_ledger_batch_claims", "claims of a transaction", &state.batches.claims);
    page.histogram("couponrush_ledger_batch_duration_seconds", "how long a transaction took", &state.batches.times);
    let outbox = shared.health.outbox();
    let claims = "claims in Redis that MySQL may not have yet, of all instances";
    page.gauge_if_known("couponrush_outbox_claims", claims, outbox.map(|outbox| outbox.claims));
    let age = outbox.map(|outbox| seconds(outbox.oldest_ms));
    page.gauge_if_known("couponrush_outbox_oldest_seconds", "age of the oldest of them; 0: there is none", age);
}

fn stores(page: &mut Exposition, shared: &Shared) {
    let redis = "calls to Redis but attempts', until they were answered or given up";
    page.histogram("couponrush_redis_call_duration_seconds", redis, shared.health.link.times());
    let mysql = "statements of MySQL but the ledger's, until they were answered or given up";
    page.histogram("couponrush_mysql_statement_duration_seconds", mysql, shared.db.times());
}

fn admission(page: &mut Exposition, shared: &Shared) {
    let figures = shared.admission.figures();
    page.counter("couponrush_refused_switched_off_total", "answered that a part is off", figures.refused_off);
    page.counter("couponrush_refused_blocked_total", "answered 403 for the blacklist", figures.refused_blocked);
    page.counter("couponrush_refused_rate_total", "answered 429 for a rate", figures.refused_too_fast);
    page.counter("couponrush_offenders_total", "blocked for going on after 429", figures.offenders);
    page.gauge("couponrush_blocks", "users and addresses on the blacklist", figures.blocks);
    page.counter("couponrush_blocks_refused_total", "blocks that found no place", figures.blocks_refused);
    page.gauge("couponrush_rate_keys", "users, addresses and names that are counted", figures.keys);
    page.counter("couponrush_rate_uncounted_total", "attempts that found no place", figures.uncounted);
}

fn memory(page: &mut Exposition, shared: &Shared, report: &Report<'_>) {
    page.gauge("couponrush_password_hashes_waiting", "callers waiting for a hash", shared.passwords.waiting());
    let lists = "lists answered from memory while lists are off";
    page.gauge("couponrush_lists_cached_bytes", lists, shared.lists.bytes());
    page.gauge("couponrush_revocations", "revoked tokens in memory", shared.revocations.count());
    page.gauge("couponrush_activities_revision", "highest revision of activities", report.activities.revision);
    page.gauge("couponrush_scheduled_coupons", "coupons with activities", report.activities.coupons);
    let age = report.activities.age_ms.map(seconds);
    page.gauge_if_known("couponrush_activities_age_seconds", "since all activities were read", age);
}

fn viewers(page: &mut Exposition, shared: &Shared) {
    let events = shared.events.figures();
    page.gauge("couponrush_viewers", "viewers of live units", events.viewers);
    page.gauge("couponrush_viewers_max", "viewers that may look at once", events.viewers_max);
    page.gauge("couponrush_viewed_products", "products that somebody looks at", events.products);
    page.counter("couponrush_viewers_refused_total", "viewers who were not let in", events.refused);
}

/// What an instance that follows etcd has to show besides.
fn etcd(page: &mut Exposition, report: &EtcdReport) {
    let Some(mirror) = &report.mirror else { return };
    page.gauge("couponrush_etcd_up", "1 while etcd answers", u8::from(report.part.state == "up"));
    page.gauge("couponrush_etcd_revision", "revision of etcd", mirror.revision);
    page.gauge("couponrush_etcd_keys", "keys when all were last read", mirror.keys);
    page.counter("couponrush_etcd_failures_total", "listings and watches that failed", mirror.failures);
    page.gauge("couponrush_etcd_waiting", "edits that MySQL may not have yet", mirror.waiting);
    page.gauge("couponrush_etcd_bad_keys", "keys whose value is not followed", mirror.bad);
    page.counter("couponrush_etcd_refused_total", "values that were not followed", mirror.refused);
    page.counter("couponrush_etcd_adopted_total", "edits taken over into MySQL", mirror.adopted);
    page.counter("couponrush_etcd_put_total", "rows put, or found put", mirror.put);
    page.counter("couponrush_etcd_went_back_total", "times etcd was back in an older state", mirror.went_back);
    page.gauge_if_known("couponrush_etcd_lag_seconds", "since etcd said anything", mirror.lag_ms.map(seconds));
    let listing = mirror.listing_age_ms.map(seconds);
    page.gauge_if_known("couponrush_etcd_listing_age_seconds", "since all keys were read", listing);
}

/// By the names that Prometheus' own libraries give them.
fn process(page: &mut Exposition, process: &Process) {
    page.gauge_if_known("process_resident_memory_bytes", "memory in use", process.resident_bytes);
    page.gauge_if_known("process_open_fds", "open files and connections", process.open_files);
    page.gauge_if_known("process_max_fds", "files and connections that may be open", process.open_files_max);
    if let Some(seconds) = process.cpu_seconds {
        page.counter("process_cpu_seconds_total", "time on processors", seconds);
    }
}

/// Of milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits of it are enough")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
