//! Who is asking: passwords, tokens, and which tokens have been revoked.
//!
//! A login checks a password ([`Passwords`]) and issues a token ([`UserTokens`]). Every later request shows the token:
//! its signature and its end are checked ([`UserTokens::verify`]), then whether it has been revoked
//! ([`Revocations::is_revoked`]), both in memory. [`ClaimTokens`] sign what a claim is proven with. [`SignedForm`] is
//! another service's way to say who asks, off unless wanted.
//!
//! Deliberately knows nothing of HTTP: headers and status codes belong to `api`.

mod claim_token;
mod keys;
mod mac;
mod password;
mod provider;
mod secrets;
mod session;
mod signed_form;
mod stored_password;
mod token;

pub use claim_token::{ClaimProof, ClaimTokens};
pub use password::{HashError, PasswordLimits, Passwords, Verified};
pub use secrets::{Secrets, SecretsError};
pub use session::{Session, TokenId, TokenIdError};
pub use signed_form::{NANCE_BYTES_MAX, SKEW_SECONDS_MAX, SignedForm, SignedFormError, SignedRequest};
pub use token::{TokenError, UserTokens};
