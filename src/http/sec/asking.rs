//! Authentication of a purchase: a token as in all interfaces, or the signed form of the three-layer system.
//!
//! A signed request is accepted once over all instances. Redis stores its nonce while its time is valid. This first
//! write comes after all checks in memory. After a loss of Redis' data, a replay is only another attempt to claim.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::envelope::{SaleCode, SecError};
use super::kill_form::Form;
use super::parameters;
use crate::auth::{SKEW_SECONDS_MAX, SignedRequest};
use crate::claim::Claiming;
use crate::domain::{Kind, UserId};
use crate::http::error::ApiError;
use crate::http::extractors::session;
use crate::http::state::{Accounts, Edge, Worker};
use crate::redis::{Connection, nonces};

pub const ONLY_CUSTOMERS: SecError = SecError::new(SaleCode::NotVerified, "Only customers can buy.");
const AUTH_SIGN: &str = "authsign";
/// Lifetime of a nonce. A time up to the allowed skew in the future stays valid until the skew after it.
const NONCE_SECONDS: u64 = 2 * SKEW_SECONDS_MAX + 1;

/// An authenticated customer.
pub struct Asking {
    pub customer: UserId,
    /// Digest that makes a signed request unique, `None` with a token.
    nonce: Option<u128>,
}

/// Authenticates the customer, from memory or by one query to MySQL. A signed request must then pass [`Asking::once`].
///
/// # Errors
/// 1001 if a signed request lacks a parameter, 1003 if not authenticated, 1009 if a dependency is down.
pub async fn asking(
    request: &HttpRequest,
    edge: &Edge,
    accounts: &Accounts,
    worker: &Worker,
    form: &Form,
) -> Result<Asking, SecError> {
    let auth_sign = request.headers().get(AUTH_SIGN).and_then(|value| value.to_str().ok());
    let has_token = request.headers().contains_key(header::AUTHORIZATION);
    let (Some(signed_form), Some(auth_sign), false) = (&accounts.signed_form, auth_sign, has_token) else {
        return with_token(request, form);
    };
    let signed = signed(form)?;
    let now_seconds = worker.server_ms()? / 1_000;
    let not_verified = |error| SecError::formatted(SaleCode::NotVerified, format!("Not verified: {error}."));
    signed_form.verify(auth_sign, &signed, now_seconds).map_err(not_verified)?;
    if !comes_from_an_allowed_page(request, edge) {
        let message = "Not verified: the page that the request comes from is not allowed.";
        return Err(SecError::new(SaleCode::NotVerified, message));
    }
    // Only holders of a valid sign cause a query to MySQL. The result is cached.
    let user = accounts.users.find_by_id(signed.user).await?;
    if user.is_none_or(|user| user.kind != Kind::Customer) {
        return Err(ONLY_CUSTOMERS);
    }
    Ok(Asking { customer: signed.user, nonce: Some(signed.nance_digest()) })
}

fn with_token(request: &HttpRequest, form: &Form) -> Result<Asking, SecError> {
    let user = session(request).map_err(|error| SecError::from(error).of_kill())?.user;
    if user.kind != Kind::Customer {
        return Err(ONLY_CUSTOMERS);
    }
    if form.user.is_some_and(|id| id != user.id) {
        return Err(SecError::new(SaleCode::NotVerified, "user_id: the token is another user's."));
    }
    Ok(Asking { customer: user.id, nonce: None })
}

/// The signed parameters, all of which a signed request must have.
fn signed(form: &Form) -> Result<SignedRequest<'_>, ApiError> {
    Ok(SignedRequest {
        product: form.product,
        user: form.user.ok_or_else(|| parameters::missing("user_id"))?,
        time: form.time.ok_or_else(|| parameters::missing("time"))?,
        nance: form.nance.as_deref().ok_or_else(|| parameters::missing("nance"))?,
        auth_code: form.auth_code.as_deref().ok_or_else(|| parameters::missing("auth_code"))?,
    })
}

/// Whether the host of the `Referer` is on the operators' list. An empty list allows no host.
fn comes_from_an_allowed_page(request: &HttpRequest, edge: &Edge) -> bool {
    let referer = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
    referer.is_some_and(|referer| edge.admission.settings.limits().allows_referer(referer))
}

impl Asking {
    /// Ensures that no instance has seen this signed request before.
    ///
    /// # Errors
    /// 1003 for a repeated request, 1009 if Redis cannot be asked.
    pub async fn once(&self, claiming: &Claiming, connection: &Connection) -> Result<(), SecError> {
        let Some(nonce) = self.nonce else { return Ok(()) };
        let (keys, wait) = (claiming.stock.keys(), claiming.wait);
        match nonces::take(connection, keys, self.customer, nonce, NONCE_SECONDS, wait).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SecError::new(SaleCode::NotVerified, "nance: it has been used before.")),
            Err(error) => {
                log::warn!("a signed request could not be noted: {}", crate::base::error_chain(&error));
                Err(SecError::new(SaleCode::Unavailable, "Not available at the moment. Nothing was bought; sign anew."))
            }
        }
    }
}
