//! The stored forms of a password, and the hash function. A hash takes about 15 ms and 19 MiB.
//!
//! | stored | login |
//! |---|---|
//! | `$argon2id$...` | with the password |
//! | `md5:$argon2id$...` | with the password, hashed as MD5 in lower-case hex first (users of the Go system) |
//! | empty | never |

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use md5::{Digest, Md5};

use crate::domain::Password;

const MD5_PREFIX: &str = "md5:";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredPassword<'a> {
    /// An empty form, without a login.
    Closed,
    Argon2(&'a str),
    /// Argon2 over an MD5. The next login replaces the form, because the password is known then.
    Md5(&'a str),
}

impl<'a> StoredPassword<'a> {
    pub(super) fn parse(stored: &'a str) -> Self {
        match stored.strip_prefix(MD5_PREFIX) {
            Some(hash) => Self::Md5(hash),
            None if stored.is_empty() => Self::Closed,
            None => Self::Argon2(stored),
        }
    }
}

/// Computes the stored form of a password: argon2id with the crate's defaults (19 MiB, 2 passes, 1 lane), random salt.
pub(super) fn hash(password: &Password) -> Result<String, Error> {
    argon2id(password.as_bytes())
}

/// Computes the stored form from the MD5 of a password, in hex digits of upper or lower case.
pub(super) fn wrap_md5(md5_hex: &str) -> Result<String, Error> {
    let hash = argon2id(md5_hex.to_ascii_lowercase().as_bytes())?;
    Ok(format!("{MD5_PREFIX}{hash}"))
}

/// Whether `hash`, argon2id in PHC form, is a hash of `password`.
///
/// # Errors
/// [`Error`] if `hash` has another form.
pub(super) fn fits(password: &Password, hash: &str) -> Result<bool, Error> {
    argon2id_fits(password.as_bytes(), hash)
}

/// Whether `hash` is a hash of the MD5 of `password`.
///
/// # Errors
/// As [`fits`].
pub(super) fn md5_fits(password: &Password, hash: &str) -> Result<bool, Error> {
    let md5 = u128::from_be_bytes(Md5::digest(password.as_bytes()).into());
    argon2id_fits(format!("{md5:032x}").as_bytes(), hash)
}

fn argon2id(bytes: &[u8]) -> Result<String, Error> {
    Ok(Argon2::default().hash_password(bytes)?.to_string())
}

fn argon2id_fits(bytes: &[u8], hash: &str) -> Result<bool, Error> {
    match Argon2::default().verify_password(bytes, &PasswordHash::new(hash)?) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MD5 of `secret`.
    const MD5: &str = "5ebe2294ecd0e0f08eab7690d2a6ee69";

    fn password(text: &str) -> Password {
        Password::parse(text.to_owned()).expect("a password")
    }

    #[test]
    fn a_hash_fits_its_password_alone_and_is_never_the_same_twice() {
        let stored = hash(&password("secret")).expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(stored.len() < 255, "the column");
        assert_ne!(hash(&password("secret")).expect("a hash"), stored);
        assert!(fits(&password("secret"), &stored).expect("a good hash"));
        assert!(!fits(&password("Secret"), &stored).expect("a good hash"));
    }

    #[test]
    fn an_imported_md5_of_either_case_fits_the_password_and_not_itself() {
        for hex in [MD5, &MD5.to_uppercase()] {
            let stored = wrap_md5(hex).expect("a hash");
            let StoredPassword::Md5(wrapped) = StoredPassword::parse(&stored) else { panic!("not wrapped: {stored}") };
            assert!(md5_fits(&password("secret"), wrapped).expect("a good hash"));
            assert!(!md5_fits(&password(MD5), wrapped).expect("a good hash"));
            assert!(!md5_fits(&password("other"), wrapped).expect("a good hash"));
        }
    }

    #[test]
    fn stored_forms_are_told_apart() {
        assert_eq!(StoredPassword::parse(""), StoredPassword::Closed);
        assert_eq!(StoredPassword::parse("$argon2id$x"), StoredPassword::Argon2("$argon2id$x"));
        assert_eq!(StoredPassword::parse("md5:$argon2id$x"), StoredPassword::Md5("$argon2id$x"));
    }

    #[test]
    fn what_is_not_a_hash_is_an_error_and_not_a_wrong_password() {
        for stored in ["x", MD5, "$argon2id$", "$2b$12$abc"] {
            assert!(fits(&password("secret"), stored).is_err(), "{stored}");
        }
    }
}
