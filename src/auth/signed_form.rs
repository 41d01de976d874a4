//! The signed form: clients of the three-layer system sign a purchase request instead of sending a token.
//!
//! A login returns an `AuthSign`, and the client signs every request with the `AuthSign`. Only a change of the secret
//! ends an `AuthSign`. The form is weaker than a token, and therefore off until the operator sets a secret. MD5 is the
//! hash of that system, not a signature scheme. Nobody can extend the hashed text, because the secret comes last.
//!
//! The module has no clock and keeps no requests. The caller detects repeated requests.

use ctutils::CtEq;
use md5::{Digest, Md5};

use super::secrets::Secrets;
use crate::domain::{CouponId, UserId};

/// Allowed difference between the time of a request and the present, in seconds.
pub const SKEW_SECONDS_MAX: u64 = 60;
/// Longest `nance`, the value that makes a request unique, in bytes.
pub const NANCE_BYTES_MAX: usize = 64;

/// Issues `AuthSign`s and verifies signed requests. The first secret signs, all secrets verify.
pub struct SignedForm {
    secrets: Secrets,
}

/// The signed fields of a request, under the names of the three-layer system.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    pub product: CouponId,
    pub user: UserId,
    /// Seconds since 1970.
    pub time: u64,
    pub nance: &'a str,
    pub auth_code: &'a str,
}

/// Why a signed request is refused. The wire contract has the sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedFormError {
    #[error("the signature is wrong")]
    Wrong,
    #[error("it was signed too long ago, or is not of now")]
    NotOfNow,
}

impl SignedForm {
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }

    pub fn auth_sign(&self, user: UserId) -> String {
        auth_sign(user, self.secrets.iter().next().expect("Secrets has at least one"))
    }

    /// Checks that `auth_sign` belongs to the user of `request`, that the signature is right, and that the request is
    /// at most [`SKEW_SECONDS_MAX`] away from `now_seconds`.
    ///
    /// # Errors
    /// [`SignedFormError`]
    pub fn verify(
        &self,
        auth_sign: &str,
        request: &SignedRequest<'_>,
        now_seconds: u64,
    ) -> Result<(), SignedFormError> {
        // Tries all secrets without an early exit, so the time taken reveals nothing about the secrets.
        let is_users = self
            .secrets
            .iter()
            .fold(false, |known, secret| known | is_same(auth_sign, &self::auth_sign(request.user, secret)));
        let SignedRequest { product, user, time, nance, auth_code } = request;
        let expected = md5_hex(format!("{product}:{user}:{time}:{nance}:{auth_sign}"));
        if !(is_users & is_same(auth_code, &expected)) {
            return Err(SignedFormError::Wrong);
        }
        if request.time.abs_diff(now_seconds) > SKEW_SECONDS_MAX { Err(SignedFormError::NotOfNow) } else { Ok(()) }
    }
}

impl SignedRequest<'_> {
    /// A digest of `nance`, for keys of fixed length.
    pub fn nance_digest(&self) -> u128 {
        u128::from_be_bytes(Md5::digest(self.nance.as_bytes()).into())
    }
}

fn auth_sign(user: UserId, secret: &[u8]) -> String {
    md5_hex([format!("{user}:").as_bytes(), secret].concat())
}

fn md5_hex(text: impl AsRef<[u8]>) -> String {
    format!("{:032x}", u128::from_be_bytes(Md5::digest(text).into()))
}

/// Compares in constant time.
fn is_same(sent: &str, expected: &str) -> bool {
    sent.as_bytes().ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    /// md5("7:0123456789abcdef0123456789abcdef"), by another program.
    const AUTH_SIGN: &str = "cac3ac5cdd3767440b680e344b63fb93";
    /// md5("5:7:1800000000:n-1:" and `AUTH_SIGN`), by another program.
    const AUTH_CODE: &str = "ed23ad44718bd97516d701860cf90f86";
    const NOW: u64 = 1_800_000_000;

    fn form(secrets: &str) -> SignedForm {
        SignedForm::new(Secrets::parse("COUPONRUSH_SIGN_SECRET", secrets).expect("it is long enough"))
    }

    fn request() -> SignedRequest<'static> {
        SignedRequest { product: CouponId(5), user: UserId(7), time: NOW, nance: "n-1", auth_code: AUTH_CODE }
    }

    #[test]
    fn a_request_signed_by_another_program_counts() {
        assert_eq!(form(SECRET).auth_sign(UserId(7)), AUTH_SIGN);
        assert_eq!(form(SECRET).verify(AUTH_SIGN, &request(), NOW), Ok(()));
    }

    #[test]
    fn a_request_counts_for_a_minute_before_and_after_its_time() {
        for (now, verified) in [
            (NOW - 60, Ok(())),
            (NOW + 60, Ok(())),
            (NOW - 61, Err(SignedFormError::NotOfNow)),
            (NOW + 61, Err(SignedFormError::NotOfNow)),
            (0, Err(SignedFormError::NotOfNow)),
            (u64::MAX, Err(SignedFormError::NotOfNow)),
        ] {
            assert_eq!(form(SECRET).verify(AUTH_SIGN, &request(), now), verified, "{now}");
        }
    }

    #[test]
    fn nothing_that_is_signed_can_be_changed() {
        let changes: [fn(&mut SignedRequest<'_>); 7] = [
            |request| request.product = CouponId(6),
            |request| request.user = UserId(8),
            |request| request.time = NOW + 1,
            |request| request.nance = "n-2",
            |request| request.nance = "n-1:",
            |request| request.auth_code = "",
            |request| request.auth_code = "ed23ad44718bd97516d701860cf90f860",
        ];
        for change in changes {
            let mut changed = request();
            change(&mut changed);
            assert_eq!(form(SECRET).verify(AUTH_SIGN, &changed, NOW), Err(SignedFormError::Wrong), "{changed:?}");
        }
        // A request signed with an invented `AuthSign`.
        let own = md5_hex("5:7:1800000000:n-1:x");
        let forged = SignedRequest { auth_code: &own, ..request() };
        assert_eq!(form(SECRET).verify("x", &forged, NOW), Err(SignedFormError::Wrong));
        let upper = AUTH_SIGN.to_uppercase();
        assert_eq!(form(SECRET).verify(&upper, &request(), NOW), Err(SignedFormError::Wrong));
    }

    #[test]
    fn a_secret_can_be_changed_while_the_old_one_is_listed() {
        let new = "x".repeat(32);
        let both = form(&format!("{new},{SECRET}"));
        assert_eq!(both.verify(AUTH_SIGN, &request(), NOW), Ok(()));
        assert_ne!(both.auth_sign(UserId(7)), AUTH_SIGN);
        assert_eq!(form(&new).verify(AUTH_SIGN, &request(), NOW), Err(SignedFormError::Wrong));
    }
}
