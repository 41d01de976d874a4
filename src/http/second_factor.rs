//! Enrolment of a second factor.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code, read_failed};
use super::extractors::SessionUser;
use super::logins::add_session;
use super::openapi::{admission, change, failures, token};
use super::proving::{CodeCheck, Prover, counted_name};
use super::state::Edge;
use super::{answer, body, path, users};
use crate::admission::LoginAttempt;
use crate::auth::{FactorSecret, RecoveryCode, SealedSecret};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Password, User};
use crate::mysql::second_factors;
use crate::mysql::users::Account;

/// How long a new secret waits for its confirmation.
const PENDING_SECONDS: u64 = 600;

const NOT_YOUR_USER: ApiError = ApiError::new(Code::NotYours, "Cannot change other users' second factors.");
const ONLY_STAFF: ApiError = ApiError::new(Code::WrongKind, "Only staff and admins have a second factor.");
const WRONG_PASSWORD: ApiError = ApiError::of_field(Code::WrongPassword, "password", "Wrong password.");
const WRONG_OLD_CODE: ApiError =
    ApiError::of_field(Code::WrongPassword, "old_otp", "Wrong code of the second factor in force.");
const WRONG_CODE: ApiError = ApiError::of_field(Code::WrongPassword, "otp", "Wrong code.");
const OLD_CODE_REQUIRED: ApiError = ApiError::of_field(
    Code::OtpRequired,
    "old_otp",
    "You have a second factor. A new one needs a code of it, or a recovery code.",
);
const NOTHING_PENDING: ApiError =
    ApiError::bad_field("otp", "No new second factor waits for its confirmation. Begin again without otp.");

#[derive(Deserialize, ToSchema)]
pub struct Enrolment {
    #[serde(default)]
    #[schema(required)]
    password: String,
    /// A code of the new secret. Without it, the enrolment begins, and the answer has a new secret.
    #[serde(default)]
    otp: String,
    /// A code of the second factor in force, or a recovery code. Needed to begin when there is one.
    #[serde(default)]
    old_otp: String,
}

/// The answer to a step of the enrolment.
#[derive(Serialize, ToSchema)]
pub struct Enrolled {
    #[serde(rename = "errMsg")]
    message: &'static str,
    /// The new secret in base32, not in force yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
    /// The same as an address, for a QR code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    uri: Option<String>,
    /// After the confirmation: ten codes that count once each, for a lost telephone. They are shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    recovery_codes: Option<Vec<String>>,
}

failures!(PutFactorFailures: ApiError = [
    ApiError::not_json(),
    WRONG_PASSWORD,
    WRONG_OLD_CODE,
    WRONG_CODE,
    OLD_CODE_REQUIRED,
    NOTHING_PENDING,
    NOT_YOUR_USER,
    ONLY_STAFF,
], token(), admission(), change());

/// Enrols a second factor, in two steps.
///
/// The first request has the `password`. The answer has a new secret for an app, which must be confirmed within ten minutes. The
/// second request has `password` and `otp`, a code of the app. Then the second factor is in force, all earlier tokens of the user
/// stop working, and the answer has a new token and ten recovery codes. Before, nothing changes.
#[utoipa::path(
    put, path = "/api/users/{user}/otp", operation_id = "putFactor",
    params(("user" = String, Path, description = "The user's own name.", example = "root")),
    request_body(content = inline(Enrolment), example = json!({"password": "correct horse", "otp": "123456"})),
    responses(
        (status = 200, description = "The step is done.", body = inline(Enrolled), headers(
            ("Authorization" = String, description = "After the confirmation: the token of the new session."),
            ("Login-Device" = String, description = "After the confirmation: a new mark of the device.")),
            example = json!(Enrolled { message: "", secret: None, uri: None,
                recovery_codes: Some(vec!["abcd-efgh-ijkl-mnop-qrst-uvwx".to_owned()]) })),
        PutFactorFailures,
    ),
)]
pub async fn put_factor(
    SessionUser(user): SessionUser,
    request: HttpRequest,
    edge: web::Data<Edge>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if !path::names(&request, &user) {
        return Err(NOT_YOUR_USER);
    }
    if !user.kind.may_have_factor() {
        return Err(ONLY_STAFF);
    }
    let form: Enrolment = body::json(payload, edge.body, ApiError::not_json).await?;
    let prover = Prover::of(&request);
    let name = counted_name(&user.name);
    let mut attempt = prover.attempt(&request, &name);
    prover.admit(&mut attempt).await?;
    let password = Password::parse(form.password).map_err(|_| WRONG_PASSWORD)?;
    let account = users::find(prover.dbs.of(user.kind), &user.name).await?;
    let account = prover.password(&mut attempt, account, &password).await?.ok_or(WRONG_PASSWORD)?;
    if form.otp.trim().is_empty() {
        begin(&prover, &mut attempt, &user, &form.old_otp).await
    } else {
        confirm(&prover, &mut attempt, &account, &form.otp).await
    }
}

/// Stores a new secret that is not in force yet.
async fn begin(
    prover: &Prover<'_>,
    attempt: &mut LoginAttempt<'_>,
    user: &User,
    old_code: &str,
) -> Result<HttpResponse, ApiError> {
    match prover.code(attempt, user, old_code).await? {
        CodeCheck::NoFactor | CodeCheck::Right => {}
        CodeCheck::Missing => return Err(OLD_CODE_REQUIRED),
        CodeCheck::Wrong => return Err(WRONG_OLD_CODE),
    }
    let secret = FactorSecret::random();
    let sealed = prover.accounts.factors.seal(user.id, &secret);
    second_factors::begin(prover.dbs.of(user.kind), user.id, &sealed.0, now_seconds()).await?;
    let (text, uri) = (secret.text(), secret.uri(&user.name));
    let enrolled = Enrolled { message: "", secret: Some(text), uri: Some(uri), recovery_codes: None };
    Ok(answer::json(HttpResponse::Ok(), &enrolled))
}

/// Puts the pending secret into force.
async fn confirm(
    prover: &Prover<'_>,
    attempt: &mut LoginAttempt<'_>,
    account: &Account,
    code: &str,
) -> Result<HttpResponse, ApiError> {
    let user = &account.user;
    let row = second_factors::find(prover.dbs.of(user.kind), user.id).await.map_err(|error| read_failed(&error))?;
    let row = row.filter(|row| now_seconds() < row.pending_at.saturating_add(PENDING_SECONDS));
    let pending = row.and_then(|row| row.pending).map(SealedSecret).ok_or(NOTHING_PENDING)?;
    let secret = prover.accounts.factors.open(user.id, &pending).ok_or(NOTHING_PENDING)?;
    prover.admit(attempt).await?;
    let Some(step) = secret.step_of(code, now_seconds()) else {
        prover.edge.admission.log_in_failed(attempt, now_ms())?;
        return Err(WRONG_CODE);
    };
    let codes = RecoveryCode::random_set();
    let hashes: Vec<[u8; 32]> = codes.iter().map(RecoveryCode::hash).collect();
    let revocations = &prover.accounts.revocations;
    let generation = revocations.confirm_factor(user, &pending.0, step, &hashes, now_seconds()).await?;
    let generation = generation.ok_or(NOTHING_PENDING)?;
    let mut builder = HttpResponse::Ok();
    add_session(&mut builder, prover.accounts, (user, account.mandate.as_ref()), generation, CodeCheck::Right);
    let texts = codes.iter().map(RecoveryCode::text).collect();
    let enrolled = Enrolled { message: "", secret: None, uri: None, recovery_codes: Some(texts) };
    Ok(answer::json(builder, &enrolled))
}
