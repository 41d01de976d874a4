//! All errors of requests, with their codes, statuses and sentences.
//!
//! An error of a lower layer becomes an [`ApiError`] by an explicit choice. Its own text is logged, and never sent.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::answer;
pub use super::code::Code;
use crate::admission::TurnedAway;
use crate::auth::HashError;
use crate::claim::CouponUnknown;
use crate::domain::QuotaReached;
use crate::memory::{BadSetting, BlockError, RevokeError, UserUnknown};
use crate::mysql::DbError;
use crate::sales::{ACTIVITIES_OF_A_COUPON_MAX, PublishError, ScheduleError};

pub const NO_SUCH_PATH: ApiError = ApiError::new(Code::NotFound, "No such path.");

/// A failed request: a code for programs and a sentence for people.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    /// The request's field that is to blame, by its name on the wire.
    field: Option<Cow<'static, str>>,
    /// The connection must be closed, because a part of the body was not read.
    closes: bool,
    /// Value of `Retry-After` in seconds. Sent with 429 and 503.
    retry_after: u64,
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody<'a> {
    /// A sentence for people.
    #[serde(rename = "errMsg")]
    message: &'a str,
    /// A word for programs.
    #[schema(schema_with = codes)]
    code: &'static str,
    /// The name of the field, parameter or header to blame, if there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
    /// Always empty. Old clients read `kind` in every answer of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 0)]
    kind: Option<&'static str>,
    /// Always empty. Old clients read `data` in every answer of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<String>>, max_items = 0)]
    data: Option<[(); 0]>,
}

fn codes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Code::ALL.map(Code::as_str))).build()
}

impl ApiError {
    pub const fn new(code: Code, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message), field: None, closes: false, retry_after: 1 }
    }

    pub fn formatted(code: Code, message: String) -> Self {
        Self { message: message.into(), ..Self::new(code, "") }
    }

    pub const fn bad_request(message: &'static str) -> Self {
        Self::new(Code::BadRequest, message)
    }

    pub const fn bad_field(field: &'static str, message: &'static str) -> Self {
        Self::of_field(Code::BadRequest, field, message)
    }

    pub const fn of_field(code: Code, field: &'static str, message: &'static str) -> Self {
        let (message, field) = (Cow::Borrowed(message), Some(Cow::Borrowed(field)));
        Self { code, message, field, closes: false, retry_after: 1 }
    }

    pub fn with_field(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// The body is not JSON, or a field has a wrong type.
    pub const fn not_json() -> Self {
        Self::bad_request("Only receive JSON format.")
    }

    pub fn too_large(bytes_max: usize) -> Self {
        let message = format!("A body may have {bytes_max} bytes.");
        Self { closes: true, ..Self::formatted(Code::BodyTooLarge, message) }
    }

    pub fn too_slow() -> Self {
        Self { closes: true, ..Self::bad_request("The body did not arrive in time.") }
    }

    pub const fn not_logged_in() -> Self {
        Self::new(Code::NotLoggedIn, "Not Authorized.")
    }

    pub const fn token_expired() -> Self {
        Self::new(Code::TokenExpired, "Authorization has expired.")
    }

    pub const fn no_such_coupon() -> Self {
        Self::new(Code::NotFound, "No such coupon.")
    }

    pub const fn no_such_product() -> Self {
        Self::new(Code::NotFound, "No such product.")
    }

    pub const fn not_your_product() -> Self {
        Self::new(Code::NotYours, "Not your product.")
    }

    pub const fn overloaded() -> Self {
        Self::new(Code::Overloaded, "Too many requests are waiting. Nothing has happened; try again.")
    }

    pub const fn unavailable() -> Self {
        Self::new(Code::Unavailable, "Not available at the moment. Nothing has happened; try again.")
    }

    pub const fn unknown_outcome() -> Self {
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

    /// The answer in the format of the login, with an empty `kind`.
    pub fn login_response(&self) -> HttpResponse {
        self.respond(Some(""), None)
    }

    /// The answer in the format of a list, with empty `data`.
    pub fn list_response(&self) -> HttpResponse {
        self.respond(None, Some([]))
    }

    fn respond(&self, kind: Option<&'static str>, data: Option<[(); 0]>) -> HttpResponse {
        let builder = self.builder(self.code.status());
        // The wire contract fixes the bodies of the login, without `field`.
        let field = if kind.is_some() { None } else { self.field.as_deref() };
        answer::json(builder, &ErrorBody { message: &self.message, code: self.code.as_str(), field, kind, data })
    }

    /// An answer with `status`, and with the headers of all errors of this status.
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
        log::warn!("mysql: {}", crate::base::error_chain(&error));
        if error.nothing_happened() { Self::unavailable() } else { Self::unknown_outcome() }
    }
}

/// A 503 for a failed read. A read changes nothing, even if its outcome is unknown.
pub fn read_failed(error: &dyn std::error::Error) -> ApiError {
    log::warn!("read failed: {}", crate::base::error_chain(error));
    ApiError::unavailable()
}

impl From<HashError> for ApiError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::QueueFull | HashError::TooLate | HashError::Unwanted => Self::overloaded(),
            HashError::Failed(_) => {
                log::error!("passwords: {}", crate::base::error_chain(&error));
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

impl From<CouponUnknown> for ApiError {
    fn from(error: CouponUnknown) -> Self {
        not_known(&error)
    }
}

impl From<UserUnknown> for ApiError {
    fn from(error: UserUnknown) -> Self {
        not_known(&error)
    }
}

/// A 503 for a name that could not be looked up.
fn not_known(error: &dyn std::error::Error) -> ApiError {
    log::debug!("{}", crate::base::error_chain(error));
    ApiError::unavailable()
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match &error {
            PublishError::NameTaken => {
                let message = "Create failed. Maybe (username,coupon name) duplicates";
                Self::of_field(Code::NameTaken, "name", message)
            }
            PublishError::Quota(QuotaReached::Coupons) => Self::new(Code::Quota, "Too many coupons."),
            PublishError::Quota(QuotaReached::Total) => {
                log::warn!(
                    "publishing: refused, because all salers together have as many coupons or units as they may"
                );
                Self::overloaded()
            }
            PublishError::Quota(QuotaReached::Units) => Self::new(Code::Quota, "Too many units in all your coupons."),
            PublishError::OldFormat => {
                Self::bad_request("Archiving is not possible before the next upgrade is complete.")
            }
            PublishError::NoSuchCoupon => Self::no_such_coupon(),
            PublishError::BelowClaimed => Self::bad_field("amount", "Amount is below what is claimed already."),
            PublishError::Unavailable(_) => {
                log::warn!("publishing: {}", crate::base::error_chain(&error));
                Self::unavailable()
            }
            PublishError::Unknown(_) => {
                log::warn!("publishing: {}", crate::base::error_chain(&error));
                Self::unknown_outcome()
            }
        }
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::NoSuchCoupon => Self::no_such_product(),
            ScheduleError::NoSuchActivity => Self::new(Code::NotFound, "No such activity."),
            ScheduleError::NotYours => Self::not_your_product(),
            ScheduleError::TotalAboveAmount => Self::bad_request("total: it is above the product's."),
            ScheduleError::Overlaps(other) => {
                let message = format!("start_time, end_time: activity {other} sells the product at that time.");
                Self::formatted(Code::BadRequest, message)
            }
            ScheduleError::TooMany => {
                let message = format!("product_id: it has {ACTIVITIES_OF_A_COUPON_MAX} activities already.");
                Self::formatted(Code::BadRequest, message)
            }
            ScheduleError::TooManyWithheld => Self::overloaded(),
            ScheduleError::TooManySales => Self::new(Code::Quota, "Too many current and coming sales."),
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
                Self { retry_after: wait_seconds, ..Self::formatted(Code::RateLimited, message) }
            }
        }
    }
}

impl From<BadSetting> for ApiError {
    fn from(error: BadSetting) -> Self {
        Self::formatted(Code::BadRequest, error.to_string()).with_field(error.field())
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
