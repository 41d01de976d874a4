//! The session in a valid token.

use std::fmt;
use std::str::FromStr;

use crate::domain::{Mandate, User};

/// The user of a valid, unexpired token. A session says nothing about revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub user: User,
    /// Of staff.
    pub mandate: Option<Box<Mandate>>,
    pub token_id: TokenId,
    /// Seconds since 1970.
    pub issued_at: u64,
    /// Expiry in seconds since 1970. A revocation of the token can be forgotten at `expires_at`.
    pub expires_at: u64,
}

/// A token's `jti`, as text `<generation>-<32 hex digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// Generation of the user's tokens at the time of issue. A change of the password raises the user's generation, and
    /// tokens of lower generations are refused. The end of old tokens therefore does not depend on clocks.
    pub generation: u32,
    nonce: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token's id")]
pub struct TokenIdError;

impl TokenId {
    pub fn random(generation: u32) -> Self {
        Self { generation, nonce: rand::random() }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.generation, self.nonce)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let (generation, nonce) = text.split_once('-').ok_or(TokenIdError)?;
        // The number parsers would accept a sign too.
        let is_hex = nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !generation.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TokenIdError);
        }
        let generation = generation.parse().map_err(|_| TokenIdError)?;
        let nonce = u128::from_str_radix(nonce, 16).map_err(|_| TokenIdError)?;
        Ok(Self { generation, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for id in [
            TokenId { generation: 0, nonce: 0 },
            TokenId { generation: u32::MAX, nonce: u128::MAX },
            TokenId::random(7),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(TokenId { generation: u32::MAX, nonce: 0 }.to_string().len(), 43);
        assert_ne!(TokenId::random(7), TokenId::random(7));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let nonce = "0".repeat(32);
        for text in ["", "-", "1", "1-", "1-0"] {
            assert_eq!(text.parse::<TokenId>(), Err(TokenIdError), "{text:?}");
        }
        for text in ["-", "+1-", "4294967296-", "1--", "1-+", "1-0"].map(|start| format!("{start}{nonce}")) {
            assert_eq!(text.parse::<TokenId>(), Err(TokenIdError), "{text:?}");
        }
        assert_eq!(format!("1-+{}", &nonce[1..]).parse::<TokenId>(), Err(TokenIdError));
    }
}
