//! Staff of a merchant, whom only the merchant manages.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::{Done, ListOf};
use super::error::{ApiError, Code, read_failed};
use super::extractors::SalerInPath;
use super::openapi::{admission, change, failures, salers};
use super::state::{Accounts, Edge};
use super::trail::Created;
use super::users::{COMMON_PASSWORD, NAME_TAKEN, bad_password, bad_username, refuse_common};
use super::{answer, body, path, peer};
use crate::auth::{Caller, HashLine};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, NameError, PasswordError, Rights, STAFF_MAX, UserName};
use crate::mysql::DbPools;
use crate::mysql::erasing::is_freed;
use crate::mysql::staff::{self, AddStaffError, StaffMember};

pub const BAD_RIGHTS: ApiError =
    ApiError::bad_field("rights", "Rights should be a list of redeem, view and manage, with at least one of them.");
const TOO_MANY: ApiError = ApiError::new(Code::Quota, "Too many staff.");
const NO_SUCH_STAFF: ApiError = ApiError::new(Code::NotFound, "No such staff.");

#[derive(Deserialize, ToSchema)]
pub struct NewStaff {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 64)]
    username: String,
    #[serde(default)]
    #[schema(required, min_length = 12, max_length = 256)]
    password: String,
    /// Some of `redeem`, `view` and `manage`.
    #[serde(default)]
    #[schema(required, min_items = 1)]
    rights: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ShownStaff {
    username: String,
    rights: Vec<&'static str>,
}

failures!(AddStaffFailures: ApiError = [
    ApiError::not_json(),
    bad_username(NameError::Empty),
    bad_username(NameError::TooLong),
    bad_username(NameError::NotAllowed),
    bad_password("password", PasswordError::TooShort { min: 12 }),
    bad_password("password", PasswordError::TooLong),
    ApiError::bad_field("password", COMMON_PASSWORD),
    BAD_RIGHTS,
    NAME_TAKEN,
    TOO_MANY,
], salers(), admission(), change());

/// Adds staff of the saler.
///
/// Staff log in with their own name and password, and may do what their rights name: `redeem` claims, `view` lists and exports, or
/// `manage` coupons, products and activities. A saler has at most 50 staff. The name of deleted staff can be used again by the same
/// saler.
#[utoipa::path(
    post, path = "/api/users/{user}/staff", operation_id = "addStaff",
    params(("user" = String, Path, description = "The saler.", example = "shop")),
    request_body(content = inline(NewStaff),
        example = json!({"username": "shop-till", "password": "correct horse battery", "rights": ["redeem"]})),
    responses(
        (status = 201, description = "The staff may log in.", body = inline(Done), example = json!({"errMsg": ""})),
        AddStaffFailures,
    ),
)]
pub async fn add_staff(
    SalerInPath(saler): SalerInPath,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let address = peer::address(&request, &edge);
    edge.admission.not_blocked(Some(saler.id), Some(address), now_ms())?;
    let form: NewStaff = body::json(payload, edge.body, ApiError::not_json).await?;
    let name = UserName::parse_new(&form.username).map_err(bad_username)?;
    let password = accounts.password_min.parse(form.password, Kind::Staff);
    let password = password.map_err(|error| bad_password("password", error))?;
    refuse_common(&accounts, &password, Kind::Staff, "password")?;
    let rights = Rights::parse(&form.rights).ok_or(BAD_RIGHTS)?;
    if is_freed(&dbs.users, &name).await.map_err(|error| read_failed(&error))? {
        return Err(NAME_TAKEN);
    }
    // Spares the hash, which takes 15 ms. The limit is checked again under a lock.
    let count = staff::list(&dbs.users, saler.id).await.map_err(|error| read_failed(&error))?.len();
    if count >= STAFF_MAX as usize {
        return Err(TOO_MANY);
    }
    let still_wants = || !edge.admission.is_blocked(Some(saler.id), Some(address), now_ms());
    let caller = Caller { line: HashLine::NewPassword(address), name: name.as_str(), still_wants: &still_wants };
    let hash = accounts.passwords.hash(&password, caller).await?;
    match staff::add(&dbs.users, saler.id, &name, rights, &hash).await {
        Ok(()) => {
            accounts.users.welcome(&name);
            request.extensions_mut().insert(Created(name.to_string()));
            Ok(answer::done(HttpResponse::Created()))
        }
        Err(AddStaffError::NameTaken) => Err(NAME_TAKEN),
        Err(AddStaffError::TooMany) => Err(TOO_MANY),
        Err(AddStaffError::Db(error)) => Err(error.into()),
    }
}

failures!(ListStaffFailures: ApiError = [ApiError::unavailable()], salers());

/// Lists the staff of the saler, by name.
#[utoipa::path(
    get, path = "/api/users/{user}/staff", operation_id = "listStaff",
    params(("user" = String, Path, description = "The saler.", example = "shop")),
    responses(
        (status = 200, description = "The staff.", body = inline(ListOf<ShownStaff>),
            example = json!({"errMsg": "", "data": [{"username": "shop-till", "rights": ["redeem"]}]})),
        (status = 204, description = "The saler has no staff."),
        ListStaffFailures,
    ),
)]
pub async fn list_staff(SalerInPath(saler): SalerInPath, dbs: web::Data<DbPools>) -> Result<HttpResponse, ApiError> {
    let staff = staff::list(&dbs.users, saler.id).await.map_err(|error| read_failed(&error))?;
    let shown = |StaffMember { name, rights }| ShownStaff { username: name, rights: rights.names() };
    Ok(answer::list(&staff.into_iter().map(shown).collect::<Vec<_>>()))
}

failures!(EndStaffFailures: ApiError = [NO_SUCH_STAFF], salers(), change());

/// Deletes staff of the saler.
///
/// Their tokens stop working on every instance within a second.
#[utoipa::path(
    delete, path = "/api/users/{user}/staff/{staff}", operation_id = "deleteStaff",
    params(
        ("user" = String, Path, description = "The saler.", example = "shop"),
        ("staff" = String, Path, description = "The name of the staff.", example = "shop-till"),
    ),
    responses(
        (status = 200, description = "The staff can do nothing more.", body = inline(Done),
            example = json!({"errMsg": ""})),
        EndStaffFailures,
    ),
)]
pub async fn delete_staff(
    SalerInPath(saler): SalerInPath,
    request: HttpRequest,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse, ApiError> {
    let name = path::segment(&request, 4).and_then(|name| UserName::parse(name.into_owned()).ok());
    let name = name.ok_or(NO_SUCH_STAFF)?;
    let name = name.normalized().unwrap_or(name);
    if accounts.revocations.end_staff(saler.id, &name, now_seconds()).await? {
        Ok(answer::done(HttpResponse::Ok()))
    } else {
        Err(NO_SUCH_STAFF)
    }
}
