//! The customer who buys, by a token or by the signed form of the three-layer system.
//!
//! A signed request counts once over all instances. Redis keeps the request's nonce for as long as its time would be accepted.
//! The nonce is stored after all checks in memory, because it is the first write. If Redis loses its data, a repeated request
//! is one more attempt to claim, which is harmless.

use actix_web::HttpRequest;
use actix_web::http::header;
use redis::Value;

use super::envelope::{SaleCode, SecError};
use super::kill::Form;
use super::{Shared, parameters};
use crate::api::session::session;
use crate::auth::{SKEW_SECONDS_MAX, SignedForm, SignedRequest};
use crate::domain::{Kind, UserId};
use crate::kv::{Connection, Link};

pub const ONLY_CUSTOMERS: SecError = SecError::new(SaleCode::NotVerified, "Only customers can buy.");
const AUTH_SIGN: &str = "authsign";
/// A request whose time is one skew ahead of the clock is accepted until one skew after its time.
const NONCE_SECONDS: u64 = 2 * SKEW_SECONDS_MAX + 1;

/// A verified customer.
pub struct Asking {
    pub customer: UserId,
    /// The nonce of a signed request. `None` for a request with a token.
    nonce: Option<u128>,
}

/// Verifies the customer. A signed request must pass [`Asking::once`] too.
///
/// # Errors
/// 1001 if a signed request lacks a parameter. 1003 if the customer cannot be verified. 1009 if a dependency is down.
pub async fn asking(request: &HttpRequest, shared: &Shared, link: &Link, form: &Form) -> Result<Asking, SecError> {
    let auth_sign = request.headers().get(AUTH_SIGN).and_then(|value| value.to_str().ok());
    match (&shared.signed_form, auth_sign) {
        (Some(signed_form), Some(auth_sign)) if !request.headers().contains_key(header::AUTHORIZATION) => {
            signed(request, shared, link, form, (signed_form, auth_sign)).await
        }
        _ => with_token(request, shared, form),
    }
}

fn with_token(request: &HttpRequest, shared: &Shared, form: &Form) -> Result<Asking, SecError> {
    let user = session(request, shared).map_err(|error| SecError::from(error).of_kill())?.user;
    if user.kind != Kind::Customer {
        return Err(ONLY_CUSTOMERS);
    }
    if form.user.is_some_and(|id| id != user.id) {
        return Err(SecError::new(SaleCode::NotVerified, "user_id: the token is another user's."));
    }
    Ok(Asking { customer: user.id, nonce: None })
}

async fn signed(
    request: &HttpRequest,
    shared: &Shared,
    link: &Link,
    form: &Form,
    (signed_form, auth_sign): (&SignedForm, &str),
) -> Result<Asking, SecError> {
    let signed = SignedRequest {
        product: form.product,
        user: form.user.ok_or_else(|| parameters::missing("user_id"))?,
        time: form.time.ok_or_else(|| parameters::missing("time"))?,
        nance: form.nance.as_deref().ok_or_else(|| parameters::missing("nance"))?,
        auth_code: form.auth_code.as_deref().ok_or_else(|| parameters::missing("auth_code"))?,
    };
    let now_seconds = shared.server_ms(link)? / 1_000;
    let not_verified = |error| SecError::formatted(SaleCode::NotVerified, format!("Not verified: {error}."));
    signed_form.verify(auth_sign, &signed, now_seconds).map_err(not_verified)?;
    if !comes_from_an_allowed_page(request, shared) {
        let message = "Not verified: the page that the request comes from is not allowed.";
        return Err(SecError::new(SaleCode::NotVerified, message));
    }
    // Only a valid signature leads to MySQL, and the directory caches the user.
    let user = shared.directory.user_by_id(signed.user).await?;
    if user.is_none_or(|user| user.kind != Kind::Customer) {
        return Err(ONLY_CUSTOMERS);
    }
    Ok(Asking { customer: signed.user, nonce: Some(signed.nance_digest()) })
}

/// Whether the operator's list has the host of the `Referer`. An empty list allows no host.
fn comes_from_an_allowed_page(request: &HttpRequest, shared: &Shared) -> bool {
    let referer = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
    referer.is_some_and(|referer| shared.admission.settings.limits().allows_referer(referer))
}

impl Asking {
    /// Stores the nonce of a signed request in Redis, unless an instance has seen the nonce before.
    ///
    /// # Errors
    /// 1003 if the nonce was seen before. 1009 if Redis does not answer.
    pub async fn once(&self, shared: &Shared, connection: &Connection) -> Result<(), SecError> {
        let Some(nonce) = self.nonce else { return Ok(()) };
        let mut cmd = redis::cmd("SET");
        cmd.arg(shared.claiming.stock.keys().nonce(self.customer, nonce))
            .arg("")
            .arg("NX")
            .arg("EX")
            .arg(NONCE_SECONDS);
        match connection.call(&cmd, shared.claiming.wait).await {
            Ok(Value::Okay) => Ok(()),
            Ok(_) => Err(SecError::new(SaleCode::NotVerified, "nance: it has been used before.")),
            Err(error) => {
                log::warn!("a signed request could not be noted: {}", crate::error_chain(&error));
                Err(SecError::new(SaleCode::Unavailable, "Not available at the moment. Nothing was bought; sign anew."))
            }
        }
    }
}
