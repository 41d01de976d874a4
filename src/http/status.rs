//! `GET /admin/status`: the data of the operators' page, from the instance that answers.
//!
//! Counts are totals since the start of the instance that `instance` names. Clients compute rates from two answers.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer;
use super::error::ApiError;
use super::extractors::Admin;
use super::health;
use super::openapi::{admins, failures};
use super::state::{Edge, Operating, Selling};
use crate::memory::Switches;
use crate::mysql::{DbPools, UnreadableRow};
use crate::ops::{HealthReport, OutboxSeen};

/// Maximum unreadable rows in an answer.
const UNREADABLE_ROWS_MAX: usize = 20;

/// The state of an instance and counts of its answers.
#[derive(Serialize, ToSchema)]
pub struct StatusBody<'a> {
    /// Host and address of the instance.
    pub instance: &'a str,
    #[serde(flatten)]
    #[schema(inline)]
    pub report: HealthReport,
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
    /// Claims of all instances that could not be stored, and that nobody has acknowledged. Null before the first read.
    #[schema(required)]
    pub poisoned_claims: Option<u64>,
    /// Rows of MySQL that cannot be read, at most 20. Each row stops its own coupon or activity.
    #[schema(inline)]
    pub unreadable_rows: Vec<UnreadableRowBody>,
}

/// A row that cannot be read, and the first column with an invalid value.
#[derive(Serialize, ToSchema)]
pub struct UnreadableRowBody {
    /// `coupons` or `activities`.
    pub table: &'static str,
    pub id: u64,
    pub column: &'static str,
}

impl From<UnreadableRow> for UnreadableRowBody {
    fn from(UnreadableRow { table, id, column, .. }: UnreadableRow) -> Self {
        Self { table, id, column }
    }
}

/// Requests refused by admission.
#[derive(Serialize, ToSchema)]
pub struct TurnedAwayCounts {
    pub rate_limited: u64,
    pub blocked: u64,
    pub switched_off: u64,
}

fn example() -> Value {
    let mut example = health::example(true);
    example["instance"] = json!("shop-1 10.0.0.5:20080");
    example["outbox"] = json!(OutboxSeen { claims: 40, oldest_ms: 25, unread: 0 });
    example["attempts"] = json!({"claimed": 57, "sold-out": 1_210});
    example["turned_away"] = json!(TurnedAwayCounts { rate_limited: 12, blocked: 3, switched_off: 0 });
    example["responses"] = json!({"201": 57, "204": 1_210});
    example["blocks"] = json!(1);
    example["switches"] = json!(Switches::default());
    example["poisoned_claims"] = json!(0);
    example["unreadable_rows"] = json!([UnreadableRowBody { table: "coupons", id: 7, column: "amount" }]);
    example
}

failures!(StatusFailures: ApiError = [], admins());

/// Returns the state and the answers of an instance.
///
/// The counts are those of the instance that answers, since its start. The status is 200 also if the instance cannot
/// sell.
#[utoipa::path(
    get, path = "/admin/status", operation_id = "showStatus",
    responses(
        (status = 200, description = "The state of the instance.", body = inline(StatusBody), example = json!(example())),
        StatusFailures,
    ),
)]
pub async fn show_status(
    _: Admin,
    edge: web::Data<Edge>,
    selling: web::Data<Selling>,
    operating: web::Data<Operating>,
    dbs: web::Data<DbPools>,
) -> Result<HttpResponse, ApiError> {
    let figures = edge.admission.figures();
    let body = StatusBody {
        instance: &operating.instance,
        report: operating.health.report(),
        outbox: operating.health.outbox(),
        attempts: selling.figures.results().collect(),
        turned_away: TurnedAwayCounts {
            rate_limited: figures.refused_too_fast,
            blocked: figures.refused_blocked,
            switched_off: figures.refused_off,
        },
        responses: edge.answers.given().collect(),
        blocks: figures.blocks,
        switches: **edge.admission.settings.switches(),
        poisoned_claims: operating.rows.poisoned(),
        unreadable_rows: dbs.control.unreadable().all().into_iter().take(UNREADABLE_ROWS_MAX).map(Into::into).collect(),
    };
    Ok(answer::json(HttpResponse::Ok(), &body))
}
