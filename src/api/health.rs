//! What operators ask: does it run, can it sell, how is it.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Shared, answer};

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
