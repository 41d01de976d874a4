//! Accounts: registration and passwords.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Done;
use super::error::{ApiError, Code, read_failed};
use super::extractors::SessionUser;
use super::openapi::{admission, change, failures, token};
use super::state::{Accounts, Edge};
use super::trail::NamedUser;
use super::{answer, body, path, peer};
use crate::auth::{Caller, HashLine, Verified};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, NameError, Password, PasswordError, Skeleton, UserName};
use crate::mysql::erasing::is_freed;
use crate::mysql::users::{self, Account};
use crate::mysql::{Db, DbError, DbPools, saler_skeletons};

const NO_KIND: ApiError = ApiError::bad_field("kind", "Empty field of kind.");
pub const NAME_TAKEN: ApiError =
    ApiError::of_field(Code::NameTaken, "username", "Insert user failed. Maybe user name duplicates.");
const WRONG_PASSWORD: ApiError = ApiError::of_field(Code::WrongPassword, "old", "Wrong password.");
pub const COMMON_PASSWORD: &str = "This password is on lists of common passwords.";
const BAD_LINK: ApiError = ApiError::bad_field("token", "This link is not valid any more.");
const NOT_YOUR_USER: ApiError = ApiError::new(Code::NotYours, "Cannot change other users' passwords.");

#[derive(Deserialize, ToSchema)]
pub struct Registration {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 64)]
    username: String,
    #[serde(default)]
    #[schema(required, min_length = 6, max_length = 256)]
    password: String,
    /// `customer` or `saler`.
    #[serde(default)]
    #[schema(required)]
    kind: String,
}

failures!(RegisterFailures: ApiError = [
    ApiError::not_json(),
    bad_username(NameError::Empty),
    bad_username(NameError::TooLong),
    bad_username(NameError::NotAllowed),
    bad_password("password", PasswordError::Empty),
    bad_password("password", PasswordError::TooLong),
    ApiError::bad_field("password", COMMON_PASSWORD),
    NO_KIND,
    NAME_TAKEN,
], admission(), change());

/// Registers a user.
#[utoipa::path(
    post, path = "/api/users", operation_id = "register",
    request_body(content = inline(Registration),
        example = json!({"username": "ann", "password": "correct horse", "kind": "customer"})),
    responses(
        (status = 201, description = "The user is stored.", body = inline(Done), example = json!({"errMsg": ""})),
        RegisterFailures,
    ),
)]
pub async fn register(
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    edge.admission.part(|switches| switches.register)?;
    let form: Registration = body::json(payload, edge.body, ApiError::not_json).await?;
    let name = UserName::parse_new(&form.username).map_err(bad_username)?;
    // A saler's password may be as short.
    let password = accounts.password_min.parse(form.password, Kind::Customer);
    let password = password.map_err(|error| bad_password("password", error))?;
    let kind = match (Kind::parse(&form.kind), form.kind.as_str()) {
        (Some(kind @ (Kind::Customer | Kind::Saler)), _) => kind,
        (_, "") => return Err(NO_KIND),
        (_, other) => {
            let message = format!("Unexpected value of kind, {other}");
            return Err(ApiError::formatted(Code::BadRequest, message).with_field("kind"));
        }
    };
    refuse_common(&accounts, &password, kind, "password")?;
    let address = peer::address(&request, &edge);
    edge.admission.register(kind, address, now_ms())?;
    // Most repeated registrations end here, before the hash, which takes 15 ms.
    if is_taken(&dbs.users, form.username, &name, kind).await? {
        return Err(NAME_TAKEN);
    }
    let still_wants = || !edge.admission.is_blocked(None, Some(address), now_ms());
    let caller = Caller { line: HashLine::NewPassword(address), name: name.as_str(), still_wants: &still_wants };
    let hash = accounts.passwords.hash(&password, caller).await?;
    let awaits_approval = kind == Kind::Saler && accounts.salers_need_approval;
    match users::insert(&dbs.users, &name, kind, &hash, awaits_approval).await {
        Ok(()) => {
            accounts.users.welcome(&name);
            request.extensions_mut().insert(NamedUser { name: name.to_string(), kind });
            Ok(answer::done(HttpResponse::Created()))
        }
        Err(DbError::Duplicate { .. }) => Err(NAME_TAKEN),
        Err(error) => Err(error.into()),
    }
}

/// Whether a user has or had this name, as it was sent or normalized, or a saler has one that looks like it.
async fn is_taken(db: &Db, sent: String, name: &UserName, kind: Kind) -> Result<bool, ApiError> {
    if is_freed(db, name).await.map_err(|error| read_failed(&error))? {
        return Ok(true);
    }
    // The text as sent may be too long for a name.
    if find(db, &UserName::parse(sent).unwrap_or_else(|_| name.clone())).await?.is_some() {
        return Ok(true);
    }
    let looks_taken = async { saler_skeletons::is_taken(db, &Skeleton::of(name)).await };
    Ok(kind == Kind::Saler && looks_taken.await.map_err(|error| read_failed(&error))?)
}

#[derive(Deserialize, ToSchema)]
pub struct PasswordChange {
    #[serde(default)]
    #[schema(required)]
    old: String,
    #[serde(default)]
    #[schema(required, min_length = 6, max_length = 256)]
    new: String,
}

failures!(ChangePasswordFailures: ApiError = [
    ApiError::not_json(),
    bad_password("new", PasswordError::Empty),
    bad_password("new", PasswordError::TooLong),
    ApiError::bad_field("new", COMMON_PASSWORD),
    WRONG_PASSWORD,
    NOT_YOUR_USER,
], token(), change());

/// Changes the password of a user.
///
/// All earlier tokens of the user stop working.
#[utoipa::path(
    put, path = "/api/users/{user}/password", operation_id = "changePassword",
    params(("user" = String, Path, description = "The user's own name.", example = "ann")),
    request_body(content = inline(PasswordChange), example = json!({"old": "correct horse", "new": "battery staple"})),
    responses(
        (status = 200, description = "The new password is in force.", body = inline(Done), example = json!({"errMsg": ""})),
        ChangePasswordFailures,
    ),
)]
pub async fn change_password(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if !path::names(&request, &user) {
        return Err(NOT_YOUR_USER);
    }
    let form: PasswordChange = body::json(payload, edge.body, ApiError::not_json).await?;
    let new = accounts.password_min.parse(form.new, user.kind).map_err(|error| bad_password("new", error))?;
    refuse_common(&accounts, &new, user.kind, "new")?;
    let old = Password::parse(form.old).map_err(|_| WRONG_PASSWORD)?;
    let (passwords, address) = (accounts.passwords_of(user.kind), peer::address(&request, &edge));
    let still_wants = || !edge.admission.is_blocked(Some(user.id), Some(address), now_ms());
    let is_known = accounts.networks.has_noted(&user.name, address);
    let line = if is_known { HashLine::KnownAddress(address) } else { HashLine::NewPassword(address) };
    let caller = Caller { line, name: user.name.as_str(), still_wants: &still_wants };
    let mut hash = None;
    // The stored hash may change after the comparison. A newer password is never overwritten. But a login may also have
    // replaced the imported hash of the same password, so the old password is compared once more.
    for _ in 0..2 {
        let account = find(dbs.of(user.kind), &user.name).await?.ok_or_else(ApiError::not_logged_in)?;
        if passwords.verify(&old, &account.password_hash, caller).await? == Verified::No {
            return Err(WRONG_PASSWORD);
        }
        let to = match hash.take() {
            Some(hash) => hash,
            None => passwords.hash(&new, caller).await?,
        };
        if accounts.revocations.change_password(&user, &account.password_hash, &to, now_seconds()).await? {
            return Ok(answer::done(HttpResponse::Ok()));
        }
        hash = Some(to);
    }
    Err(WRONG_PASSWORD)
}

#[derive(Deserialize, ToSchema)]
pub struct PasswordReset {
    /// The token of a link that an admin has made.
    #[serde(default)]
    #[schema(required)]
    token: String,
    #[serde(default)]
    #[schema(required, min_length = 6, max_length = 256)]
    new: String,
}

failures!(ResetPasswordFailures: ApiError = [
    ApiError::not_json(),
    bad_password("new", PasswordError::Empty),
    bad_password("new", PasswordError::TooLong),
    ApiError::bad_field("new", COMMON_PASSWORD),
    BAD_LINK,
], admission(), change());

/// Sets a password by a link.
///
/// The link is good once. All earlier tokens of the user stop working.
#[utoipa::path(
    post, path = "/api/auth/reset", operation_id = "resetPassword",
    request_body(content = inline(PasswordReset), example = json!({"token": "eyJhbGciOi", "new": "battery staple"})),
    responses(
        (status = 200, description = "The new password is in force.", body = inline(Done), example = json!({"errMsg": ""})),
        ResetPasswordFailures,
    ),
    security(()),
)]
pub async fn reset_password(
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form: PasswordReset = body::json(payload, edge.body, ApiError::not_json).await?;
    let linked = accounts.links.verify(form.token.as_bytes(), None, now_seconds()).ok_or(BAD_LINK)?;
    let account = users::find_by_id(&dbs.users, linked.id).await.map_err(|error| read_failed(&error))?;
    let account = account.filter(|account| account.token_generation == linked.token_generation).ok_or(BAD_LINK)?;
    let user = &account.user;
    request.extensions_mut().insert(NamedUser { name: user.name.to_string(), kind: user.kind });
    let new = accounts.password_min.parse(form.new, user.kind).map_err(|error| bad_password("new", error))?;
    refuse_common(&accounts, &new, user.kind, "new")?;
    let address = peer::address(&request, &edge);
    edge.admission.not_blocked(Some(user.id), Some(address), now_ms())?;
    let still_wants = || !edge.admission.is_blocked(Some(user.id), Some(address), now_ms());
    let caller = Caller { line: HashLine::NewPassword(address), name: user.name.as_str(), still_wants: &still_wants };
    let hash = accounts.passwords_of(user.kind).hash(&new, caller).await?;
    // Of two requests with the same link, the second one finds another hash.
    if accounts.revocations.change_password(user, &account.password_hash, &hash, now_seconds()).await? {
        Ok(answer::done(HttpResponse::Ok()))
    } else {
        Err(BAD_LINK)
    }
}

/// The account with this name. 503 if MySQL cannot be read.
pub(super) async fn find(db: &Db, name: &UserName) -> Result<Option<Account>, ApiError> {
    users::find_by_name(db, name).await.map_err(|error| read_failed(&error))
}

pub fn bad_username(error: NameError) -> ApiError {
    let message = match error {
        NameError::Empty => "User name too short.",
        NameError::TooLong => "User name too long.",
        NameError::NotAllowed => "User name has characters that are not allowed.",
        NameError::Reserved => return NAME_TAKEN,
    };
    ApiError::bad_field("username", message)
}

/// Refuses a common password of staff, and of a merchant in the public profile, because guesses begin with such passwords.
pub fn refuse_common(
    accounts: &Accounts,
    password: &Password,
    kind: Kind,
    field: &'static str,
) -> Result<(), ApiError> {
    let is_checked = match kind {
        Kind::Saler => accounts.refuses_common,
        Kind::Staff => true,
        Kind::Customer | Kind::Admin => false,
    };
    if is_checked && password.is_common() { Err(ApiError::bad_field(field, COMMON_PASSWORD)) } else { Ok(()) }
}

pub fn bad_password(field: &'static str, error: PasswordError) -> ApiError {
    let message = match error {
        PasswordError::Empty | PasswordError::TooShort { .. } => "Password too short.",
        PasswordError::TooLong => "Password too long.",
    };
    ApiError::bad_field(field, message)
}
