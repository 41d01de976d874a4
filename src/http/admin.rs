//! What admins change while the service runs: limits and switches.

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::extractors::Admin;
use super::state::Shared;
use super::{answer, body};
use crate::domain::UserName;
use crate::mysql::settings::SettingName;

/// `GET /admin/limits`: those in force.
pub async fn show_limits(_: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(limits(&shared))
}

/// `PUT /admin/limits`: all of them; what the body lacks is the default. Answers those in force.
pub async fn change_limits(
    Admin(admin): Admin,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    change(&admin, &shared, payload, SettingName::Limits).await?;
    Ok(limits(&shared))
}

/// `GET /admin/switches`: those in force.
pub async fn show_switches(_: Admin, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(switches(&shared))
}

/// `PUT /admin/switches`: all of them; what the body lacks is on. Answers those in force.
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
