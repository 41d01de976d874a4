//! Who is asking, as a type in a handler's signature.
//!
//! The token stands in the `Authorization` header, raw or after `Bearer` in any case. An extractor checks it, then whether it was
//! revoked, then the kind of its user. A handler that takes an extractor first is never entered without it.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::error::{ApiError, Code};
use super::path;
use super::state::Accounts;
use crate::admission::{Asker, RateOwner};
use crate::auth::{MerchantKey, Session, TokenError};
use crate::base::now_seconds;
use crate::domain::{Kind, Mandate, User};
use crate::memory::{KeyRefusal, KnownKey};

pub const SALERS_CANNOT_CLAIM: &str = "Sellers aren't allowed to get coupons.";
pub const ONLY_SALER_OR_ADMIN: ApiError = ApiError::new(Code::WrongKind, "Only the saler and admins may do this.");
pub const NO_SUCH_SALER: ApiError = ApiError::new(Code::NotFound, "No such merchant.");
pub const NOT_YOURS: ApiError = ApiError::new(Code::NotYours, "Cannot do this for other users.");
pub const WITHOUT_RIGHT: ApiError = ApiError::new(Code::WrongKind, "Staff or keys without this right may not do this.");
pub const ONLY_ADMINS: ApiError = ApiError::new(Code::WrongKindForbidden, "Only admins may do this.");

/// The scheme of RFC 6750, with the space after it. A scheme is matched in any case (RFC 9110, section 11.1).
const BEARER: &[u8] = b"Bearer ";

/// Who has sent a request.
pub enum Sender {
    User(Session),
    Key(Arc<KnownKey>),
}

/// The user of a valid session, of any kind. Staff are themselves here, and not their saler.
pub struct SessionUser(pub User);

/// The customer of a valid session.
pub struct Customer(pub User);

/// The saler in `/api/users/{user}/...`, for a request of that saler or of an admin. Staff are not admitted.
pub struct SalerInPath(pub User);

/// The admin of a valid session.
pub struct Admin(pub User);

impl SessionUser {
    /// The user, who must be of this kind.
    ///
    /// # Errors
    /// 401 with `message` for a user of another kind.
    pub fn of_kind(self, kind: Kind, message: &'static str) -> Result<User, ApiError> {
        if self.0.kind == kind { Ok(self.0) } else { Err(ApiError::new(Code::WrongKind, message)) }
    }
}

impl Sender {
    /// Of staff and of a key.
    pub fn mandate(&self) -> Option<&Mandate> {
        match self {
            Self::User(session) => session.mandate.as_deref(),
            Self::Key(key) => Some(key.mandate()),
        }
    }

    /// The name of the user, or `key:` with the id of the key.
    pub fn name(&self) -> String {
        match self {
            Self::User(session) => session.user.name.to_string(),
            Self::Key(key) => format!("key:{}", key.id),
        }
    }

    pub fn asker(&self) -> Asker {
        let account = match self {
            Self::User(session) => RateOwner::User(session.user.id),
            Self::Key(key) => RateOwner::Key(key.id),
        };
        Asker { account, saler: self.mandate().map(|mandate| mandate.saler.id) }
    }

    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User(session) if session.user.kind == Kind::Admin)
    }
}

/// The session of the request's token.
///
/// # Errors
/// 401, by the token table of the wire contract, and for a key.
pub fn session(request: &HttpRequest) -> Result<Session, ApiError> {
    match sender(request)? {
        Sender::User(session) => Ok(session),
        Sender::Key(_) => Err(ApiError::not_logged_in()),
    }
}

/// The sender of the request, by the token or the key.
///
/// # Errors
/// 401, by the token table of the wire contract.
pub fn sender(request: &HttpRequest) -> Result<Sender, ApiError> {
    // Admission may have verified the token already.
    if let Some(sender) = request.extensions_mut().remove::<Sender>() {
        return Ok(sender);
    }
    let accounts = accounts(request);
    // Read as bytes, because a check for text would scan them all. A header that is not text fails as a token anyway.
    let raw = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let raw = match raw.split_at_checked(BEARER.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(BEARER) => rest,
        _ => raw,
    };
    let raw = raw.trim_ascii();
    if MerchantKey::is_meant(raw) {
        return accounts.keys.verify(raw, now_seconds()).map(Sender::Key).map_err(|refusal| match refusal {
            KeyRefusal::Expired => ApiError::token_expired(),
            KeyRefusal::Unknown => ApiError::not_logged_in(),
        });
    }
    let session = accounts.tokens.verify(raw, now_seconds()).map_err(|error| match error {
        TokenError::Expired => ApiError::token_expired(),
        TokenError::Missing | TokenError::Invalid => ApiError::not_logged_in(),
    })?;
    if accounts.revocations.is_revoked(&session) { Err(ApiError::not_logged_in()) } else { Ok(Sender::User(session)) }
}

fn accounts(request: &HttpRequest) -> &Accounts {
    request.app_data::<web::Data<Accounts>>().expect("every server of the program has this part")
}

impl FromRequest for SessionUser {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request).map(|session| Self(session.user)))
    }
}

impl FromRequest for Customer {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = session(request).map(|session| SessionUser(session.user));
        ready(user.and_then(|user| user.of_kind(Kind::Customer, SALERS_CANNOT_CLAIM)).map(Self))
    }
}

impl FromRequest for SalerInPath {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let user = session(&request)?.user;
            match user.kind {
                Kind::Saler if path::names(&request, &user) => Ok(Self(user)),
                Kind::Saler => Err(NOT_YOURS),
                Kind::Admin => {
                    let name = path::user(&request).ok_or(NO_SUCH_SALER)?;
                    let found = accounts(&request).users.find(&name).await?;
                    found.filter(|user| user.kind == Kind::Saler).map(Self).ok_or(NO_SUCH_SALER)
                }
                Kind::Customer | Kind::Staff => Err(ONLY_SALER_OR_ADMIN),
            }
        })
    }
}

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request).and_then(|session| match session.user.kind {
            Kind::Admin => Ok(Self(session.user)),
            Kind::Customer | Kind::Saler | Kind::Staff => Err(ONLY_ADMINS),
        }))
    }
}
