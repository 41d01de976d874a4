//! Who is asking: passwords, tokens, and which tokens have been revoked.
//!
//! Deliberately knows nothing of HTTP: headers and status codes belong to `api`.

mod claim_token;
mod jws;
mod password;
mod secrets;
mod session;
mod stored_password;
mod token;

pub use claim_token::{ClaimProof, ClaimTokens};
pub use password::{HashError, PasswordLimits, Passwords, Verified};
pub use secrets::{Secrets, SecretsError};
pub use session::{Session, TokenId, TokenIdError};
pub use token::{TokenError, UserTokens};
