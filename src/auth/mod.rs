//! Authentication: passwords, session tokens, claim tokens and the signed form.
//!
//! A login checks a password ([`Passwords`]) and issues a session token ([`UserTokens`]). For each later request,
//! [`UserTokens::verify`] checks signature and expiry, then `Revocations::is_revoked` answers from memory too.
//! [`ClaimTokens`] signs proofs of claims, and [`UserMarks`] marks of devices and links that set a password. [`Tickets`] lets
//! customers try to claim in sales that ask for a ticket. [`MerchantKey`] is the text of a key for programs. [`FactorKeys`] encrypts
//! the secrets of second factors, which check codes of a telephone ([`FactorSecret`]). [`SignedForm`] reads signed requests and is
//! off by default.
//!
//! HTTP is absent on purpose: headers and status codes belong to `http`.

mod claim_token;
mod keys;
mod mac;
mod merchant_key;
mod password;
mod provider;
mod same_question;
mod second_factor;
mod secrets;
mod session;
mod signed_form;
mod stored_password;
mod ticket;
mod token;
mod turns;
mod user_mark;

pub use claim_token::{ClaimProof, ClaimTokens};
pub use merchant_key::{KeySecret, MerchantKey};
pub use password::{Caller, HashError, PasswordLimits, Passwords, Verified};
pub use second_factor::{FactorKeys, FactorSecret, RECOVERY_CODES, RecoveryCode, SealedSecret};
pub use secrets::{Secrets, SecretsError};
pub use session::{Session, TokenId, TokenIdError};
pub use signed_form::{NANCE_BYTES_MAX, SKEW_SECONDS_MAX, SignedForm, SignedFormError, SignedRequest};
pub use ticket::{Challenge, NoChallenge, NoTicket, Ticket, Tickets};
pub use token::{TokenError, UserTokens};
pub use turns::HashLine;
pub use user_mark::{MarkedUser, UserMarks};
