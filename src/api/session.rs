//! The user of a request, by the token in the header `Authorization`. The token stands alone or after `Bearer`.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};

use super::Shared;
use super::error::{ApiError, Code};
use crate::auth::{Session, TokenError};
use crate::domain::{Kind, User, UserName};
use crate::now_seconds;

pub const ONLY_ADMINS: ApiError = ApiError::new(Code::WrongKindForbidden, "Only admins may do this.");

/// Checks the request's token and returns its session.
///
/// # Errors
/// 401, by the token table of the wire contract.
pub fn session(request: &HttpRequest, shared: &Shared) -> Result<Session, ApiError> {
    // Bytes, because reading a header as text checks every byte first. A header that is not text is not a token either.
    let raw = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let raw = raw.strip_prefix(b"Bearer ").unwrap_or(raw).trim_ascii();
    let session = shared.tokens.verify(raw, now_seconds()).map_err(|error| match error {
        TokenError::Expired => ApiError::token_expired(),
        TokenError::Missing | TokenError::Invalid => ApiError::not_logged_in(),
    })?;
    if shared.revocations.is_revoked(&session) { Err(ApiError::not_logged_in()) } else { Ok(session) }
}

/// The user of the session, if the user is of `kind`.
///
/// # Errors
/// 401 without a valid token. 401 with `message` for a user of another kind.
pub fn user_of_kind(
    request: &HttpRequest,
    shared: &Shared,
    kind: Kind,
    message: &'static str,
) -> Result<User, ApiError> {
    let user = session(request, shared)?.user;
    if user.kind == kind { Ok(user) } else { Err(ApiError::new(Code::WrongKind, message)) }
}

/// The name of the admin who sends the request.
///
/// # Errors
/// 401 without a valid token. 403 for a user who is not an admin.
pub fn admin(request: &HttpRequest, shared: &Shared) -> Result<UserName, ApiError> {
    let user = session(request, shared)?.user;
    match user.kind {
        Kind::Admin => Ok(user.name),
        Kind::Customer | Kind::Saler => Err(ONLY_ADMINS),
    }
}
