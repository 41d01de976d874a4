//! Accounts: registration, login, logout, passwords.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::answer::Done;
use super::error::{ApiError, Code, read_failed};
use super::extractors::{SessionUser, session};
use super::openapi::{Responses, add_case, admission, change, error_schema, failures, token};
use super::state::{Accounts, Edge};
use super::{answer, body, path, peer};
use crate::auth::{Caller, HashLine, Verified};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, NameError, Password, PasswordError, Skeleton, User, UserName, normalized};
use crate::mysql::users::{self, Account};
use crate::mysql::{Db, DbError, DbPools, saler_skeletons};

const AUTH_SIGN: HeaderName = HeaderName::from_static("authsign");
const USER_ID: HeaderName = HeaderName::from_static("user-id");

const NO_KIND: ApiError = ApiError::bad_field("kind", "Empty field of kind.");
const NAME_TAKEN: ApiError =
    ApiError::of_field(Code::NameTaken, "username", "Insert user failed. Maybe user name duplicates.");
const LOGIN_NOT_JSON: ApiError = ApiError::bad_request("Parse JSON format fail.");
const WRONG_LOGIN: ApiError = ApiError::new(Code::WrongPassword, "Wrong user name or password.");
const WRONG_PASSWORD: ApiError = ApiError::of_field(Code::WrongPassword, "old", "Wrong password.");
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
    let address = peer::address(&request, &edge);
    edge.admission.register(kind, address, now_ms())?;
    // Most repeated registrations end here, before the hash, which takes 15 ms.
    if is_taken(&dbs.users, form.username, &name, kind).await? {
        return Err(NAME_TAKEN);
    }
    let still_wants = || !edge.admission.is_blocked(None, Some(address), now_ms());
    let caller = Caller { line: HashLine::Address(address), still_wants: &still_wants };
    let hash = accounts.passwords.hash(&password, caller).await?;
    match users::insert(&dbs.users, &name, kind, &hash).await {
        Ok(()) => {
            accounts.users.welcome(&name);
            Ok(answer::done(HttpResponse::Created()))
        }
        Err(DbError::Duplicate { .. }) => Err(NAME_TAKEN),
        Err(error) => Err(error.into()),
    }
}

/// Whether a user has this name, as it was sent or normalized, or a saler has one that looks like it.
async fn is_taken(db: &Db, sent: String, name: &UserName, kind: Kind) -> Result<bool, ApiError> {
    // The text as sent may be too long for a name.
    if find(db, &UserName::parse(sent).unwrap_or_else(|_| name.clone())).await?.is_some() {
        return Ok(true);
    }
    let looks_taken = async { saler_skeletons::is_taken(db, &Skeleton::of(name)).await };
    Ok(kind == Kind::Saler && looks_taken.await.map_err(|error| read_failed(&error))?)
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

const LOGGED_OUT: LoggedOut = LoggedOut { message: "log out." };

struct LogInFailures;

impl IntoResponses for LogInFailures {
    fn responses() -> Responses {
        let mut responses = Responses::new();
        for failure in [LOGIN_NOT_JSON, WRONG_LOGIN].into_iter().chain(admission()).chain(change()) {
            add_case(&mut responses, failure.message(), failure.login_response(), error_schema::<ApiError>());
        }
        responses
    }
}

/// Logs a user in.
///
/// An unknown user and a wrong password get the same answer after the same time.
#[utoipa::path(
    post, path = "/api/auth", operation_id = "logIn",
    request_body(content = inline(Login), example = json!({"username": "ann", "password": "correct horse"})),
    responses(
        (status = 200, description = "The token is in the header `Authorization`.", body = inline(LoggedIn), headers(
            ("Authorization" = String, description = "The token. Requests send it in the same header."),
            ("Authsign" = String, description = "The customer's secret for the signed form of `/sec/kill`."),
            ("User-Id" = u64, description = "The customer's id for the signed form.")),
            example = json!(LoggedIn { kind: "customer", message: "" })),
        LogInFailures,
    ),
    security(()),
)]
pub async fn log_in(
    request: HttpRequest,
    edge: web::Data<Edge>,
    accounts: web::Data<Accounts>,
    dbs: web::Data<DbPools>,
    payload: web::Payload,
) -> HttpResponse {
    log_in_inner(&request, &edge, &accounts, &dbs, payload).await.unwrap_or_else(|error| error.login_response())
}

async fn log_in_inner(
    request: &HttpRequest,
    edge: &Edge,
    accounts: &Accounts,
    dbs: &DbPools,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    edge.admission.part(|switches| switches.login)?;
    let form: Login = body::json(payload, edge.body, || LOGIN_NOT_JSON).await?;
    let (sent, address) = (form.username, peer::address(request, edge));
    // Failures of one name are counted together, in whatever form of Unicode it is sent.
    let name = normalized(&sent).unwrap_or_else(|| sent.clone());
    edge.admission.log_in(&name, address, now_ms())?;
    // No user has such a password, so it is no guess at the password of the name.
    let password = Password::parse(form.password).map_err(|_| WRONG_LOGIN)?;
    let still_wants = || edge.admission.may_log_in(&name, address, now_ms());
    let caller = Caller { line: HashLine::Address(address), still_wants: &still_wants };
    let account = verified(accounts, dbs, &sent, &password, caller).await;
    // Checked again, because logins may have failed during the hash. Over the limit, the right password fails, too.
    edge.admission.log_in(&name, address, now_ms())?;
    let Some(account) = account? else {
        edge.admission.log_in_failed(&name, address, now_ms())?;
        return Err(WRONG_LOGIN);
    };
    // Checked after the password, so only the user learns of the block.
    edge.admission.not_blocked(Some(account.user.id), None, now_ms())?;
    let token = accounts.tokens.issue(&account.user, account.token_generation, now_seconds());
    let token = HeaderValue::try_from(token).expect("a JWT is visible ASCII");
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::AUTHORIZATION, token));
    sign(&mut builder, accounts, &account.user);
    Ok(answer::json(builder, &LoggedIn { kind: account.user.kind.as_str(), message: "" }))
}

/// The account with this name and password. `None` after the same time for an unknown user or a wrong password.
async fn verified(
    accounts: &Accounts,
    dbs: &DbPools,
    name: &str,
    password: &Password,
    caller: Caller<'_>,
) -> Result<Option<Account>, ApiError> {
    let db = if accounts.users.is_admin(name).await { &dbs.control } else { &dbs.users };
    let account = match UserName::parse(name.to_owned()) {
        Ok(name) => find(db, &name).await?,
        Err(NameError::Empty) => return Ok(None),
        Err(NameError::TooLong | NameError::NotAllowed | NameError::Reserved) => None,
    };
    let Some(account) = account else {
        // Takes as long as a wrong password.
        accounts.passwords.verify_nobody(password, caller).await?;
        return Ok(None);
    };
    let passwords = accounts.passwords_of(account.user.kind);
    match passwords.verify(password, &account.password_hash, caller).await? {
        Verified::No => return Ok(None),
        Verified::Yes => {}
        Verified::YesRehash => {
            let hash = passwords.hash(password, caller).await?;
            users::replace_hash(db, account.user.id, &account.password_hash, &hash).await?;
        }
    }
    if account.user.kind == Kind::Admin {
        accounts.users.remember(&account.user).await;
    }
    Ok(Some(account))
}

/// Adds the headers for the signed form, if the form is enabled.
fn sign(builder: &mut HttpResponseBuilder, accounts: &Accounts, user: &User) {
    if let (Some(signed_form), Kind::Customer) = (&accounts.signed_form, user.kind) {
        builder.insert_header((AUTH_SIGN, signed_form.auth_sign(user.id)));
        builder.insert_header((USER_ID, user.id.0));
    }
}

failures!(LogOutFailures: ApiError = [], change());

/// Logs a user out.
///
/// The token of the request stops working on every instance within a second. Without a token, nothing happens.
#[utoipa::path(
    post, path = "/api/auth/logout", operation_id = "logOut",
    responses(
        (status = 200, description = "The token does not work any more.", body = inline(LoggedOut),
            example = json!(LOGGED_OUT)),
        LogOutFailures,
    ),
    security((), ("token" = []), ("bearer" = [])),
)]
pub async fn log_out(request: HttpRequest, accounts: web::Data<Accounts>) -> Result<HttpResponse, ApiError> {
    if let Ok(session) = session(&request) {
        accounts.revocations.revoke(&session, now_seconds()).await?;
    }
    Ok(answer::json(HttpResponse::Ok(), &LOGGED_OUT))
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
    let old = Password::parse(form.old).map_err(|_| WRONG_PASSWORD)?;
    let (passwords, address) = (accounts.passwords_of(user.kind), peer::address(&request, &edge));
    let still_wants = || !edge.admission.is_blocked(Some(user.id), Some(address), now_ms());
    let caller = Caller { line: HashLine::Address(address), still_wants: &still_wants };
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

async fn find(db: &Db, name: &UserName) -> Result<Option<Account>, ApiError> {
    users::find_by_name(db, name).await.map_err(|error| read_failed(&error))
}

fn bad_username(error: NameError) -> ApiError {
    let message = match error {
        NameError::Empty => "User name too short.",
        NameError::TooLong => "User name too long.",
        NameError::NotAllowed => "User name has characters that are not allowed.",
        NameError::Reserved => return NAME_TAKEN,
    };
    ApiError::bad_field("username", message)
}

fn bad_password(field: &'static str, error: PasswordError) -> ApiError {
    let message = match error {
        PasswordError::Empty | PasswordError::TooShort { .. } => "Password too short.",
        PasswordError::TooLong => "Password too long.",
    };
    ApiError::bad_field(field, message)
}
