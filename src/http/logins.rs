//! Login and logout.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::error::{ApiError, Code};
use super::extractors::session;
use super::openapi::{Responses, add_case, admission, change, error_schema, failures};
use super::state::{Accounts, Edge};
use super::trail::NamedUser;
use super::{answer, body, peer, users};
use crate::admission::{Acquaintance, LoginAttempt};
use crate::auth::{Caller, HashLine, MarkedUser, Verified};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Kind, NameError, Password, User, UserName, normalized};
use crate::mysql::DbPools;
use crate::mysql::users::{Account, replace_hash};

const AUTH_SIGN: HeaderName = HeaderName::from_static("authsign");
const USER_ID: HeaderName = HeaderName::from_static("user-id");
const LOGIN_DEVICE: HeaderName = HeaderName::from_static("login-device");

const LOGIN_NOT_JSON: ApiError = ApiError::bad_request("Parse JSON format fail.");
const WRONG_LOGIN: ApiError = ApiError::new(Code::WrongPassword, "Wrong user name or password.");

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
        for failure in [LOGIN_NOT_JSON, WRONG_LOGIN].into_iter().chain(admission()).chain(change()) {
            add_case(&mut responses, failure.message(), failure.login_response(), error_schema::<ApiError>());
        }
        responses
    }
}

/// Logs a user in.
///
/// An unknown user and a wrong password get the same answer after the same time. While others guess at a name, a login is let
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
    let (sent, address) = (form.username, peer::address(request, edge));
    // Failures of one name are counted together, in whatever form of Unicode it is sent.
    let name = normalized(&sent).unwrap_or_else(|| sent.clone());
    let mark = request.headers().get(LOGIN_DEVICE);
    let mark = mark.and_then(|mark| {
        // A name that is older than the rule for names may not be normalized.
        let verify = |name: &str| accounts.devices.verify(mark.as_bytes(), Some(name), now_seconds());
        verify(&name).or_else(|| verify(&sent))
    });
    let acquaintance = if mark.is_some() { Acquaintance::Device } else { Acquaintance::Stranger };
    let mut attempt = LoginAttempt { name: &name, address, acquaintance };
    admit(edge, accounts, &mut attempt).await?;
    // No user has such a password, so it is no guess at the password of the name.
    let password = Password::parse(form.password).map_err(|_| WRONG_LOGIN)?;
    let found = find(accounts, dbs, &sent).await?;
    if let Some(account) = &found {
        // Only names of users, because somebody may have typed a password into the field of the name.
        request.extensions_mut().insert(NamedUser { name: account.user.name.to_string(), kind: account.user.kind });
    }
    if mark.is_some_and(|mark| !is_of(mark, found.as_ref())) {
        attempt.acquaintance = Acquaintance::Stranger;
        admit(edge, accounts, &mut attempt).await?;
    }
    let in_line = attempt;
    let still_wants = move || edge.admission.may_log_in(&in_line, now_ms());
    let is_known = found.as_ref().is_some_and(|account| accounts.networks.has_noted(&account.user.name, address));
    let line = if is_known { HashLine::KnownAddress(address) } else { HashLine::Address(address) };
    let caller = Caller { line, name: &name, still_wants: &still_wants };
    let account = verified(accounts, dbs, found, &password, caller).await;
    // Checked again, because logins may have failed during the hash. Over the limit, the right password fails, too.
    admit(edge, accounts, &mut attempt).await?;
    let Some(account) = account? else {
        edge.admission.log_in_failed(&attempt, now_ms())?;
        return Err(WRONG_LOGIN);
    };
    // Checked after the password, so only the user learns of the block.
    edge.admission.not_blocked(Some(account.user.id), None, now_ms())?;
    if let Some(mandate) = &account.mandate {
        edge.admission.not_blocked(Some(mandate.saler.id), None, now_ms())?;
    }
    accounts.networks.note(&account.user, address, now_seconds());
    Ok(logged_in(accounts, &account))
}

/// The answer to a login, with the token and a new mark of the device.
fn logged_in(accounts: &Accounts, account: &Account) -> HttpResponse {
    let (user, generation, now) = (&account.user, account.token_generation, now_seconds());
    let mandate = account.mandate.as_ref();
    let header = |token| HeaderValue::try_from(token).expect("a JWT is visible ASCII");
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::AUTHORIZATION, header(accounts.tokens.issue_with(user, mandate, generation, now))));
    builder.insert_header((LOGIN_DEVICE, header(accounts.devices.sign(user, generation, now))));
    sign(&mut builder, accounts, user);
    let saler = mandate.map(|mandate| mandate.saler.name.to_string());
    let rights = mandate.map_or_else(Vec::new, |mandate| mandate.rights.names());
    answer::json(builder, &LoggedIn { kind: user.kind.as_str(), saler, rights, message: "" })
}

/// Whether a mark is of this account, and no password was changed since.
fn is_of(mark: MarkedUser, account: Option<&Account>) -> bool {
    account.is_some_and(|account| mark.id == account.user.id && mark.token_generation == account.token_generation)
}

/// Decides whether a client may log in. Asks whether the network knows the name only if the answer decides.
async fn admit(edge: &Edge, accounts: &Accounts, attempt: &mut LoginAttempt<'_>) -> Result<(), ApiError> {
    let known = LoginAttempt { acquaintance: Acquaintance::Network, ..*attempt };
    if !edge.admission.may_log_in(attempt, now_ms())
        && edge.admission.may_log_in(&known, now_ms())
        && let Ok(name) = UserName::parse(attempt.name.to_owned())
        && accounts.networks.knows(&name, attempt.address, now_seconds()).await
    {
        *attempt = known;
    }
    Ok(edge.admission.log_in(attempt, now_ms())?)
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

/// The account, if the password is right. `None` after the same time for an unknown user or a wrong password.
async fn verified(
    accounts: &Accounts,
    dbs: &DbPools,
    account: Option<Account>,
    password: &Password,
    caller: Caller<'_>,
) -> Result<Option<Account>, ApiError> {
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
            replace_hash(dbs.of(account.user.kind), account.user.id, &account.password_hash, &hash).await?;
        }
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
