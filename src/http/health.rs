//! Health routes for operators and load balancers.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer;
use super::state::Operating;
use crate::ops::HealthReport;

/// The body of a running process.
#[derive(Serialize, ToSchema)]
pub struct Up {
    state: &'static str,
}

const UP: Up = Up { state: "up" };

/// Checks that the process runs.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz",
    responses((status = 200, description = "The process runs.", body = inline(Up), example = json!(UP))),
)]
pub async fn healthz() -> HttpResponse {
    answer::json(HttpResponse::Ok(), &UP)
}

pub fn example(ready: bool) -> Value {
    let gate = if ready { "open" } else { "recovering" };
    let (since, age) = (1_767_265_200, 60);
    let part = |state| json!({"state": state, "since": since, "age": age});
    let mut mysql = part("up");
    mysql["refuses_by"] = Value::Null;
    let ledger = json!({"state": "storing", "since": since, "age": age, "backlog": 40, "backlog_max": 1_000_000,
        "lag_ms": 25, "stored": 57, "poisoned": 0});
    let gate = json!({"state": gate, "since": since, "age": age, "in_flight": 12, "in_flight_limit": 20_000,
        "loaded_coupons": 3, "loaded_claims": 57, "rebuilds": 1});
    json!({
        "ready": ready, "draining": false, "redis": part("up"), "mysql": mysql, "etcd": part("off"),
        "ledger": ledger, "gate": gate,
        "shards": [{"shard": "s0", "redis": part("up"), "ledger": ledger, "gate": gate}],
        "activities": {"age_ms": 400, "revision": 2, "coupons": 3},
        "warnings": [],
    })
}

/// Checks that the instance can sell, and returns the state of each part.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz",
    responses(
        (status = 200, description = "The instance can sell.", body = inline(HealthReport), example = json!(example(true))),
        (status = 503, description = "The instance cannot sell.", body = inline(HealthReport),
            headers(("Retry-After" = u64, description = "Seconds after which a retry makes sense.")),
            example = json!(example(false))),
    ),
)]
pub async fn readyz(operating: web::Data<Operating>) -> HttpResponse {
    let report = operating.health.report();
    let mut builder = if report.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !report.ready {
        builder.insert_header((header::RETRY_AFTER, "1"));
    }
    answer::json(builder, &report)
}
