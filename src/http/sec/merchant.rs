//! Who may create and redeem here: salers, and admins for all of them.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::envelope::SecError;
use crate::domain::{Kind, User};
use crate::http::error::{ApiError, Code};
use crate::http::extractors::session;

/// The user of the session, a saler or an admin.
pub struct Merchant(pub User);

impl FromRequest for Merchant {
    type Error = SecError;
    type Future = Ready<Result<Self, SecError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let merchant = session(request).map_err(SecError::from).and_then(|session| match session.user.kind {
            Kind::Saler | Kind::Admin => Ok(Self(session.user)),
            Kind::Customer => Err(ApiError::new(Code::WrongKind, "Only salers may do this.").into()),
        });
        ready(merchant)
    }
}
