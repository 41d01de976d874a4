//! Passwords.
//!
//! A keyboard may write an accented letter as one character, another as a letter and an accent. So passwords are compared
//! in Unicode's normalization form C. Earlier releases stored the text as typed, so this text is compared, too.

use passwords::analyzer::is_common_password;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::Kind;

const BYTES_MAX: usize = 256;
/// The least number of characters of a new password of staff or of an admin.
const WORKERS_CHARS_MIN: usize = 12;

/// Why a text is refused as a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password has fewer than {min} characters")]
    TooShort { min: usize },
    #[error("the password is too long")]
    TooLong,
}

/// A password of at least one character and at most 256 bytes, normalized. Without `Debug` and `Display`, a password
/// cannot reach a log.
#[derive(Clone)]
pub struct Password {
    text: String,
    /// The text as typed, if it was not normalized.
    typed: Option<String>,
}

/// The least number of characters of new passwords. Existing passwords go on working.
#[derive(Debug, Clone, Copy)]
pub struct PasswordMin(pub usize);

impl Password {
    /// The password of a login.
    ///
    /// # Errors
    /// [`PasswordError`] names the broken limit.
    pub fn parse(typed: String) -> Result<Self, PasswordError> {
        let (text, typed) = if is_nfc(&typed) { (typed, None) } else { (typed.nfc().collect::<String>(), Some(typed)) };
        match text.len() {
            0 => Err(PasswordError::Empty),
            1..=BYTES_MAX => Ok(Self { text, typed }),
            _ => Err(PasswordError::TooLong),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Whether the password, or its text in lower case, is on a list of about 100,000 common passwords.
    pub fn is_common(&self) -> bool {
        is_common_password(&self.text) || is_common_password(self.text.to_lowercase())
    }

    /// The text as typed, as a password of its own, if it was not normalized.
    pub fn as_typed(&self) -> Option<Self> {
        self.typed.clone().map(|text| Self { text, typed: None })
    }
}

impl PasswordMin {
    /// A new password of a user of `kind`.
    ///
    /// # Errors
    /// [`PasswordError`] names the broken limit.
    pub fn parse(self, typed: String, kind: Kind) -> Result<Password, PasswordError> {
        let password = Password::parse(typed)?;
        let min = match kind {
            Kind::Customer | Kind::Saler => self.0,
            Kind::Staff | Kind::Admin => self.0.max(WORKERS_CHARS_MIN),
        };
        if password.text.chars().count() < min { Err(PasswordError::TooShort { min }) } else { Ok(password) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_password_is_known_in_any_case() {
        let is_common = |text: &str| Password::parse(text.to_owned()).is_ok_and(|password| password.is_common());
        assert!(["123456", "iloveyou", "iLOVEyou", "!QAZ1qaz"].iter().all(|text| is_common(text)));
        assert!(!["correct horse", "iloveyou but not you", "\",\"", "[", "]"].iter().any(|text| is_common(text)));
    }

    #[test]
    fn a_password_has_1_to_256_bytes() {
        assert!(Password::parse("x".repeat(256)).is_ok());
        assert_eq!(Password::parse("x".repeat(257)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::parse("é".repeat(129)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::parse(String::new()).err(), Some(PasswordError::Empty));
        assert!(Password::parse("e\u{301}".repeat(128)).is_ok(), "the normalized text counts");
    }

    #[test]
    fn both_ways_to_type_a_letter_are_one_password() {
        let (one, two) = ("caf\u{e9}", "cafe\u{301}");
        let [one, two] = [one, two].map(|text| Password::parse(text.to_owned()).expect("a password"));
        assert_eq!(one.as_bytes(), two.as_bytes());
        assert!(one.as_typed().is_none());
        assert_eq!(two.as_typed().expect("it was not normalized").as_bytes(), "cafe\u{301}".as_bytes());
    }

    #[test]
    fn new_passwords_have_a_least_number_of_characters_and_admins_at_least_12() {
        let parse = |text: &str, kind| PasswordMin(6).parse(text.to_owned(), kind).map(|_| ());
        assert_eq!(parse("12345", Kind::Customer), Err(PasswordError::TooShort { min: 6 }));
        assert_eq!(parse("123456", Kind::Saler), Ok(()));
        assert_eq!(parse("éééééé", Kind::Customer), Ok(()), "characters count, and not bytes");
        assert_eq!(parse("12345678901", Kind::Admin), Err(PasswordError::TooShort { min: 12 }));
        assert_eq!(parse("123456789012", Kind::Admin), Ok(()));
        let min = PasswordMin(64).parse("x".repeat(63), Kind::Admin).err();
        assert_eq!(min, Some(PasswordError::TooShort { min: 64 }));
    }
}
