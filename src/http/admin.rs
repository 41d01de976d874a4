//! Limits and switches, which admins change while the service runs.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::ApiError;
use super::extractors::Admin;
use super::openapi::{admins, change, failures, reauthentication};
use super::proving::{Proof, reauthenticate};
use super::state::Edge;
use super::{answer, body};
use crate::domain::User;
use crate::memory::{BadSetting, Limits, Setting, Switches};
use crate::mysql::settings::SettingName;

failures!(ShowSettingFailures: ApiError = [], admins());
failures!(PutLimitsFailures: ApiError = [ApiError::not_json(), bad_limit()], admins(), reauthentication(), change());
failures!(PutSwitchesFailures: ApiError = [ApiError::not_json(), bad_switch()], admins(), reauthentication(), change());

fn bad_limit() -> BadSetting {
    let object = Map::from_iter([("user_per_second".to_owned(), Value::from(-1))]);
    Limits::parse(&object, &Limits::default()).expect_err("a limit is not negative")
}

fn bad_switch() -> BadSetting {
    let object = Map::from_iter([("claim".to_owned(), Value::from(1))]);
    Switches::parse(&object).expect_err("a switch is not a number")
}

/// New limits, with the proof of an admin who has a second factor.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: a wrong limit has an error of its own")]
struct LimitsChange {
    #[schema(inline)]
    #[serde(flatten)]
    limits: Limits,
    #[schema(inline)]
    #[serde(flatten)]
    proof: Proof,
}

/// New switches, with the proof of an admin who has a second factor.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the OpenAPI document only: a wrong switch has an error of its own")]
struct SwitchesChange {
    #[schema(inline)]
    #[serde(flatten)]
    switches: Switches,
    #[schema(inline)]
    #[serde(flatten)]
    proof: Proof,
}

/// Returns the limits in force.
#[utoipa::path(
    get, path = "/admin/limits", operation_id = "showLimits",
    responses(
        (status = 200, description = "The limits in force.", body = inline(Limits), example = json!(Limits::default())),
        ShowSettingFailures,
    ),
)]
pub async fn show_limits(_: Admin, edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    Ok(limits(&edge))
}

/// Replaces the limits.
///
/// A limit that the body lacks becomes the default. The new limits are in force on every instance within a second. An admin with
/// a second factor adds `password` and `otp`.
#[utoipa::path(
    put, path = "/admin/limits", operation_id = "changeLimits",
    request_body(content = inline(LimitsChange), example = json!(Limits::default())),
    responses(
        (status = 200, description = "The limits in force.", body = inline(Limits), example = json!(Limits::default())),
        PutLimitsFailures,
    ),
)]
pub async fn change_limits(
    Admin(admin): Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    put(&admin, &request, &edge, payload, SettingName::Limits).await?;
    Ok(limits(&edge))
}

/// Returns the switches in force.
#[utoipa::path(
    get, path = "/admin/switches", operation_id = "showSwitches",
    responses(
        (status = 200, description = "The switches in force.", body = inline(Switches), example = json!(Switches::default())),
        ShowSettingFailures,
    ),
)]
pub async fn show_switches(_: Admin, edge: web::Data<Edge>) -> Result<HttpResponse, ApiError> {
    Ok(switches(&edge))
}

/// Replaces the switches.
///
/// A switch that the body lacks becomes true, which is on. The new switches are in force on every instance within a
/// second. An admin with a second factor adds `password` and `otp` where `claim` is false.
#[utoipa::path(
    put, path = "/admin/switches", operation_id = "changeSwitches",
    request_body(content = inline(SwitchesChange), example = json!(Switches::default())),
    responses(
        (status = 200, description = "The switches in force.", body = inline(Switches), example = json!(Switches::default())),
        PutSwitchesFailures,
    ),
)]
pub async fn change_switches(
    Admin(admin): Admin,
    request: HttpRequest,
    edge: web::Data<Edge>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    put(&admin, &request, &edge, payload, SettingName::Switches).await?;
    Ok(switches(&edge))
}

async fn put(
    admin: &User,
    request: &HttpRequest,
    edge: &Edge,
    payload: web::Payload,
    name: SettingName,
) -> Result<(), ApiError> {
    let object: Map<String, Value> = body::json(payload, edge.body, ApiError::not_json).await?;
    let settings = &edge.admission.settings;
    let setting = settings.parse(name, &object)?;
    if is_dangerous(&setting) {
        reauthenticate(request, &admin.name, &Proof::of(&object)?).await?;
    }
    settings.change(&setting, admin.name.as_str()).await?;
    Ok(())
}

/// Whether a thief of a session could do great harm with the change. It does not compare with the switches in memory, because
/// another instance may have changed them within the last second.
fn is_dangerous(setting: &Setting) -> bool {
    match setting {
        Setting::Limits(_) => true,
        Setting::Switches(switches) => !switches.claim,
    }
}

fn limits(edge: &Edge) -> HttpResponse {
    answer::json(HttpResponse::Ok(), &**edge.admission.settings.limits())
}

fn switches(edge: &Edge) -> HttpResponse {
    answer::json(HttpResponse::Ok(), &**edge.admission.settings.switches())
}
