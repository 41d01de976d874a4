//! Login and logout.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::error::{ApiError, Code};
use super::extractors::session;
use super::openapi::{Responses, add_case, admission, change, error_schema, failures};
use super::proving::{CodeCheck, Prover};
use super::state::{Accounts, Edge};
use super::trail::NamedUser;
use super::{answer, body, users};
use crate::admission::Acquaintance;
use crate::auth::MarkedUser;
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, Mandate, NameError, Password, User, UserName, normalized};
use crate::mysql::DbPools;
use crate::mysql::users::Account;

const AUTH_SIGN: HeaderName = HeaderName::from_static("authsign");
const USER_ID: HeaderName = HeaderName::from_static("user-id");
const LOGIN_DEVICE: HeaderName = HeaderName::from_static("login-device");

const LOGIN_NOT_JSON: ApiError = ApiError::bad_request("Parse JSON format fail.");
const WRONG_LOGIN: ApiError = ApiError::new(Code::WrongPassword, "Wrong user name or password.");
const OTP_REQUIRED: ApiError = ApiError::new(Code::OtpRequired, "A code of your second factor is needed, as otp.");

#[derive(Deserialize, ToSchema)]
pub struct Login {
    #[serde(default)]
    #[schema(required)]
    username: String,
    #[serde(default)]
    #[schema(required)]
    password: String,
    /// A code of the second factor, or a recovery code. Needed by users with a second factor.
    #[serde(default)]
    otp: String,
}

/// The answer to a successful login. The header `Authorization` has the token.
#[derive(Serialize, ToSchema)]
pub struct LoggedIn {
    kind: &'static str,
    /// Of staff: the saler for whom they act.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    saler: Option<String>,
    /// Of staff: some of `redeem`, `view` and `manage`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    rights: Vec<&'static str>,
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
        for failure in [LOGIN_NOT_JSON, WRONG_LOGIN, OTP_REQUIRED].into_iter().chain(admission()).chain(change()) {
            add_case(&mut responses, failure.message(), failure.login_response(), error_schema::<ApiError>());
        }
        responses
    }
}

/// Logs a user in.
///
/// An unknown user and a wrong password get the same answer after the same time, and so does a wrong code. A user with a second
/// factor needs a code in `otp`, and the session lasts an hour. While others guess at a name, a login is let
/// through from a network where the user has logged in lately, or with a mark of an earlier login.
#[utoipa::path(
    post, path = "/api/auth", operation_id = "logIn",
    request_body(content = inline(Login), example = json!({"username": "ann", "password": "correct horse"})),
    params(
        ("Login-Device" = inline(Option<String>), Header, nullable = false, max_length = 2_048,
            description = "The mark that an earlier login of this user has answered."),
    ),
    responses(
        (status = 200, description = "The token is in the header `Authorization`.", body = inline(LoggedIn), headers(
            ("Authorization" = String, description = "The token. Requests send it in the same header."),
            ("Login-Device" = String, description = "A mark for the next login of the user from this device. It counts for \
                30 days, until the password changes. It is no login."),
            ("Authsign" = String, description = "The customer's secret for the signed form of `/sec/kill`."),
            ("User-Id" = u64, description = "The customer's id for the signed form.")),
            example = json!(LoggedIn { kind: "customer", saler: None, rights: Vec::new(), message: "" })),
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
    let prover = Prover { edge, accounts, dbs };
    let sent = form.username;
    // Failures of one name are counted together, in whatever form of Unicode it is sent.
    let name = normalized(&sent).unwrap_or_else(|| sent.clone());
    let mark = request.headers().get(LOGIN_DEVICE);
    let mark = mark.and_then(|mark| {
        // A name that is older than the rule for names may not be normalized.
        let verify = |name: &str| accounts.devices.verify(mark.as_bytes(), Some(name), now_seconds());
        verify(&name).or_else(|| verify(&sent))
    });
    let mut attempt = prover.attempt(request, &name);
    if mark.is_some() {
        attempt.acquaintance = Acquaintance::Device;
    }
    prover.admit(&mut attempt).await?;
    // No user has such a password, so it is no guess at the password of the name.
    let password = Password::parse(form.password).map_err(|_| WRONG_LOGIN)?;
    let found = find(accounts, dbs, &sent).await?;
    if let Some(account) = &found {
        // Only names of users, because somebody may have typed a password into the field of the name.
        request.extensions_mut().insert(NamedUser { name: account.user.name.to_string(), kind: account.user.kind });
    }
    if mark.is_some_and(|mark| !is_of(mark, found.as_ref())) {
        attempt.acquaintance = Acquaintance::Stranger;
        prover.admit(&mut attempt).await?;
    }
    let account = prover.password(&mut attempt, found, &password).await?.ok_or(WRONG_LOGIN)?;
    let check = prover.code(&mut attempt, &account.user, &form.otp).await?;
    match check {
        CodeCheck::NoFactor | CodeCheck::Right => {}
        CodeCheck::Missing => return Err(OTP_REQUIRED),
        CodeCheck::Wrong => return Err(WRONG_LOGIN),
    }
    // Checked after the password, so only the user learns of the block.
    edge.admission.not_blocked(Some(account.user.id), None, now_ms())?;
    if let Some(mandate) = &account.mandate {
        edge.admission.not_blocked(Some(mandate.saler.id), None, now_ms())?;
    }
    accounts.networks.note(&account.user, attempt.address, now_seconds());
    let mut builder = HttpResponse::Ok();
    let (user, mandate) = (&account.user, account.mandate.as_ref());
    add_session(&mut builder, accounts, (user, mandate), account.token_generation, check);
    sign(&mut builder, accounts, user);
    let saler = mandate.map(|mandate| mandate.saler.name.to_string());
    let rights = mandate.map_or_else(Vec::new, |mandate| mandate.rights.names());
    Ok(answer::json(builder, &LoggedIn { kind: user.kind.as_str(), saler, rights, message: "" }))
}

/// Adds the token of a new session and a new mark of the device. The session of a user with a second factor lasts an hour.
pub fn add_session(
    builder: &mut HttpResponseBuilder,
    accounts: &Accounts,
    (user, mandate): (&User, Option<&Mandate>),
    generation: u32,
    check: CodeCheck,
) {
    let (tokens, now) = (&accounts.tokens, now_seconds());
    let token = match check {
        CodeCheck::NoFactor => tokens.issue_with(user, mandate, generation, now),
        CodeCheck::Right | CodeCheck::Missing | CodeCheck::Wrong => tokens.issue_brief(user, mandate, generation, now),
    };
    let header = |token| HeaderValue::try_from(token).expect("a JWT is visible ASCII");
    builder.insert_header((header::AUTHORIZATION, header(token)));
    builder.insert_header((LOGIN_DEVICE, header(accounts.devices.sign(user, generation, now))));
}

/// Whether a mark is of this account, and no password was changed since.
fn is_of(mark: MarkedUser, account: Option<&Account>) -> bool {
    account.is_some_and(|account| mark.id == account.user.id && mark.token_generation == account.token_generation)
}

/// The account with this name.
async fn find(accounts: &Accounts, dbs: &DbPools, name: &str) -> Result<Option<Account>, ApiError> {
    let db = if accounts.admins.contains(name) { &dbs.control } else { &dbs.users };
    match UserName::parse(name.to_owned()) {
        Ok(name) => users::find(db, &name).await,
        Err(NameError::Empty) => Err(WRONG_LOGIN),
        Err(NameError::TooLong | NameError::NotAllowed | NameError::Reserved) => Ok(None),
    }
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
