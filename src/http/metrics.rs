//! `GET /metrics`: everything that an operator may want in a graph or an alert. No data of single users, and no tokens.
//!
//! A name ends in its unit, if any, and a counter in `_total`. A test checks that `docs/OPERATIONS.md` has every name.

use std::sync::Arc;

use actix_web::{HttpResponse, web};

use super::exposition::Exposition;
use super::state::{Accounts, Edge, Offering, Operating, Selling};
use crate::admission::Admission;
use crate::claim::{ARCHIVED_CLAIMS_MAX, ClaimFigures, ConditionChecks, Shard, WINNERS_MAX};
use crate::memory::{LISTED_CLAIMS_MAX, ReadCounts};
use crate::mysql::{DbPools, PoolUse};
use crate::ops::{
    EtcdReport, HealthReport, LedgerReport, OutboxSeen, ProcessFigures, ShardReport, TRAIL_QUEUE_MAX, Trail,
    gate_states,
};
use crate::sales::{ArchiveFigures, Events, Publishing};

/// Returns metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain; version=0.0.4")),
)]
pub async fn metrics(
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    selling: web::Data<Selling>,
    offering: web::Data<Offering>,
    operating: web::Data<Operating>,
    dbs: web::Data<DbPools>,
) -> HttpResponse {
    let (health, shards) = (&operating.health, selling.shards.all());
    let report = health.report();
    let mut page = Exposition::default();
    parts(&mut page, &report);
    of_shards(&mut page, &report);
    let answers = "answers to users and operators";
    page.counters("couponrush_responses_total", "status", answers, edge.answers.given());
    claims(&mut page, &selling.figures, &shards, &report);
    ledger(&mut page, &shards, health.outbox(), &report.ledger);
    let open = "claims of all instances that could not be stored, and that nobody has acknowledged";
    page.gauge_if_known("couponrush_poisoned_claims", open, operating.rows.poisoned());
    stores(&mut page, &shards, &dbs);
    admission(&mut page, &edge.admission);
    memory(&mut page, &accounts, &selling, &report);
    archive(&mut page, &selling, &operating.archive);
    open_offers(&mut page, &offering.publishing);
    conditions(&mut page, &selling.conditions);
    trail(&mut page, &operating.trail);
    viewers(&mut page, &selling.events);
    etcd(&mut page, &report.etcd);
    process(&mut page, &ProcessFigures::look());
    HttpResponse::Ok().insert_header(("content-type", "text/plain; version=0.0.4")).body(page.into_text())
}

fn parts(page: &mut Exposition, report: &HealthReport) {
    page.gauge("couponrush_ready", "1 while a claim could succeed", u8::from(report.ready));
    let draining = "1 from a stop signal on, while users are still served";
    page.gauge("couponrush_draining", draining, u8::from(report.draining));
    let redis = "1 while Redis is connected and takes writes";
    page.gauge("couponrush_redis_up", redis, u8::from(report.redis.state == "up"));
    let mysql = report.mysql.part.state;
    page.gauge("couponrush_mysql_up", "1 while MySQL accepts writes", u8::from(mysql == "up"));
    let read_only = "1 while MySQL answers and refuses writes";
    page.gauge("couponrush_mysql_read_only", read_only, u8::from(mysql == "read-only"));
    let gate = report.gate.part.state;
    page.gauge("couponrush_gate_open", "1 while the gate is open", u8::from(gate == "open"));
    page.state("couponrush_gate_state", "state", "1 for the gate's current state, else 0", &gate_states(), gate);
    page.counter("couponrush_rebuilds_total", "rebuilds of Redis by this process", report.gate.rebuilds);
    let unsafe_settings = "settings of Redis and MySQL with which claims can be lost";
    page.gauge("couponrush_unsafe_settings", unsafe_settings, report.warnings.len());
}

/// States of single shards. The other metrics are of all shards.
fn of_shards(page: &mut Exposition, report: &HealthReport) {
    let all =
        |value: fn(&ShardReport) -> bool| report.shards.iter().map(move |shard| (shard.shard, value(shard).into()));
    let open = "1 while the gate of the shard is open";
    page.gauges("couponrush_shard_open", "shard", open, all(|shard| shard.gate.part.state == "open"));
    let up = "1 while the Redis of the shard is connected and takes writes";
    page.gauges("couponrush_shard_redis_up", "shard", up, all(|shard| shard.redis.state == "up"));
}

fn claims(page: &mut Exposition, figures: &ClaimFigures, shards: &[Arc<Shard>], report: &HealthReport) {
    let gate = &report.gate;
    page.counters("couponrush_attempts_total", "result", "attempts by result", figures.results());
    let took = "duration of an attempt, from its start to the outcome";
    page.histogram("couponrush_attempt_duration_seconds", took, &figures.took);
    let asked = "duration of each Redis call within an attempt";
    page.histogram("couponrush_attempt_redis_duration_seconds", asked, &figures.asked);
    page.gauge("couponrush_in_flight", "attempts waiting for Redis", gate.in_flight);
    page.gauge("couponrush_in_flight_limit", "current limit of attempts waiting for Redis", gate.in_flight_limit);
    let waiters = &shards[0].claiming.ledger.state().waiters;
    let waited = "duration of a wait for MySQL's commit, timeouts included";
    page.histogram("couponrush_commit_wait_duration_seconds", waited, &waiters.waited);
    let (waiting, waiting_max) = waiters.places();
    page.gauge("couponrush_commit_waiting", "attempts that wait, or will wait, for MySQL's commit", waiting);
    page.gauge("couponrush_commit_waiting_max", "limit of these attempts", waiting_max);
    let figures = shards.iter().map(|shard| shard.claiming.refusals.figures());
    let (refused, coupons, holders) = figures.fold((0, 0, 0), |all, one| (all.0 + one.0, all.1 + one.1, all.2 + one.2));
    page.counter("couponrush_refused_from_memory_total", "attempts refused from memory", refused);
    page.gauge("couponrush_refusable_coupons", "coupons refusable from memory", coupons);
    page.gauge("couponrush_refusable_holders", "holders of refusable coupons in memory", holders);
}

fn ledger(page: &mut Exposition, shards: &[Arc<Shard>], outbox: Option<OutboxSeen>, report: &LedgerReport) {
    let failures = shards.iter().map(|shard| shard.claiming.ledger.state().failures()).sum::<u64>();
    let batches = &shards[0].claiming.ledger.state().batches;
    page.gauge("couponrush_ledger_backlog", "claims in the channel", report.backlog);
    page.gauge("couponrush_ledger_backlog_max", "capacity of the channel in claims", report.backlog_max);
    page.gauge("couponrush_ledger_lag_seconds", "age of the oldest unstored claim", seconds(report.lag_ms));
    page.counter("couponrush_ledger_stored_total", "rows inserted into the table claims", report.stored);
    page.counter("couponrush_ledger_poisoned_total", "claims that could not be stored", report.poisoned);
    page.counter("couponrush_ledger_failures_total", "transactions that failed and were retried", failures);
    page.histogram("couponrush_ledger_batch_claims", "claims in a transaction", &batches.claims);
    page.histogram("couponrush_ledger_batch_duration_seconds", "duration of a transaction", &batches.times);
    let claims = "claims in the outbox, of all instances, possibly not in MySQL yet";
    page.gauge_if_known("couponrush_outbox_claims", claims, outbox.map(|outbox| outbox.claims));
    let age = outbox.map(|outbox| seconds(outbox.oldest_ms));
    page.gauge_if_known("couponrush_outbox_oldest_seconds", "age of the oldest claim in the outbox, 0 if empty", age);
    let unread = "entries of the outbox that could not be read, of all instances";
    page.gauge_if_known("couponrush_unread_entries", unread, outbox.map(|outbox| outbox.unread));
}

fn stores(page: &mut Exposition, shards: &[Arc<Shard>], dbs: &DbPools) {
    let redis = "duration of a Redis call outside attempts, timeouts included";
    page.histogram("couponrush_redis_call_duration_seconds", redis, shards[0].redis.times());
    let mysql = "duration of a MySQL statement outside the ledger, timeouts included";
    page.histogram("couponrush_mysql_statement_duration_seconds", mysql, dbs.users.times());
    let pools = [("users", dbs.users.pool_use()), ("control", dbs.control.pool_use())];
    let of_pools = |value: fn(&PoolUse) -> usize| pools.map(|(name, pool)| (name, value(&pool)));
    let max = "size of a pool of connections to MySQL";
    page.gauges("couponrush_mysql_connections_max", "pool", max, of_pools(|pool| pool.connections_max));
    let busy = "connections of a pool that are in use";
    page.gauges("couponrush_mysql_connections_busy", "pool", busy, of_pools(|pool| pool.busy));
    let waiting = "callers that wait for a connection of a pool";
    page.gauges("couponrush_mysql_connections_waiting", "pool", waiting, of_pools(|pool| pool.waiting));
    let moved = "times that new ids were moved on, because MySQL may lack the last rows";
    page.counter("couponrush_ids_moved_on_total", moved, dbs.users.last_server().moved());
    let unreadable = "rows of coupons and activities that cannot be read";
    page.gauge("couponrush_unreadable_rows", unreadable, dbs.control.unreadable().all().len());
}

fn admission(page: &mut Exposition, admission: &Admission) {
    let figures = admission.figures();
    let serving = "instances that serve users and share the limits";
    page.gauge("couponrush_serving_instances", serving, admission.share.serving());
    page.counter("couponrush_refused_switched_off_total", "requests refused by a switch", figures.refused_off);
    page.counter("couponrush_refused_blocked_total", "requests refused by the blacklist", figures.refused_blocked);
    page.counter("couponrush_refused_rate_total", "requests refused by a rate limit", figures.refused_too_fast);
    page.counter("couponrush_offenders_total", "users and addresses blocked after too many 429s", figures.offenders);
    page.gauge("couponrush_blocks", "users and addresses on the blacklist", figures.blocks);
    page.counter("couponrush_blocks_refused_total", "blocks dropped by the full blacklist", figures.blocks_refused);
    page.gauge("couponrush_rate_keys", "users, addresses and names with a counter", figures.keys);
    page.counter(
        "couponrush_rate_by_crowd_total",
        "requests counted by crowd because a table was full",
        figures.by_crowd,
    );
}

fn memory(page: &mut Exposition, accounts: &Accounts, selling: &Selling, report: &HealthReport) {
    let waiting = accounts.passwords.waiting() + accounts.admin_passwords.waiting();
    page.gauge("couponrush_password_hashes_waiting", "callers waiting for a password hash", waiting);
    let networks = accounts.networks.figures();
    let waiting = "logins whose network waits to be written to MySQL";
    page.gauge("couponrush_known_networks_waiting", waiting, networks.waiting);
    let dropped = "logins whose network was not noted, because too many waited";
    page.counter("couponrush_known_networks_dropped_total", dropped, networks.dropped);
    let asked = "reads of the networks that know a name, by result";
    page.counters("couponrush_known_network_reads_total", "result", asked, by_result(networks.reads));
    let lists = "size of cached lists while lists are switched off";
    page.gauge("couponrush_lists_cached_bytes", lists, selling.lists.bytes());
    page.gauge("couponrush_merchant_keys", "keys of merchants in memory", accounts.keys.count());
    page.gauge(
        "couponrush_revocations",
        "revoked tokens, and users with revoked earlier tokens",
        accounts.revocations.counts().all(),
    );
    page.gauge("couponrush_activities_revision", "highest activity revision of any coupon", report.activities.revision);
    page.gauge("couponrush_scheduled_coupons", "coupons with activities", report.activities.coupons);
    let age = report.activities.age_ms.map(seconds);
    page.gauge_if_known("couponrush_activities_age_seconds", "time since all activities were read", age);
}

fn archive(page: &mut Exposition, selling: &Selling, moves: &ArchiveFigures) {
    let (archived, returned) = moves.counts();
    let steps = "coupons that this process archived or brought back";
    page.counters("couponrush_archive_moves_total", "to", steps, [("archive", archived), ("redis", returned)]);
    let waiting = "coupons that wait to be archived or to come back";
    page.gauge("couponrush_archive_waiting", waiting, moves.waiting());
    let figures = selling.archived.figures();
    let (listed, lists) = selling.archived_claims.figures();
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let cached = [("attempts", size(figures.claims)), ("lists", size(listed))];
    page.gauges("couponrush_archive_cached", "read", "users and claims in a cache of archived claims", cached);
    let max = [("attempts", size(ARCHIVED_CLAIMS_MAX)), ("lists", size(LISTED_CLAIMS_MAX))];
    page.gauges("couponrush_archive_cached_max", "read", "limit of a cache of archived claims", max);
    let reads = [("attempts", figures.reads), ("counts", figures.counts), ("lists", lists)];
    let of_reads = |value: fn(&ReadCounts) -> u64| reads.map(|(name, counts)| (name, value(&counts)));
    let done = "reads of archived coupons from MySQL";
    page.counters("couponrush_archive_reads_total", "read", done, of_reads(|counts| counts.done));
    let failed = "reads of archived coupons that failed or took too long";
    page.counters("couponrush_archive_reads_failed_total", "read", failed, of_reads(|counts| counts.failed));
    let results = by_result(selling.closed_shards.counts());
    let closed = "reads of lists from MySQL for closed shards, by result";
    page.counters("couponrush_closed_shard_reads_total", "result", closed, results);
    let refused = "reads of archived coupons refused because too many wait";
    page.counters("couponrush_archive_reads_refused_total", "read", refused, of_reads(|counts| counts.refused));
}

fn conditions(page: &mut Exposition, conditions: &ConditionChecks) {
    let winning = "winners that are counted by network";
    page.gauge("couponrush_network_winners", winning, conditions.counted_winners());
    page.gauge("couponrush_network_winners_max", "limit of winners that are counted by network", WINNERS_MAX);
}

fn trail(page: &mut Exposition, trail: &Trail) {
    let (dropped, waiting) = trail.figures();
    page.counter("couponrush_audit_dropped_total", "events that the audit trail has lost", dropped);
    page.gauge("couponrush_audit_waiting", "events of the audit trail that wait for MySQL", waiting);
    page.gauge("couponrush_audit_waiting_max", "limit of waiting events", 2 * TRAIL_QUEUE_MAX);
}

fn by_result(reads: ReadCounts) -> [(&'static str, u64); 3] {
    [("done", reads.done), ("failed", reads.failed), ("refused", reads.refused)]
}

/// What all salers have, and may have.
fn open_offers(page: &mut Exposition, publishing: &Publishing) {
    let (known, totals) = (publishing.open_offers().known(), publishing.totals());
    let coupons = "coupons of all salers that are not archived";
    page.gauge_if_known("couponrush_open_coupons", coupons, known.map(|open| open.coupons));
    page.gauge("couponrush_open_coupons_max", "limit of open coupons, 0 without a limit", totals.coupons);
    page.gauge_if_known("couponrush_open_units", "units of the open coupons", known.map(|open| open.units));
    page.gauge("couponrush_open_units_max", "limit of units of open coupons, 0 without a limit", totals.units);
}

fn viewers(page: &mut Exposition, events: &Events) {
    let events = events.figures();
    page.gauge("couponrush_viewers", "viewers of live units", events.viewers);
    page.gauge("couponrush_viewers_max", "limit of viewers", events.viewers_max);
    page.gauge("couponrush_viewers_of_one_saler", "viewers of the saler who has most", events.of_one_saler);
    page.gauge("couponrush_viewed_products", "products with viewers", events.products);
    page.counter("couponrush_viewers_refused_total", "viewers refused", events.refused);
}

/// Metrics of an instance with etcd.
fn etcd(page: &mut Exposition, report: &EtcdReport) {
    let Some(mirror) = &report.mirror else { return };
    page.gauge("couponrush_etcd_up", "1 while etcd answers", u8::from(report.part.state == "up"));
    page.gauge("couponrush_etcd_revision", "revision of etcd", mirror.revision);
    page.gauge("couponrush_etcd_keys", "keys when all were last read", mirror.keys);
    page.counter("couponrush_etcd_failures_total", "failed listings and watches", mirror.failures);
    page.gauge("couponrush_etcd_waiting", "edits that MySQL may not have yet", mirror.waiting);
    page.gauge("couponrush_etcd_bad_keys", "keys ignored because of an invalid value", mirror.bad);
    page.counter("couponrush_etcd_refused_total", "invalid values ignored", mirror.refused);
    page.counter("couponrush_etcd_adopted_total", "edits by operators stored in MySQL", mirror.adopted);
    page.counter("couponrush_etcd_put_total", "rows put to etcd, or found there already", mirror.put);
    page.counter("couponrush_etcd_went_back_total", "times etcd went back to an older state", mirror.went_back);
    page.gauge_if_known("couponrush_etcd_lag_seconds", "time since etcd's last message", mirror.lag_ms.map(seconds));
    let listing = mirror.listing_age_ms.map(seconds);
    page.gauge_if_known("couponrush_etcd_listing_age_seconds", "time since all keys were read", listing);
}

/// Metrics with the names used by Prometheus' client libraries.
fn process(page: &mut Exposition, process: &ProcessFigures) {
    page.gauge_if_known("process_resident_memory_bytes", "memory in use", process.resident_bytes);
    page.gauge_if_known("process_open_fds", "open files and connections", process.open_files);
    page.gauge_if_known("process_max_fds", "limit of open files and connections", process.open_files_max);
    if let Some(seconds) = process.cpu_seconds {
        page.counter("process_cpu_seconds_total", "processor time", seconds);
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are precise enough for a metric")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
