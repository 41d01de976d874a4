//! Users and their kinds.

use super::{UserId, UserName};

const PASSWORD_BYTES_MAX: usize = 128;

/// The role of a user. `Saler` is the spelling of merchant on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Customer,
    Saler,
    /// Created only by the command line.
    Admin,
}

impl Kind {
    /// The spelling on the wire, in tokens and in MySQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Saler => "saler",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Saler, Self::Admin].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: UserName,
    pub kind: Kind,
}

/// Why a text is refused as a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password is too long")]
    TooLong,
}

/// A password as typed, 1 to 128 bytes. Without `Debug` and `Display`, a password cannot reach a log.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// # Errors
    /// [`PasswordError`] names the broken limit.
    pub fn parse(text: String) -> Result<Self, PasswordError> {
        match text.len() {
            0 => Err(PasswordError::Empty),
            1..=PASSWORD_BYTES_MAX => Ok(Self(text)),
            _ => Err(PasswordError::TooLong),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_back_as_it_was_written_and_nothing_else_does() {
        for kind in [Kind::Customer, Kind::Saler, Kind::Admin] {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("seller"), None);
        assert_eq!(Kind::parse("Customer"), None);
    }

    #[test]
    fn a_password_has_1_to_128_bytes() {
        assert!(Password::parse("x".repeat(128)).is_ok());
        assert_eq!(Password::parse("x".repeat(129)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::parse("é".repeat(65)).err(), Some(PasswordError::TooLong));
        assert_eq!(Password::parse(String::new()).err(), Some(PasswordError::Empty));
    }
}
