//! `GET /admin/status`: the data of the operators' page, from the instance that answers.
//!
//! Counts are totals since the start of the instance. A client computes rates from the difference of two answers.
//! `instance` tells answers of different instances apart.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer;
use super::error::ApiError;
use super::extractors::Admin;
use super::state::Shared;
use crate::memory::Switches;
use crate::ops::{HealthReport, OutboxSeen};

/// The state of an instance and counts of its answers.
#[derive(Serialize, ToSchema)]
pub struct StatusBody<'a> {
    /// Host and address of the instance.
    pub instance: &'a str,
    #[serde(flatten)]
    #[schema(inline)]
    pub report: HealthReport<'a>,
    /// Claims in Redis not stored in MySQL yet, of all instances. Null while Redis does not answer.
    #[schema(inline)]
    pub outbox: Option<OutboxSeen>,
    /// Attempts by result, in the words of `Claim-Result` and of error codes.
    pub attempts: BTreeMap<&'static str, u64>,
    #[schema(inline)]
    pub turned_away: TurnedAwayCounts,
    /// Answers of all routes by status.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub responses: BTreeMap<u16, u64>,
    /// Number of users and addresses on the blacklist.
    pub blocks: u64,
    #[schema(inline)]
    pub switches: Switches,
}

/// Requests refused by admission.
#[derive(Serialize, ToSchema)]
pub struct TurnedAwayCounts {
    pub rate_limited: u64,
    pub blocked: u64,
    pub switched_off: u64,
}

/// `GET /admin/status`. Answers 200 even if the instance cannot sell, because the body says so.
pub async fn show_status(_: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    let figures = shared.admission.figures();
    let body = StatusBody {
        instance: &shared.instance,
        report: shared.health.report(),
        outbox: shared.health.outbox(),
        attempts: shared.claiming.figures.results().collect(),
        turned_away: TurnedAwayCounts {
            rate_limited: figures.refused_too_fast,
            blocked: figures.refused_blocked,
            switched_off: figures.refused_off,
        },
        responses: shared.answers.given().collect(),
        blocks: figures.blocks,
        switches: **shared.admission.settings.switches(),
    };
    Ok(answer::json(HttpResponse::Ok(), &body))
}
