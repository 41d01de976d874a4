//! `GET /admin/status`: what the operators' page shows, of the instance that was asked.
//!
//! Counts are since that instance's start; whoever asks again gets rates from their differences. `instance` says which one
//! answered, so that the counts of two are never subtracted from each other.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::session::admin;
use super::{Shared, answer};
use crate::gate::Switches;
use crate::health::{OutboxSeen, Report};

/// How an instance is and what it has answered.
#[derive(Serialize, ToSchema)]
pub struct StatusBody<'a> {
    /// Its host and address.
    pub instance: &'a str,
    #[serde(flatten)]
    #[schema(inline)]
    pub report: Report<'a>,
    /// What waits in Redis for MySQL, from all instances; null where Redis does not answer.
    #[schema(inline)]
    pub outbox: Option<OutboxSeen>,
    /// What attempts to claim came to, in the words of `Claim-Result` and of the errors' codes.
    pub attempts: BTreeMap<&'static str, u64>,
    #[schema(inline)]
    pub turned_away: TurnedAwayCounts,
    /// Answers of every route by their status.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub responses: BTreeMap<u16, u64>,
    /// Users and addresses on the blacklist.
    pub blocks: u64,
    #[schema(inline)]
    pub switches: Switches,
}

/// Who did not get as far as an attempt.
#[derive(Serialize, ToSchema)]
pub struct TurnedAwayCounts {
    pub rate_limited: u64,
    pub blocked: u64,
    pub switched_off: u64,
}

/// `GET /admin/status`: 200 also where the instance cannot sell; that is in it.
pub async fn show_status(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    admin(&request, &shared)?;
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
