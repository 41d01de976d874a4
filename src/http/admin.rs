//! Limits and switches, which admins change while the service runs.

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::extractors::Admin;
use super::state::Shared;
use super::{answer, body};
use crate::domain::UserName;
use crate::mysql::settings::SettingName;

/// `GET /admin/limits`. Returns the limits in force.
pub async fn show_limits(_: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(limits(&shared))
}

/// `PUT /admin/limits`. Replaces all limits, and returns the limits in force. A limit missing in the body gets its
/// default.
pub async fn change_limits(
    Admin(admin): Admin,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    change(&admin, &shared, payload, SettingName::Limits).await?;
    Ok(limits(&shared))
}

/// `GET /admin/switches`. Returns the switches in force.
pub async fn show_switches(_: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(switches(&shared))
}

/// `PUT /admin/switches`. Replaces all switches, and returns the switches in force. A switch missing in the body is on.
pub async fn change_switches(
    Admin(admin): Admin,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    change(&admin, &shared, payload, SettingName::Switches).await?;
    Ok(switches(&shared))
}

async fn change(admin: &UserName, shared: &Shared, payload: web::Payload, name: SettingName) -> Result<(), ApiError> {
    let object: Map<String, Value> = body::json(payload, shared.body, ApiError::not_json).await?;
    let settings = &shared.admission.settings;
    let setting = settings.parse(name, &object)?;
    settings.change(&setting, admin.as_str()).await?;
    Ok(())
}

fn limits(shared: &Shared) -> HttpResponse {
    answer::json(HttpResponse::Ok(), &**shared.admission.settings.limits())
}

fn switches(shared: &Shared) -> HttpResponse {
    answer::json(HttpResponse::Ok(), &**shared.admission.settings.switches())
}
