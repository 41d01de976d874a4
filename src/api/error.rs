//! Every way a request can fail, and what the client is told: one place for codes, statuses and sentences.
//!
//! Layers below have errors of their own. They become an [`ApiError`] here, by explicit decision; their text goes to the
//! log, never to a client.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::answer;
use crate::auth::{HashError, RevokeError};
use crate::db::DbError;
use crate::directory::FindError;
use crate::gate::{BadSetting, BlockError, TurnedAway};
use crate::publishing::PublishError;
use crate::scheduling::{ACTIVITIES_OF_A_COUPON_MAX, ScheduleError};

/// What a program reads in `code`; the wire contract's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadRequest,
    NameTaken,
    NotLoggedIn,
    TokenExpired,
    WrongPassword,
    WrongKind,
    /// The same, outside Part 1 of the contract.
    WrongKindForbidden,
    NotYours,
    Blocked,
    RateLimited,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    Overloaded,
    Unavailable,
    UnknownOutcome,
}

impl Code {
    /// All of them, each word once.
    pub const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::NameTaken,
        Self::NotLoggedIn,
        Self::TokenExpired,
        Self::WrongPassword,
        Self::WrongKind,
        Self::NotYours,
        Self::Blocked,
        Self::RateLimited,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::Overloaded,
        Self::Unavailable,
        Self::UnknownOutcome,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NameTaken => "name-taken",
            Self::NotLoggedIn => "not-logged-in",
            Self::TokenExpired => "token-expired",
            Self::WrongPassword => "wrong-password",
            Self::WrongKind | Self::WrongKindForbidden => "wrong-kind",
            Self::NotYours => "not-yours",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate-limited",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTooLarge => "body-too-large",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::UnknownOutcome => "unknown-outcome",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::NameTaken => StatusCode::BAD_REQUEST,
            Self::NotLoggedIn | Self::TokenExpired | Self::WrongPassword | Self::WrongKind | Self::NotYours => {
                StatusCode::UNAUTHORIZED
            }
            Self::WrongKindForbidden | Self::Blocked => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Overloaded | Self::Unavailable | Self::UnknownOutcome => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A failed request: a code for programs and a sentence for people.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    /// The request's field that is to blame, by its name on the wire.
    field: Option<Cow<'static, str>>,
    /// The connection cannot be used again: part of a body is still under way.
    closes: bool,
    /// In how many seconds asking again makes sense; sent where the status says so.
    retry_after: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "errMsg")]
    message: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// Old clients of the login read it in every answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Old clients of the lists read it here too.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<[(); 0]>,
}

impl ApiError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, closes: false, retry_after: 1 }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// A 400 that blames one field.
    pub fn bad_field(field: &'static str, message: impl Into<String>) -> Self {
        Self::bad_request(message).with_field(field)
    }

    /// The same error, with `field` to blame for it.
    pub fn with_field(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// Not JSON, or not of the right types.
    pub fn not_json() -> Self {
        Self::bad_request("Only receive JSON format.")
    }

    /// A body over the limit.
    pub fn too_large(bytes_max: usize) -> Self {
        let message = format!("A body may have {bytes_max} bytes.");
        Self { closes: true, ..Self::new(Code::BodyTooLarge, message) }
    }

    /// A body that drips.
    pub fn too_slow() -> Self {
        Self { closes: true, ..Self::bad_request("The body did not arrive in time.") }
    }

    pub fn not_logged_in() -> Self {
        Self::new(Code::NotLoggedIn, "Not Authorized.")
    }

    pub fn overloaded() -> Self {
        Self::new(Code::Overloaded, "Too many requests are waiting. Nothing has happened; try again.")
    }

    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "Not available at the moment. Nothing has happened; try again.")
    }

    pub fn unknown_outcome() -> Self {
        Self::new(Code::UnknownOutcome, "No answer in time: it may have happened. Asking again is safe and tells.")
    }

    pub const fn code(&self) -> Code {
        self.code
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn response(&self) -> HttpResponse {
        self.respond(None, None)
    }

    /// As the login answers: with an empty `kind`.
    pub fn login_response(&self) -> HttpResponse {
        self.respond(Some(""), None)
    }

    /// As a list answers: with empty `data`.
    pub fn list_response(&self) -> HttpResponse {
        self.respond(None, Some([]))
    }

    fn respond(&self, kind: Option<&'static str>, data: Option<[(); 0]>) -> HttpResponse {
        let builder = self.builder(self.code.status());
        // The login's bodies are fixed by the wire contract, without a field.
        let field = if kind.is_some() { None } else { self.field.as_deref() };
        answer::json(builder, &Body { message: &self.message, code: self.code.as_str(), field, kind, data })
    }

    /// An answer with `status`, and with what every error of that status says in its headers.
    pub fn builder(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut builder = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            builder.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
            builder.insert_header((header::RETRY_AFTER, self.retry_after));
        }
        if self.closes {
            builder.force_close();
        }
        builder
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl actix_web::ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        log::warn!("mysql: {}", crate::error_chain(&error));
        if error.nothing_happened() { Self::unavailable() } else { Self::unknown_outcome() }
    }
}

/// A failed read: nothing has happened, whatever was sent.
pub fn read_failed(error: &dyn std::error::Error) -> ApiError {
    log::warn!("read failed: {}", crate::error_chain(error));
    ApiError::unavailable()
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::QueueFull | HashError::TooLate => Self::overloaded(),
            HashError::Failed(_) => {
                log::error!("passwords: {}", crate::error_chain(&error));
                Self::unavailable()
            }
        }
    }
}

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Overloaded => Self::overloaded(),
            RevokeError::Db(error) => error.into(),
        }
    }
}

impl From<FindError> for ApiError {
    fn from(error: FindError) -> Self {
        log::debug!("{}", crate::error_chain(&error));
        Self::unavailable()
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match &error {
            PublishError::NameTaken => {
                let message = "Create failed. Maybe (username,coupon name) duplicates";
                Self::new(Code::NameTaken, message).with_field("name")
            }
            PublishError::TooMany => Self::bad_request("Too many coupons."),
            PublishError::NoSuchCoupon => Self::new(Code::NotFound, "No such coupon."),
            PublishError::BelowClaimed => Self::bad_field("amount", "Amount is below what is claimed already."),
            PublishError::Unavailable(_) => {
                log::warn!("publishing: {}", crate::error_chain(&error));
                Self::unavailable()
            }
            PublishError::Unknown(_) => {
                log::warn!("publishing: {}", crate::error_chain(&error));
                Self::unknown_outcome()
            }
        }
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::NoSuchCoupon => Self::new(Code::NotFound, "No such product."),
            ScheduleError::NoSuchActivity => Self::new(Code::NotFound, "No such activity."),
            ScheduleError::NotYours => Self::new(Code::NotYours, "Not your product."),
            ScheduleError::TotalAboveAmount => Self::bad_request("total: it is above the product's."),
            ScheduleError::Overlaps(other) => {
                Self::bad_request(format!("start_time, end_time: activity {other} sells the product at that time."))
            }
            ScheduleError::TooMany => {
                Self::bad_request(format!("product_id: it has {ACTIVITIES_OF_A_COUPON_MAX} activities already."))
            }
            ScheduleError::Publish(error) => error.into(),
        }
    }
}

impl From<TurnedAway> for ApiError {
    fn from(turned: TurnedAway) -> Self {
        match turned {
            TurnedAway::Off => {
                Self::new(Code::Unavailable, "Switched off for now. Nothing has happened; try again later.")
            }
            TurnedAway::Blocked => Self::new(Code::Blocked, "Blocked."),
            TurnedAway::TooFast { wait_seconds } => {
                let message = format!("Too many attempts. Nothing has happened; try again in {wait_seconds} s.");
                Self { retry_after: wait_seconds, ..Self::new(Code::RateLimited, message) }
            }
        }
    }
}

impl From<BadSetting> for ApiError {
    fn from(error: BadSetting) -> Self {
        Self::bad_field(error.field(), error.to_string())
    }
}

impl From<BlockError> for ApiError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Full => Self::overloaded(),
            BlockError::Db(error) => error.into(),
        }
    }
}
