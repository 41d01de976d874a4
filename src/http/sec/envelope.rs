//! The envelope of the flash-sale interface, `{"code":200,"msg":"success","data":...}`, and its errors.
//!
//! On every route, `code` is a [`SaleCode`] if one fits, and otherwise the HTTP status. So a 503 tells whether the
//! request may have taken effect (1008) or not (1009), and each malformed request is 1001. A token of the wrong user or
//! kind is 403 here, and 401 in the coupon interface.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::answer;
use crate::http::error::{ApiError, Code};

/// Codes other than HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleCode {
    /// A parameter is missing, malformed or sent twice. With status 403, the caller is blocked.
    Malformed,
    NoSuchProduct,
    /// The caller could not be verified, or is not a customer.
    NotVerified,
    TooFast,
    NotStarted,
    Ended,
    SoldOut,
    /// No answer in time. The request may have had an effect.
    Unknown,
    /// Overloaded, switched off, or recovering. The request had no effect.
    Unavailable,
    /// The customer has bought before, up to the limit.
    Bought,
    TryAgain,
    NotEligible,
    TicketRequired,
    NetworkLimit,
}

impl SaleCode {
    const fn number(self) -> u16 {
        match self {
            Self::Malformed => 1001,
            Self::NoSuchProduct => 1002,
            Self::NotVerified => 1003,
            Self::TooFast => 1004,
            Self::NotStarted => 1005,
            Self::Ended => 1006,
            Self::SoldOut => 1007,
            Self::Unknown => 1008,
            Self::Unavailable => 1009,
            Self::Bought => 1010,
            Self::TryAgain => 1011,
            Self::NotEligible => 1012,
            Self::TicketRequired => 1013,
            Self::NetworkLimit => 1014,
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NotVerified => StatusCode::UNAUTHORIZED,
            Self::TooFast => StatusCode::TOO_MANY_REQUESTS,
            Self::Unknown | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Malformed
            | Self::NoSuchProduct
            | Self::NotStarted
            | Self::Ended
            | Self::SoldOut
            | Self::Bought
            | Self::TryAgain
            | Self::NotEligible
            | Self::TicketRequired
            | Self::NetworkLimit => StatusCode::BAD_REQUEST,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Envelope<'a, T> {
    code: u16,
    msg: &'a str,
    #[schema(inline)]
    data: T,
}

impl<T> Envelope<'_, T> {
    pub const fn success(data: T) -> Self {
        Self { code: 200, msg: "success", data }
    }
}

/// An error in the envelope.
#[derive(Serialize, ToSchema)]
pub struct EnvelopedError<'a> {
    /// 1001 to 1014, or the HTTP status if none of them fits.
    code: u16,
    /// A sentence for people.
    msg: &'a str,
    /// Always empty.
    #[schema(max_length = 0)]
    data: &'static str,
}

pub fn success(data: impl Serialize) -> HttpResponse {
    success_bytes(enveloped(data))
}

/// 200 with a body from [`enveloped`].
pub fn success_bytes(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, answer::JSON)).body(body)
}

pub fn enveloped(data: impl Serialize) -> Bytes {
    serde_json::to_vec(&Envelope::success(data)).expect(answer::SERIALIZES).into()
}

pub fn refused_with(code: SaleCode, msg: &str, data: impl Serialize) -> HttpResponse {
    answer::json(HttpResponse::build(code.status()), &Envelope { code: code.number(), msg, data })
}

/// A failed request of this interface.
#[derive(Debug)]
pub struct SecError {
    code: u16,
    status: StatusCode,
    cause: ApiError,
}

impl SecError {
    pub const fn new(code: SaleCode, message: &'static str) -> Self {
        Self { code: code.number(), status: code.status(), cause: ApiError::bad_request(message) }
    }

    pub fn formatted(code: SaleCode, message: String) -> Self {
        let cause = ApiError::formatted(Code::BadRequest, message);
        Self { code: code.number(), status: code.status(), cause }
    }

    /// The same failure with the codes of `/sec/kill`, where 401 becomes 1003.
    pub fn of_kill(self) -> Self {
        let code = if self.status == StatusCode::UNAUTHORIZED { SaleCode::NotVerified.number() } else { self.code };
        Self { code, ..self }
    }

    pub fn message(&self) -> &str {
        self.cause.message()
    }

    pub fn response(&self) -> HttpResponse {
        let body = EnvelopedError { code: self.code, msg: self.cause.message(), data: "" };
        answer::json(self.cause.builder(self.status), &body)
    }
}

/// Every error has the [`ApiError`] of the coupon interface as its cause.
impl<E: Into<ApiError>> From<E> for SecError {
    fn from(error: E) -> Self {
        let cause: ApiError = error.into();
        let by_status = |status: StatusCode| (status.as_u16(), status);
        let by_code = |code: SaleCode| (code.number(), code.status());
        let (code, status) = match cause.code() {
            Code::BadRequest | Code::Quota => by_code(SaleCode::Malformed),
            Code::Overloaded | Code::Unavailable => by_code(SaleCode::Unavailable),
            Code::UnknownOutcome => by_code(SaleCode::Unknown),
            Code::RateLimited => by_code(SaleCode::TooFast),
            Code::Blocked => (SaleCode::Malformed.number(), StatusCode::FORBIDDEN),
            Code::WrongKind | Code::WrongKindForbidden | Code::NotYours => by_status(StatusCode::FORBIDDEN),
            Code::NameTaken
            | Code::NotLoggedIn
            | Code::TokenExpired
            | Code::WrongPassword
            | Code::OtpRequired
            | Code::ReauthenticationRequired
            | Code::CrossSite
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BodyTooLarge => by_status(cause.code().status()),
        };
        Self { code, status, cause }
    }
}

impl std::fmt::Display for SecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.cause)
    }
}

impl ResponseError for SecError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
