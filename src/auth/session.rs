//! What a token that counts says.

use std::fmt;
use std::str::FromStr;

use crate::domain::User;

/// A user who showed a token that was signed here and has not ended. Whether it has been revoked is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub user: User,
    pub token_id: TokenId,
    /// Seconds since 1970; from then on a revocation of the token need not be remembered.
    pub expires_at: u64,
}

/// A token's `jti`, as text `<generation>-<32 hex digits>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId {
    /// The generation of the user's tokens when this one was issued: a change of his password raises it, and what is
    /// lower no longer counts. So a change ends the tokens before it exactly, whatever the clocks say.
    pub generation: u32,
    nonce: [u8; 16],
}

/// A text that is not a token's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token's id")]
pub struct TokenIdError;

impl TokenId {
    /// An id that no other token has.
    pub fn random(generation: u32) -> Self {
        Self { generation, nonce: rand::random() }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.generation, u128::from_be_bytes(self.nonce))
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let (generation, nonce) = text.split_once('-').ok_or(TokenIdError)?;
        // The number parsers would also take a sign.
        if nonce.len() != 32 || !generation.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TokenIdError);
        }
        let generation = generation.parse().map_err(|_| TokenIdError)?;
        let mut id = Self { generation, nonce: [0; 16] };
        let mut all = 0;
        for (byte, digits) in id.nonce.iter_mut().zip(nonce.as_bytes().chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(digits[0])], DIGITS[usize::from(digits[1])]);
            *byte = high << 4 | low;
            all |= high | low;
        }
        if all < NO_DIGIT { Ok(id) } else { Err(TokenIdError) }
    }
}

/// What each byte is as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};
const NO_DIGIT: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for id in [
            TokenId { generation: 0, nonce: [0; 16] },
            TokenId { generation: u32::MAX, nonce: [255; 16] },
            TokenId::random(7),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(TokenId { generation: u32::MAX, nonce: [0; 16] }.to_string().len(), 43);
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
