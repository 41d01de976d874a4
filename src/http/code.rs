//! The codes of errors, for programs.

use actix_web::http::StatusCode;

/// The values of `code`, by the table of the wire contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadRequest,
    Quota,
    NameTaken,
    NotLoggedIn,
    TokenExpired,
    WrongPassword,
    /// A login needs a code of the second factor.
    OtpRequired,
    /// A change needs the password and a code in the same request.
    ReauthenticationRequired,
    WrongKind,
    /// Same code as `WrongKind`, but with status 403. Used outside of Part 1 of the contract.
    WrongKindForbidden,
    NotYours,
    Blocked,
    CrossSite,
    RateLimited,
    NotFound,
    MethodNotAllowed,
    BodyTooLarge,
    Overloaded,
    Unavailable,
    UnknownOutcome,
}

impl Code {
    /// All codes, each word once.
    pub const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::Quota,
        Self::NameTaken,
        Self::NotLoggedIn,
        Self::TokenExpired,
        Self::WrongPassword,
        Self::OtpRequired,
        Self::ReauthenticationRequired,
        Self::WrongKind,
        Self::NotYours,
        Self::Blocked,
        Self::CrossSite,
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
            Self::Quota => "quota",
            Self::NameTaken => "name-taken",
            Self::NotLoggedIn => "not-logged-in",
            Self::TokenExpired => "token-expired",
            Self::WrongPassword => "wrong-password",
            Self::OtpRequired => "otp-required",
            Self::ReauthenticationRequired => "reauthentication-required",
            Self::WrongKind | Self::WrongKindForbidden => "wrong-kind",
            Self::NotYours => "not-yours",
            Self::Blocked => "blocked",
            Self::CrossSite => "cross-site",
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
            Self::BadRequest | Self::Quota | Self::NameTaken => StatusCode::BAD_REQUEST,
            Self::NotLoggedIn
            | Self::TokenExpired
            | Self::WrongPassword
            | Self::OtpRequired
            | Self::ReauthenticationRequired
            | Self::WrongKind
            | Self::NotYours => StatusCode::UNAUTHORIZED,
            Self::WrongKindForbidden | Self::Blocked | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Overloaded | Self::Unavailable | Self::UnknownOutcome => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
