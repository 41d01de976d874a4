//! Accounts: registration, login, logout, passwords.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code, read_failed};
use super::extractors::{SessionUser, session};
use super::state::Shared;
use super::{answer, body, path, peer};
use crate::auth::Verified;
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, NameError, Password, PasswordError, User, UserName};
use crate::mysql::DbError;
use crate::mysql::users::{self, Account};

const AUTH_SIGN: HeaderName = HeaderName::from_static("authsign");
const USER_ID: HeaderName = HeaderName::from_static("user-id");

#[derive(Deserialize, ToSchema)]
pub struct Registration {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 64)]
    username: String,
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 128)]
    password: String,
    /// `customer` or `saler`.
    #[serde(default)]
    #[schema(required)]
    kind: String,
}

/// `POST /api/users`
pub async fn register(
    request: HttpRequest,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    shared.admission.part(|switches| switches.register)?;
    let form: Registration = body::json(payload, shared.body, ApiError::not_json).await?;
    let name = parse_username(form.username)?;
    let password = parse_password("password", form.password)?;
    let kind = match (Kind::parse(&form.kind), form.kind.as_str()) {
        (Some(kind @ (Kind::Customer | Kind::Saler)), _) => kind,
        (_, "") => return Err(ApiError::bad_field("kind", "Empty field of kind.")),
        (_, other) => return Err(ApiError::bad_field("kind", format!("Unexpected value of kind, {other}"))),
    };
    shared.admission.register(kind, peer::address(&request, &shared), now_ms())?;
    let message = "Insert user failed. Maybe user name duplicates.";
    let taken = || ApiError::new(Code::NameTaken, message).with_field("username");
    // Checked before hashing, because a hash costs 15 ms. Most repeated registrations end here.
    if find(&shared, &name).await?.is_some() {
        return Err(taken());
    }
    let hash = shared.passwords.hash(&password).await?;
    match users::insert(&shared.db, &name, kind, &hash).await {
        Ok(()) => {
            shared.directory.welcome(&name);
            Ok(answer::done(HttpResponse::Created()))
        }
        Err(DbError::Duplicate { .. }) => Err(taken()),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize, ToSchema)]
pub struct Login {
    #[serde(default)]
    #[schema(required)]
    username: String,
    #[serde(default)]
    #[schema(required)]
    password: String,
}

/// The answer to a successful login. The header `Authorization` has the token.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    kind: &'static str,
    #[serde(rename = "errMsg")]
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct LoggedOut {
    #[serde(rename = "errMsg")]
    message: &'static str,
}

impl LoggedIn {
    pub const fn as_kind(kind: &'static str) -> Self {
        Self { kind, message: "" }
    }
}

impl Default for LoggedOut {
    fn default() -> Self {
        Self { message: "log out." }
    }
}

/// `POST /api/auth`
pub async fn log_in(request: HttpRequest, shared: web::Data<Shared>, payload: web::Payload) -> HttpResponse {
    log_in_inner(&request, &shared, payload).await.unwrap_or_else(|error| error.login_response())
}

async fn log_in_inner(request: &HttpRequest, shared: &Shared, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    shared.admission.part(|switches| switches.login)?;
    let not_json = || ApiError::bad_request("Parse JSON format fail.");
    let form: Login = body::json(payload, shared.body, not_json).await?;
    let (name, address) = (form.username.clone(), peer::address(request, shared));
    shared.admission.log_in(&name, address, now_ms())?;
    let account = verified(shared, form).await?;
    // Checked again, because other logins may have failed while this login waited for a hash. Over the limit, the right
    // password is refused, too.
    shared.admission.log_in(&name, address, now_ms())?;
    let Some(account) = account else {
        shared.admission.log_in_failed(&name, address, now_ms())?;
        return Err(ApiError::new(Code::WrongPassword, "Wrong user name or password."));
    };
    // Checked after the password, so only the user learns of the block.
    shared.admission.not_blocked(Some(account.user.id), None, now_ms())?;
    let token = shared.tokens.issue(&account.user, account.token_generation, now_seconds());
    let token = HeaderValue::try_from(token).expect("a JWT is visible ASCII");
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::AUTHORIZATION, token));
    sign(&mut builder, shared, &account.user);
    Ok(answer::json(builder, &LoggedIn::as_kind(account.user.kind.as_str())))
}

/// Finds the account with this name and password. Returns `None` for an unknown user or a wrong password, after the
/// same time.
async fn verified(shared: &Shared, form: Login) -> Result<Option<Account>, ApiError> {
    let Ok(password) = Password::parse(form.password) else { return Ok(None) };
    let account = match UserName::parse(form.username) {
        Ok(name) => find(shared, &name).await?,
        Err(NameError::Empty) => return Ok(None),
        Err(NameError::TooLong | NameError::NotAllowed) => None,
    };
    let Some(account) = account else {
        // Takes as long as a wrong password.
        shared.passwords.verify_nobody(&password).await?;
        return Ok(None);
    };
    match shared.passwords.verify(&password, &account.password_hash).await? {
        Verified::No => return Ok(None),
        Verified::Yes => {}
        Verified::YesRehash => {
            let hash = shared.passwords.hash(&password).await?;
            users::replace_hash(&shared.db, account.user.id, &account.password_hash, &hash).await?;
        }
    }
    Ok(Some(account))
}

/// Adds the headers for the signed form, if the form is enabled.
fn sign(builder: &mut HttpResponseBuilder, shared: &Shared, user: &User) {
    if let (Some(signed_form), Kind::Customer) = (&shared.signed_form, user.kind) {
        builder.insert_header((AUTH_SIGN, signed_form.auth_sign(user.id)));
        builder.insert_header((USER_ID, user.id.0));
    }
}

/// `POST /api/auth/logout`. Revokes the request's token, if the request has one.
pub async fn log_out(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, ApiError> {
    if let Ok(session) = session(&request) {
        shared.revocations.revoke(&session, now_seconds()).await?;
    }
    Ok(answer::json(HttpResponse::Ok(), &LoggedOut::default()))
}

#[derive(Deserialize, ToSchema)]
pub struct PasswordChange {
    #[serde(default)]
    #[schema(required)]
    old: String,
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 128)]
    new: String,
}

/// `PUT /api/users/{username}/password`
pub async fn change_password(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if path::user(&request).as_ref() != Some(&user.name) {
        return Err(ApiError::new(Code::NotYours, "Cannot change other users' passwords."));
    }
    let form: PasswordChange = body::json(payload, shared.body, ApiError::not_json).await?;
    let new = parse_password("new", form.new)?;
    let wrong = || ApiError::new(Code::WrongPassword, "Wrong password.").with_field("old");
    let old = Password::parse(form.old).map_err(|_| wrong())?;
    let account = find(&shared, &user.name).await?.ok_or_else(ApiError::not_logged_in)?;
    if shared.passwords.verify(&old, &account.password_hash).await? == Verified::No {
        return Err(wrong());
    }
    let hash = shared.passwords.hash(&new).await?;
    shared.revocations.change_password(user.id, &hash, now_seconds()).await?;
    Ok(answer::done(HttpResponse::Ok()))
}

async fn find(shared: &Shared, name: &UserName) -> Result<Option<Account>, ApiError> {
    users::find_by_name(&shared.db, name).await.map_err(|error| read_failed(&error))
}

fn parse_username(text: String) -> Result<UserName, ApiError> {
    UserName::parse(text).map_err(|error| {
        let message = match error {
            NameError::Empty => "User name too short.",
            NameError::TooLong => "User name too long.",
            NameError::NotAllowed => "User name has characters that are not allowed.",
        };
        ApiError::bad_field("username", message)
    })
}

fn parse_password(field: &'static str, text: String) -> Result<Password, ApiError> {
    Password::parse(text).map_err(|error| {
        let message = match error {
            PasswordError::Empty => "Password too short.",
            PasswordError::TooLong => "Password too long.",
        };
        ApiError::bad_field(field, message)
    })
}
