//! Health routes for operators and load balancers.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer;
use super::state::Shared;

/// The body of a running process.
#[derive(Serialize, ToSchema)]
pub struct Up {
    state: &'static str,
}

impl Default for Up {
    fn default() -> Self {
        Self { state: "up" }
    }
}

/// `GET /healthz`: always 200 from a running process.
pub async fn healthz() -> HttpResponse {
    answer::json(HttpResponse::Ok(), &Up::default())
}

/// `GET /readyz`: 200 if a claim could succeed, else 503. The body lists the state of each part and the time of the
/// last change.
pub async fn readyz(shared: web::Data<Shared>) -> HttpResponse {
    let report = shared.health.report();
    let mut builder = if report.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !report.ready {
        builder.insert_header((header::RETRY_AFTER, "1"));
    }
    answer::json(builder, &report)
}
